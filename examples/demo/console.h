// What the demo writes while it runs: headings, and a progress bar that a terminal shows and a file never sees.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

namespace demo {

/// A blank line, the text, and a rule below it.
void heading(std::string_view text);

/// One line that is written over and over, at most twenty times a second; where output is not a terminal, nothing.
class Progress {
 public:
  Progress(std::string label, std::int64_t total);
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::int64_t done, std::string_view words);
  /// Takes the line away, before something else is written.
  void clear();

 private:
  std::string label_;
  std::int64_t total_;
  bool terminal_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace demo
