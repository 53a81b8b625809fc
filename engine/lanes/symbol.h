// A symbol: the type on which an elementwise lambda prints itself.
//
// The same lambda that computes packs, instantiated on Symbol, yields its own formula, with as few parentheses as a
// person would write. Labels, the reference and any code generator read that text, so that no formula is written twice.
#pragma once

#include <string>
#include <string_view>

namespace ebb::lane {

struct Symbol {
  std::string text;
  int binding = 9;  // how tightly the outermost operator binds; 9 is a name or a call
};

inline std::string within(const Symbol& s, int binding) { return s.binding < binding ? "(" + s.text + ")" : s.text; }
inline Symbol infix(const Symbol& a, std::string_view op, const Symbol& b, int left, int right) {
  return {within(a, left) + " " + std::string(op) + " " + within(b, right), left};
}
inline Symbol prefix(std::string_view name, const std::string& arguments) {
  return {std::string(name) + "(" + arguments + ")"};
}

// a + (b + c) keeps its parentheses: it does not round as a + b + c does.
inline Symbol operator+(const Symbol& a, const Symbol& b) { return infix(a, "+", b, 3, 4); }
inline Symbol operator-(const Symbol& a, const Symbol& b) { return infix(a, "-", b, 3, 4); }
inline Symbol operator*(const Symbol& a, const Symbol& b) { return infix(a, "*", b, 4, 5); }
inline Symbol operator/(const Symbol& a, const Symbol& b) { return infix(a, "/", b, 4, 5); }
inline Symbol operator-(const Symbol& a) { return {"-" + within(a, 5), 4}; }
inline Symbol operator<(const Symbol& a, const Symbol& b) { return infix(a, "<", b, 2, 3); }
inline Symbol operator<=(const Symbol& a, const Symbol& b) { return infix(a, "<=", b, 2, 3); }
inline Symbol operator>(const Symbol& a, const Symbol& b) { return infix(a, ">", b, 2, 3); }
inline Symbol operator>=(const Symbol& a, const Symbol& b) { return infix(a, ">=", b, 2, 3); }
inline Symbol operator==(const Symbol& a, const Symbol& b) { return infix(a, "==", b, 2, 3); }
inline Symbol operator!=(const Symbol& a, const Symbol& b) { return infix(a, "!=", b, 2, 3); }
inline Symbol select(const Symbol& c, const Symbol& a, const Symbol& b) {
  return prefix("where", c.text + ", " + a.text + ", " + b.text);
}

}  // namespace ebb::lane
