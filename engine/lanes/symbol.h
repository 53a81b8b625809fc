// A symbol: the type on which an elementwise lambda writes itself down.
//
// The same lambda that computes packs, instantiated on Symbol, yields its own expression as a tree. Labels and the
// reference read the text of it, with as few parentheses as a person would write, and the code generator reads the
// tree, so that no formula is written twice. A function with a name stays a call: what it does on packs is not said.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ebb::lane {

struct Symbol {
  enum class Op : unsigned char {
    name,
    literal,
    call,
    select,
    negate,
    add,
    subtract,
    multiply,
    divide,
    less,
    less_equal,
    greater,
    greater_equal,
    equal,
    differ,
    both,
    either,
    opposite,
  };
  Op op = Op::name;
  std::string word;              // a name, a literal as it is printed, or the function that is called
  double value = 0;              // a literal's, or the number that the maker of a name gave it
  std::vector<Symbol> operands;  // of everything else

  static Symbol name(std::string word, double number = 0) { return {Op::name, std::move(word), number, {}}; }
  static Symbol call(std::string_view function, std::vector<Symbol> operands) {
    return {Op::call, std::string(function), 0, std::move(operands)};
  }

  std::string text() const;

 private:
  struct Infix {
    std::string_view sign;
    int left, right;  // how tightly an operand has to bind to need no parentheses
  };
  Infix infix() const;
  int binding() const;  // how tightly the outermost operator binds; 9 is a name or a call
  std::string within(int binding) const { return this->binding() < binding ? "(" + text() + ")" : text(); }
};

// a + (b + c) keeps its parentheses: it does not round as a + b + c does.
inline Symbol::Infix Symbol::infix() const {
  switch (op) {
    case Op::either:
      return {" || ", 0, 1};
    case Op::both:
      return {" && ", 1, 2};
    case Op::less:
      return {" < ", 2, 3};
    case Op::less_equal:
      return {" <= ", 2, 3};
    case Op::greater:
      return {" > ", 2, 3};
    case Op::greater_equal:
      return {" >= ", 2, 3};
    case Op::equal:
      return {" == ", 2, 3};
    case Op::differ:
      return {" != ", 2, 3};
    case Op::add:
      return {" + ", 3, 4};
    case Op::subtract:
      return {" - ", 3, 4};
    case Op::multiply:
      return {" * ", 4, 5};
    case Op::divide:
      return {" / ", 4, 5};
    default:
      return {"", 9, 9};
  }
}

inline int Symbol::binding() const {
  if (op == Op::negate || (op == Op::name && word.starts_with('-'))) return 4;
  return op == Op::opposite ? 5 : infix().left;
}

inline std::string Symbol::text() const {
  switch (op) {
    case Op::name:
    case Op::literal:
      return word;
    case Op::negate:
      return "-" + operands[0].within(5);
    case Op::opposite:
      return "!" + operands[0].within(5);
    case Op::call:
    case Op::select: {
      std::string list;
      for (const Symbol& operand : operands) list += (list.empty() ? "" : ", ") + operand.text();
      return (op == Op::call ? word : "where") + "(" + list + ")";
    }
    default:
      return operands[0].within(infix().left) + std::string(infix().sign) + operands[1].within(infix().right);
  }
}

inline Symbol symbol_of(Symbol::Op op, const Symbol& a) { return {op, {}, 0, {a}}; }
inline Symbol symbol_of(Symbol::Op op, const Symbol& a, const Symbol& b) { return {op, {}, 0, {a, b}}; }

inline Symbol operator+(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::add, a, b); }
inline Symbol operator-(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::subtract, a, b); }
inline Symbol operator*(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::multiply, a, b); }
inline Symbol operator/(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::divide, a, b); }
inline Symbol operator-(const Symbol& a) { return symbol_of(Symbol::Op::negate, a); }
inline Symbol operator<(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::less, a, b); }
inline Symbol operator<=(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::less_equal, a, b); }
inline Symbol operator>(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::greater, a, b); }
inline Symbol operator>=(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::greater_equal, a, b); }
inline Symbol operator==(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::equal, a, b); }
inline Symbol operator!=(const Symbol& a, const Symbol& b) { return symbol_of(Symbol::Op::differ, a, b); }
inline Symbol select(const Symbol& c, const Symbol& a, const Symbol& b) {
  return {Symbol::Op::select, {}, 0, {c, a, b}};
}

}  // namespace ebb::lane
