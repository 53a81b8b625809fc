#include "tests/dump/support/driver.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <stdexcept>

#include "tests/dump/support/browser.h"

namespace ebb::test {
namespace {

using nlohmann::json;

// chromedriver takes a free port and says which.
int port_of(int pipe) {
  std::string said;
  char letter = 0;
  while (read(pipe, &letter, 1) == 1) {
    said += letter;
    const std::string words = "successfully on port ";
    const std::size_t at = said.find(words);
    if (letter == '.' && at != std::string::npos) return std::stoi(said.substr(at + words.size()));
  }
  throw std::runtime_error("chromedriver did not start: " + said);
}

// chromedriver leaves the connection open: an answer ends where its head says.
bool whole(const std::string& answer) {
  const std::size_t body = answer.find("\r\n\r\n");
  const std::string field = "Content-Length:";
  const std::size_t at = answer.find(field);
  return body != std::string::npos && at < body &&
         answer.size() >= body + 4 + std::stoul(answer.substr(at + field.size()));
}

void decode_base64(const std::string& text, const std::filesystem::path& file) {
  const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::ofstream out(file, std::ios::binary);
  unsigned bits = 0, count = 0;
  for (const char c : text) {
    const std::size_t value = letters.find(c);
    if (value == std::string::npos) continue;
    bits = (bits << 6 | static_cast<unsigned>(value)) & 0xffff;
    count += 6;
    if (count >= 8) out.put(static_cast<char>(bits >> (count -= 8) & 0xff));
  }
}

}  // namespace

bool Driver::available() { return !program("chromedriver").empty(); }

Driver::Driver() {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("no pipe for chromedriver");
  process_ = fork();
  if (process_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    execlp("chromedriver", "chromedriver", "--port=0", static_cast<char*>(nullptr));
    _exit(127);
  }
  close(ends[1]);
  said_ = ends[0];
  port_ = port_of(said_);
  const json options{
      {"binary", browser()},
      {"args",
       {"--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"}}};
  session_ =
      "/session/" +
      request("POST", "/session", {{"capabilities", {{"alwaysMatch", {{"goog:chromeOptions", options}}}}}})["sessionId"]
          .get<std::string>();
}

Driver::~Driver() {
  try {
    if (!session_.empty()) request("DELETE", session_);
  } catch (const std::exception&) {  // it ends with its driver
  }
  kill(process_, SIGTERM);
  waitpid(process_, nullptr, 0);
  close(said_);
}

json Driver::request(const char* method, const std::string& path, const json& body) {
  const std::string text = body.is_null() ? std::string() : body.dump();
  const std::string asked =
      fmt::format("{} {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{}", method,
                  path, text.size(), text);
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      send(socket, asked.data(), asked.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(asked.size())) {
    char buffer[65536];
    for (ssize_t n = 0; !whole(answer) && (n = recv(socket, buffer, sizeof buffer, 0)) > 0;) {
      answer.append(buffer, static_cast<std::size_t>(n));
    }
  }
  close(socket);
  const std::size_t at = answer.find("\r\n\r\n");
  if (at == std::string::npos) throw std::runtime_error(fmt::format("chromedriver gave no answer to {}", path));
  json value = json::parse(answer.substr(at + 4))["value"];
  if (value.is_object() && value.contains("error")) throw std::runtime_error(fmt::format("{}: {}", path, value.dump()));
  return value;
}

void Driver::open(const std::filesystem::path& page, const std::string& hash) {
  request("POST", session_ + "/url", {{"url", "about:blank"}});  // another hash alone would load nothing
  request("POST", session_ + "/url", {{"url", fmt::format("file://{}#{}", page.string(), hash)}});
}

void Driver::resize(int width, int height) {
  command("Emulation.setDeviceMetricsOverride",
          {{"width", width}, {"height", height}, {"deviceScaleFactor", 1}, {"mobile", width < 600}});
}

json Driver::run(const std::string& script) {
  return request("POST", session_ + "/execute/sync", {{"script", script}, {"args", json::array()}});
}

void Driver::press(const std::string& key) {
  const json down{{"type", "keyDown"}, {"value", key}};
  const json up{{"type", "keyUp"}, {"value", key}};
  const json source{{"type", "key"}, {"id", "keyboard"}, {"actions", {down, up}}};
  request("POST", session_ + "/actions", {{"actions", {source}}});
}

json Driver::command(const std::string& name, const json& parameters) {
  return request("POST", session_ + "/goog/cdp/execute", {{"cmd", name}, {"params", parameters}});
}

void Driver::screenshot(const std::filesystem::path& file) {
  const json size = command("Page.getLayoutMetrics")["cssContentSize"];
  const json clip{{"x", 0}, {"y", 0}, {"width", size["width"]}, {"height", size["height"]}, {"scale", 1}};
  decode_base64(command("Page.captureScreenshot", {{"captureBeyondViewport", true}, {"clip", clip}})["data"], file);
}

void Driver::print(const std::filesystem::path& file) {
  decode_base64(command("Page.printToPDF", {{"printBackground", true}})["data"], file);
}

}  // namespace ebb::test
