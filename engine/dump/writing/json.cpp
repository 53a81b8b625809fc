#include <ebb/engine/dump/writing/json.h>

#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>

#include <cmath>

namespace ebb::detail {

void Json::separate() {
  if (comma_) out_ += ',';
  if (line_)
    out_ += '\n';
  else if (comma_)
    out_ += ' ';
  line_ = false;
}

Json& Json::open(char bracket) {
  separate();
  out_ += bracket;
  comma_ = false;
  return *this;
}

Json& Json::close(char bracket) {
  if (line_) out_ += '\n';
  line_ = false;
  out_ += bracket;
  comma_ = true;
  return *this;
}

Json& Json::line() {
  line_ = true;
  return *this;
}

Json& Json::raw(std::string_view json) {
  separate();
  out_ += json;
  comma_ = true;
  return *this;
}

Json& Json::key(std::string_view name) {
  value(name);
  out_ += ": ";
  comma_ = false;
  return *this;
}

Json& Json::value(std::string_view text) {
  separate();
  out_ += '"';
  while (!text.empty()) {
    const std::size_t n = utf8_sequence(text);
    const unsigned byte = static_cast<unsigned char>(text[0]);
    if (n == 0) {
      out_ += "\\ufffd";
    } else if (byte == '"' || byte == '\\') {
      out_ += '\\';
      out_ += text[0];
    } else if (byte == '\n') {
      out_ += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      out_ += fmt::format("\\u{:04x}", byte);
    } else {
      out_ += text.substr(0, n);
    }
    text.remove_prefix(n == 0 ? 1 : n);
  }
  out_ += '"';
  comma_ = true;
  return *this;
}

Json& Json::value(double number) {
  if (std::isnan(number)) return value("NaN");
  if (std::isinf(number)) return value(number > 0 ? "Infinity" : "-Infinity");
  // Readers take -0 for an integer, which has no sign.
  return raw(number == 0 && std::signbit(number) ? "-0.0" : fmt::format("{}", number));
}

Json& Json::value(bool flag) { return raw(flag ? "true" : "false"); }

}  // namespace ebb::detail
