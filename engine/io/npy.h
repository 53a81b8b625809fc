// NumPy's files: .npy holds one array, .npz several in a zip archive.
//
// Everything is a row-major tensor once it is read: Fortran order is transposed, big-endian elements are swapped. As
// with safetensors a file's claims are checked against its size before memory is asked for; what an archive's packed
// members may unpack to is bounded besides, since a few bytes can claim a lot.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/io/safetensors.h>
#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <span>
#include <string>

namespace ebb {

/// The array of an .npy file. f4, f8, i8 and b1 are read as they are, f2 becomes f32, all other integers i64.
///
/// Throws    IoError for a file that is missing or unreadable, and for one that is not a sound .npy file: not of its
///           format, cut short or too long, with a header that is not NumPy's; for a dtype that Ebb does not read
///           (text, complex numbers, objects, records), more than 8 axes, a bool that is neither 0 nor 1, a u8 past
///           i64.
/// Example   const Tensor x = load_npy("x.npy");
Tensor load_npy(const std::string& path, Location where = Location::current());
/// The same from memory.
Tensor parse_npy(std::span<const std::byte> bytes, Location where = Location::current());

/// Writes an .npy file, whole or not at all: a file that was there stays until the new one is on the disk.
///
/// Throws    UsageError for a tensor without values; IoError if it is no file or cannot be written.
/// Example   save_npy("x.npy", x);   // numpy.load("x.npy")
void save_npy(const std::string& path, const Tensor& tensor, Location where = Location::current());

/// What the packed members of an archive may unpack to, all together, unless the caller says more.
inline constexpr std::uint64_t kMaxUnpacked = std::uint64_t{1} << 32;

/// The arrays of an .npz file by name, as numpy.savez and numpy.savez_compressed write them.
///
/// Throws    IoError as load_npy, for each member; for an archive that is damaged, encrypted or packed with anything
/// but
///           deflate, whose members overlap, bear one name twice or are not arrays, or unpack to more than max_unpacked
///           bytes in all.
/// Example   const TensorMap arrays = load_npz("batch.npz");
TensorMap load_npz(const std::string& path, std::uint64_t max_unpacked = kMaxUnpacked,
                   Location where = Location::current());
/// The same from memory.
TensorMap parse_npz(std::span<const std::byte> bytes, std::uint64_t max_unpacked = kMaxUnpacked,
                    Location where = Location::current());

}  // namespace ebb
