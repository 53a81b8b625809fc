// The files that the demo writes, in one folder, and the list of them that ends it.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace demo {

class Files {
 public:
  /// Makes the folder if it is not there.
  explicit Files(const std::string& folder) : folder_(folder) { std::filesystem::create_directories(folder_); }

  /// Notes a file that someone else writes, and returns its path.
  std::string add(const std::string& name, const std::string& what);
  /// Throws std::runtime_error if the file cannot be written.
  void write(const std::string& name, const std::string& what, const std::string& text);
  void list() const;

 private:
  std::filesystem::path folder_;
  std::vector<std::pair<std::string, std::string>> written_;
};

}  // namespace demo
