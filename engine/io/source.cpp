#include <ebb/engine/io/source.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace ebb {

struct Source::File {
  explicit File(int descriptor) : descriptor(descriptor) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor >= 0) close(descriptor);
  }
  int descriptor;
};

Source Source::file(std::string_view op, const std::string& path, const Location& where) {
  Source source;
  source.op_ = op;
  source.name_ = '"' + path + '"';
  source.where_ = where;
  // A pipe that nobody writes to would make open() wait.
  const auto file = std::make_shared<File>(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file->descriptor < 0) {
    source.fail(fmt::format("cannot open the file ({})", std::strerror(errno)), "Check the path.");
  }
  struct stat status {};
  if (fstat(file->descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    source.fail("not a regular file", "Check the path.");
  }
  source.size_ = static_cast<std::uint64_t>(status.st_size);
  source.file_ = file;
  return source;
}

Source Source::memory(std::string_view op, std::span<const std::byte> bytes, const Location& where) {
  Source source;
  source.op_ = op;
  source.name_ = fmt::format("{} bytes in memory", bytes.size());
  source.where_ = where;
  source.memory_ = bytes.data();
  source.size_ = bytes.size();
  return source;
}

Source Source::within(std::string part) const {
  Source source = *this;
  source.part_ = std::move(part);
  return source;
}

void Source::read(std::uint64_t offset, std::span<std::byte> to) const {
  if (offset > size_ || to.size() > size_ - offset) {
    fail(fmt::format("cut short, bytes [{}, {}) of {} are asked for", offset, offset + to.size(), size_),
         "Fetch the file again.");
  }
  if (to.empty()) return;
  if (!file_) {
    std::memcpy(to.data(), memory_ + offset, to.size());
    return;
  }
  while (!to.empty()) {
    const ssize_t n = pread(file_->descriptor, to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      fail(fmt::format("cannot read byte {} of {} ({})", offset, size_,
                       n < 0 ? std::strerror(errno) : "the file shrank"),
           "Try again.");
    }
    to = to.subspan(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

std::string Source::read(std::uint64_t offset, std::size_t bytes) const {
  if (offset > size_ || bytes > size_ - offset)
    read(offset, std::span<std::byte>(static_cast<std::byte*>(nullptr), bytes));
  std::string text(bytes, '\0');
  read(offset, std::as_writable_bytes(std::span(text)));
  return text;
}

void Source::fail(std::string_view what, std::string_view advice) const {
  throw IoError(fmt::format("{}: {}{}; got {}. {} ({})", op_, part_, what, name_, advice, to_string(where_)));
}

std::string quote(std::string_view name) {
  constexpr std::size_t kShown = 80;
  return fmt::format("\"{}{}\"", name.substr(0, kShown), name.size() > kShown ? "..." : "");
}

}  // namespace ebb
