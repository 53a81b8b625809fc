// Bytes that are read, and what is said when they are not what they should be.
//
// A file and a piece of memory are read alike, so that all a reader does can be tested and fuzzed without files.
// Readers trust nothing: they learn the size first, check what the bytes claim against it, and only then ask for
// memory.
#pragma once

#include <ebb/engine/error.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace ebb {

class Source {
 public:
  /// A file, for the function `op` that was called at `where`. Throws IoError if it cannot be opened or is no regular
  /// file.
  static Source file(std::string_view op, const std::string& path, const Location& where);
  /// Memory, which must outlive the source.
  static Source memory(std::string_view op, std::span<const std::byte> bytes, const Location& where);

  /// The same bytes; errors begin with `part`, as in "tensor x: ".
  Source within(std::string part) const;

  std::uint64_t size() const { return size_; }

  /// Fills `to` from `offset` on. Throws IoError if the source ends before, or cannot be read.
  void read(std::uint64_t offset, std::span<std::byte> to) const;
  std::string read(std::uint64_t offset, std::size_t bytes) const;

  /// Throws the IoError that says what is wrong, with which file, and what to do.
  [[noreturn]] void fail(std::string_view what, std::string_view advice) const;

 private:
  struct File;

  std::string op_, name_, part_;
  Location where_;
  std::shared_ptr<const File> file_;  // none for memory
  const std::byte* memory_ = nullptr;
  std::uint64_t size_ = 0;
};

/// Bytes that come one after the other.
class Stream {
 public:
  virtual ~Stream() = default;
  /// Fills `to`. Throws IoError if there are not as many bytes left.
  virtual void read(std::span<std::byte> to) = 0;
};

/// The bytes of a source from an offset on.
class SourceStream final : public Stream {
 public:
  SourceStream(const Source& source, std::uint64_t offset) : source_(source), offset_(offset) {}
  void read(std::span<std::byte> to) override {
    source_.read(offset_, to);
    offset_ += to.size();
  }

 private:
  const Source& source_;
  std::uint64_t offset_;
};

/// A name that a file gives, in quotation marks; of a long one the beginning.
std::string quote(std::string_view name);

/// An integer as files hold it.
template <class T>
T little_endian(std::string_view bytes, std::size_t offset = 0) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value |
                           static_cast<T>(static_cast<T>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i)));
  }
  return value;
}

}  // namespace ebb
