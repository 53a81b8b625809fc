// The browser that draws what the dumps write, if there is one.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace ebb::test {

/// Where a program is; empty if it is not installed.
inline std::string program(const std::string& name) {
  const std::string paths = std::getenv("PATH") ? std::getenv("PATH") : "";
  for (std::size_t begin = 0; begin < paths.size();) {
    const std::size_t end = std::min(paths.find(':', begin), paths.size());
    const std::filesystem::path path = std::filesystem::path(paths.substr(begin, end - begin)) / name;
    if (access(path.c_str(), X_OK) == 0) return path.string();
    begin = end + 1;
  }
  return {};
}

/// The path of Chromium; empty if it is not installed.
inline std::string browser() {
  for (const char* name : {"chromium", "chromium-browser", "google-chrome"}) {
    if (std::string path = program(name); !path.empty()) return path;
  }
  return {};
}

}  // namespace ebb::test
