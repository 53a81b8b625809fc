// The directory of a zip archive, as far as .npz needs it: plain or deflated members of one file.
//
// Written here rather than taken from a library because libzip draws in a TLS library and three more unpackers, and
// minizip was not made for hostile files. All claims are checked when the directory is read, so a member that is
// returned lies inside the archive and overlaps no other; only its content may still be damaged.
#pragma once

#include <ebb/engine/io/source.h>

#include <cstdint>
#include <string>
#include <vector>

namespace ebb {

struct ZipMember {
  std::string name;
  bool deflated = false;
  std::uint32_t crc = 0;
  std::uint64_t offset = 0;    ///< of its data in the archive
  std::uint64_t packed = 0;    ///< bytes there
  std::uint64_t unpacked = 0;  ///< bytes it claims to hold; equal to `packed` unless deflated
};

/// The members, in the order of their data. Throws IoError, said by the source, for all that is wrong with a directory.
std::vector<ZipMember> read_zip(const Source& source);

}  // namespace ebb
