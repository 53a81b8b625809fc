#include <ebb/engine/io/inflate.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>

namespace ebb {
namespace {

constexpr std::string_view kFetchAgain = "Fetch the file again.";

}  // namespace

struct InflateStream::State {
  z_stream zlib{};
  std::array<std::byte, 1 << 14> input;
};

InflateStream::InflateStream(const Source& source, std::uint64_t offset, std::uint64_t packed, Packing packing)
    : source_(source), offset_(offset), packed_(packed), state_(std::make_unique<State>()) {
  const int window = packing == Packing::gzip ? MAX_WBITS + 16 : -MAX_WBITS;
  if (inflateInit2(&state_->zlib, window) != Z_OK) throw std::bad_alloc();
}

InflateStream::~InflateStream() { inflateEnd(&state_->zlib); }

void InflateStream::read(std::span<std::byte> to) {
  if (read_some(to) < to.size()) {
    source_.fail(fmt::format("the data ends after {} unpacked bytes", unpacked_), kFetchAgain);
  }
}

std::size_t InflateStream::read_some(std::span<std::byte> to) {
  z_stream& zlib = state_->zlib;
  std::size_t written = 0;
  while (written < to.size() && !ended_) {
    if (zlib.avail_in == 0) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(packed_, state_->input.size()));
      if (n == 0) source_.fail(fmt::format("cut short, {} bytes could be unpacked", unpacked_), kFetchAgain);
      source_.read(offset_, std::span(state_->input).first(n));
      offset_ += n;
      packed_ -= n;
      zlib.next_in = reinterpret_cast<Bytef*>(state_->input.data());
      zlib.avail_in = static_cast<uInt>(n);
    }
    const auto room = static_cast<uInt>(std::min<std::size_t>(to.size() - written, std::numeric_limits<uInt>::max()));
    zlib.next_out = reinterpret_cast<Bytef*>(to.data() + written);
    zlib.avail_out = room;
    const int code = ::inflate(&zlib, Z_NO_FLUSH);
    written += room - zlib.avail_out;
    unpacked_ += room - zlib.avail_out;
    if (code == Z_STREAM_END) {
      ended_ = true;
    } else if (code == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (code != Z_OK && code != Z_BUF_ERROR) {  // Z_BUF_ERROR: it wants more input
      source_.fail(fmt::format("damaged, after {} unpacked bytes", unpacked_), kFetchAgain);
    }
  }
  return written;
}

bool InflateStream::exhausted() const { return ended_ && packed_ == 0 && state_->zlib.avail_in == 0; }

}  // namespace ebb
