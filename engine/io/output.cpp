#include <ebb/engine/io/output.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <utility>

namespace ebb {
namespace {

// A new file beside the target; it is removed unless it has become the target.
class Draft {
 public:
  Draft(std::string_view op, const std::string& path, const Location& where) : op_(op), path_(path), where_(where) {
    static std::atomic<std::uint64_t> count = 0;
    do {
      draft_ = fmt::format("{}.{}-{}.tmp", path, getpid(), count.fetch_add(1));
      descriptor_ = open(draft_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) fail("cannot create a file beside it", errno);
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() {
    if (descriptor_ >= 0) close(descriptor_);
    if (!published_) unlink(draft_.c_str());
  }

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::write(descriptor_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) fail("cannot write the file", errno);
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  void publish() {
    if (fsync(descriptor_) != 0) fail("cannot write the file", errno);
    if (close(std::exchange(descriptor_, -1)) != 0) fail("cannot write the file", errno);
    if (std::rename(draft_.c_str(), path_.c_str()) != 0) fail("cannot replace it", errno);
    published_ = true;
  }

 private:
  [[noreturn]] void fail(std::string_view what, int code) const {
    throw IoError(fmt::format("{}: {} ({}); got \"{}\". What was there is unchanged. ({})", op_, what,
                              std::strerror(code), path_, to_string(where_)));
  }

  std::string op_, path_, draft_;
  Location where_;
  int descriptor_ = -1;
  bool published_ = false;
};

}  // namespace

void write_file(std::string_view op, const std::string& path, const Location& where,
                const std::function<void(const Write&)>& content) {
  Draft draft(op, path, where);
  content([&](std::span<const std::byte> bytes) { draft.write(bytes); });
  draft.publish();
}

}  // namespace ebb
