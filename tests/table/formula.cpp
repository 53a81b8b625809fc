// Reading a formula back: the grammar of what symbols print, by precedence.
#include <cctype>
#include <cmath>
#include <stdexcept>
#include <string>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

using Real = long double;

const std::map<std::string_view, Real (*)(Real)>& functions() {
  static const std::map<std::string_view, Real (*)(Real)> table{
      {"abs", std::fabs},        {"floor", std::floor}, {"ceil", std::ceil}, {"trunc", std::trunc},
      {"round", std::nearbyint}, {"sqrt", std::sqrt},   {"exp", std::exp},   {"expm1", std::expm1},
      {"log", std::log},         {"log1p", std::log1p}, {"sin", std::sin},   {"cos", std::cos},
      {"tan", std::tan},         {"atan", std::atan},   {"sinh", std::sinh}, {"cosh", std::cosh},
      {"tanh", std::tanh},       {"erf", std::erf},
  };
  return table;
}

class Reader {
 public:
  Reader(std::string_view text, const std::map<char, Real>& values) : text_(text), values_(values) {}

  Real whole() {
    const Real value = binary(0);
    if (!text_.empty()) fail();
    return value;
  }

 private:
  struct Operator {
    std::string_view text;
    int level;
    Real (*apply)(Real, Real);
  };

  [[noreturn]] void fail() const { throw std::runtime_error("no formula: " + std::string(text_)); }

  bool take(std::string_view word) {
    if (!text_.starts_with(word)) return false;
    text_.remove_prefix(word.size());
    return true;
  }

  // Longer operators come before those they begin with.
  Real binary(int level) {
    static const Operator operators[] = {
        {" || ", 0, [](Real a, Real b) { return Real(a != 0 || b != 0); }},
        {" && ", 1, [](Real a, Real b) { return Real(a != 0 && b != 0); }},
        {" <= ", 2, [](Real a, Real b) { return Real(a <= b); }},
        {" >= ", 2, [](Real a, Real b) { return Real(a >= b); }},
        {" < ", 2, [](Real a, Real b) { return Real(a < b); }},
        {" > ", 2, [](Real a, Real b) { return Real(a > b); }},
        {" == ", 2, [](Real a, Real b) { return Real(a == b); }},
        {" != ", 2, [](Real a, Real b) { return Real(a != b); }},
        {" + ", 3, [](Real a, Real b) { return a + b; }},
        {" - ", 3, [](Real a, Real b) { return a - b; }},
        {" * ", 4, [](Real a, Real b) { return a * b; }},
        {" / ", 4, [](Real a, Real b) { return a / b; }},
    };
    if (level == 5) return unary();
    Real value = binary(level + 1);
    for (bool found = true; found;) {
      found = false;
      for (const Operator& op : operators) {
        if (op.level != level || !take(op.text)) continue;
        value = op.apply(value, binary(level + 1));
        found = true;
      }
    }
    return value;
  }

  Real unary() {
    if (take("-")) return -unary();
    if (take("!")) return unary() == 0;
    if (take("(")) return closed(binary(0));
    std::size_t n = 0;
    while (n < text_.size() && std::isalnum(static_cast<unsigned char>(text_[n])) != 0) ++n;
    const std::string_view name = text_.substr(0, n);
    if (n > 0 && std::isdigit(static_cast<unsigned char>(text_[0])) != 0) {
      std::size_t length = 0;
      const Real value = std::stold(std::string(text_), &length);
      text_.remove_prefix(length);
      return value;
    }
    text_.remove_prefix(n);
    if (!take("(")) {
      if (n != 1 || !values_.contains(name[0])) fail();
      return values_.at(name[0]);
    }
    const Real first = binary(0);
    if (const auto found = functions().find(name); found != functions().end()) return closed(found->second(first));
    if (!take(", ")) fail();
    const Real second = binary(0);
    if (name == "pow") return closed(std::pow(first, second));
    if (name != "where" || !take(", ")) fail();
    const Real third = binary(0);
    return closed(first != 0 ? second : third);
  }

  Real closed(Real value) {
    if (!take(")")) fail();
    return value;
  }

  std::string_view text_;
  const std::map<char, Real>& values_;
};

}  // namespace

long double evaluate(std::string_view formula, const std::map<char, long double>& values) {
  return Reader(formula, values).whole();
}

}  // namespace ebb::test
