// Chromium by chromedriver, for what a page's own script cannot tell: the accessibility tree, keys that a user presses,
// windows of any width, paper. The protocol is WebDriver: JSON over HTTP on a local socket.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

namespace ebb::test {

class Driver {
 public:
  /// Whether chromedriver is installed.
  static bool available();

  /// Starts chromedriver and a browser without a window.
  Driver();
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  void open(const std::filesystem::path& page, const std::string& hash = {});
  /// The window's size, in pixels, also where no window could be as narrow.
  void resize(int width, int height);
  /// What a function's body returns.
  nlohmann::json run(const std::string& script);
  /// A key, as Unicode has it in WebDriver's private area, or a letter, to what has the focus.
  void press(const std::string& key);
  /// A command of the browser's own protocol.
  nlohmann::json command(const std::string& name, const nlohmann::json& parameters = nlohmann::json::object());
  void screenshot(const std::filesystem::path& file);
  void print(const std::filesystem::path& file);

 private:
  nlohmann::json request(const char* method, const std::string& path, const nlohmann::json& body = nullptr);

  pid_t process_ = 0;
  int said_ = -1;  // what it prints; it would die of a pipe that nobody holds
  int port_ = 0;
  std::string session_;
};

}  // namespace ebb::test
