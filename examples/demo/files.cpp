#include "demo/files.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>

#include "demo/console.h"

namespace demo {

std::string Files::add(const std::string& name, const std::string& what) {
  written_.emplace_back((folder_ / name).string(), what);
  return written_.back().first;
}

void Files::write(const std::string& name, const std::string& what, const std::string& text) {
  const std::string path = add(name, what);
  std::ofstream file(path);
  if (!(file << text).flush()) throw std::runtime_error(fmt::format("demo: cannot write {}", path));
}

void Files::list() const {
  heading("Written");
  fmt::print("\n");
  std::size_t width = 0;
  for (const auto& [path, what] : written_) width = std::max(width, path.size());
  for (const auto& [path, what] : written_) fmt::print("    {:{}}   {}\n", path, width, what);
  fmt::print("\n");
}

}  // namespace demo
