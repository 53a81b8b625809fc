#include <ebb/engine/io/output.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

namespace ebb {
namespace {

// A new file beside the target; it is removed unless it has become the target.
class Draft {
 public:
  Draft(std::string_view op, const std::string& path, const Location& where) : op_(op), path_(path), where_(where) {
    const std::optional<mode_t> before = find_target();
    static std::atomic<std::uint64_t> count = 0;
    do {
      draft_ = fmt::format("{}.{}-{}.tmp", target_, getpid(), count.fetch_add(1));
      descriptor_ = open(draft_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    } while (descriptor_ < 0 && errno == EEXIST);
    if (descriptor_ < 0) fail("cannot create a file beside it", errno);
    if (before && fchmod(descriptor_, *before) != 0) {
      const int code = errno;
      discard();
      fail("cannot give the new file the permissions of the old one", code);
    }
  }
  Draft(const Draft&) = delete;
  Draft& operator=(const Draft&) = delete;
  ~Draft() { discard(); }

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
    if (std::rename(draft_.c_str(), target_.c_str()) != 0) fail("cannot replace it", errno);
    published_ = true;
  }

 private:
  // The file behind a link is written, not the link. A rename would put a file in a device's place as well, so
  // anything but a file is refused. Returns the permissions of a file that is there.
  std::optional<mode_t> find_target() {
    target_ = path_;
    if (path_.empty()) fail("no path was given");
    struct stat status {};
    if (stat(path_.c_str(), &status) != 0) {
      if (errno != ENOENT) fail("cannot write the file", errno);
      return {};
    }
    if (!S_ISREG(status.st_mode)) fail("not a regular file");
    char* const real = realpath(path_.c_str(), nullptr);
    if (!real) fail("cannot write the file", errno);
    target_ = real;
    std::free(real);
    return status.st_mode & 0777;
  }

  void discard() {
    if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
    if (!published_) unlink(draft_.c_str());
  }

  [[noreturn]] void fail(std::string_view what) const {
    throw IoError(
        fmt::format("{}: {}; got \"{}\". What was there is unchanged. ({})", op_, what, path_, to_string(where_)));
  }
  [[noreturn]] void fail(std::string_view what, int code) const {
    fail(fmt::format("{} ({})", what, std::strerror(code)));
  }

  std::string op_, path_, target_, draft_;
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
