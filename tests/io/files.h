// What the tests of files share: files that vanish, bytes, and the text of an error without its place.
#pragma once

#include <ebb/engine/error.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>

#include "tests/support/thrown.h"

namespace ebb::test {

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

inline std::span<const std::byte> as_bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

/// A little-endian integer as it lies in a file.
template <class T>
std::string little(T value) {
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

/// A folder of its own for one test.
class Folder : public testing::Test {
 protected:
  Folder() {
    const auto* const info = testing::UnitTest::GetInstance()->current_test_info();
    path_ = std::filesystem::temp_directory_path() /
            (std::string("ebb_") + info->test_suite_name() + "_" + info->name() + "_" + std::to_string(getpid()));
    std::filesystem::create_directories(path_);
  }
  ~Folder() override { std::filesystem::remove_all(path_); }

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

  std::filesystem::path path_;
};

/// The text of the E that f throws, without the place at its end, which must be in a file of these tests.
template <class E, class F>
std::string thrown_here(F&& f) {
  const std::string text = thrown<E>(f);
  const auto place = text.rfind(" (");
  EXPECT_NE(text.find("_test.cpp:", place), text.npos) << text;
  return text.substr(0, place);
}

}  // namespace ebb::test
