#include "demo/console.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

namespace demo {

void heading(std::string_view text) { fmt::print("\n{}\n{:-<{}}\n", text, "", text.size()); }

Progress::Progress(std::string label, std::int64_t total)
    : label_(std::move(label)), total_(total), terminal_(isatty(STDOUT_FILENO) == 1) {}

void Progress::show(std::int64_t done, std::string_view words) {
  const auto now = std::chrono::steady_clock::now();
  if (!terminal_ || now - last_ < std::chrono::milliseconds(50)) return;
  last_ = now;
  constexpr std::int64_t kWidth = 30;
  const auto full = static_cast<std::size_t>(kWidth * done / total_);
  fmt::print("\r\x1b[K  {} [{:=<{}}{:<{}}] {:3} %  {}", label_, "", full, ">", kWidth - static_cast<std::int64_t>(full),
             100 * done / total_, words);
  std::fflush(stdout);
  shown_ = true;
}

void Progress::clear() {
  if (!shown_) return;
  fmt::print("\r\x1b[K");
  std::fflush(stdout);
  shown_ = false;
}

}  // namespace demo
