// Writing JSON: what a program that reads numbers and names back needs, and no more.
//
// A writer of our own, as the engine needs no library but fmt, and reading is no work of a dump. Numbers are the
// shortest that give the same double back; what JSON has no number for is one of the words "NaN", "Infinity",
// "-Infinity". Bytes that are not UTF-8 become U+FFFD.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace ebb::detail {

class Json {
 public:
  Json& begin_object() { return open('{'); }
  Json& end_object() { return close('}'); }
  Json& begin_array() { return open('['); }
  Json& end_array() { return close(']'); }
  Json& key(std::string_view name);

  Json& value(std::string_view text);
  Json& value(const char* text) { return value(std::string_view(text)); }
  Json& value(double number);
  Json& value(bool flag);
  Json& value(std::integral auto number) { return raw(std::to_string(number)); }
  Json& null() { return raw("null"); }
  /// What is JSON already.
  Json& raw(std::string_view json);
  /// A new line before what comes next.
  Json& line();

  template <class T>
  Json& member(std::string_view name, const T& of) {
    return key(name).value(of);
  }
  std::string take() { return std::move(out_); }

 private:
  Json& open(char bracket);
  Json& close(char bracket);
  void separate();

  std::string out_;
  bool comma_ = false;  // something stands before
  bool line_ = false;
};

}  // namespace ebb::detail
