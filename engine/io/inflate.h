// Deflated bytes, unpacked as they are read, by zlib.
//
// Memory does not grow with what the stream unpacks to: the caller says how much it takes, and from where.
#pragma once

#include <ebb/engine/io/source.h>

#include <memory>

namespace ebb {

enum class Packing {
  deflate,  ///< bare, as in a zip archive
  gzip,     ///< with a header, and a checksum that is verified at the end
};

class InflateStream final : public Stream {
 public:
  /// Unpacks the source's bytes [offset, offset + packed).
  InflateStream(const Source& source, std::uint64_t offset, std::uint64_t packed, Packing packing);
  ~InflateStream() override;
  InflateStream(const InflateStream&) = delete;
  InflateStream& operator=(const InflateStream&) = delete;

  void read(std::span<std::byte> to) override;
  /// As much as there is: fewer bytes than `to` holds only at the end of the stream. Throws IoError for damaged and for
  /// missing bytes.
  std::size_t read_some(std::span<std::byte> to);
  /// True once the stream has ended and all packed bytes have been used.
  bool exhausted() const;

 private:
  struct State;

  const Source& source_;
  std::uint64_t offset_, packed_;
  std::uint64_t unpacked_ = 0;
  bool ended_ = false;
  std::unique_ptr<State> state_;
};

}  // namespace ebb
