// How a family of elementwise ops is written down: one tuple of lambdas, from which everything else is made.
//
// An entry holds the op's name, its lambda, its derivative rules and its facts. lanes.cpp instantiates the lambdas on
// the packs of each instruction set; make_row (elementwise_row.h) instantiates them on symbols and on long double, and
// the rules on Vars. Rules are generic lambdas too, so that the files compiled per instruction set see only text of
// them and emit nothing untagged.
#pragma once

#include <ebb/engine/lanes/math.h>

#include <string_view>
#include <tuple>

namespace ebb::lane {

/// The reason why an input has no derivative. Without one the derivative is 0, as of a step function.
struct NoGrad {
  std::string_view reason;
};
inline constexpr NoGrad kFlat{};
inline constexpr NoGrad kLogic{"truth values have no slope"};

/// Which dtypes an op takes.
enum class Takes : unsigned char { floating, numbers, all, booleans };

struct Traits {
  Takes takes = Takes::floating;
  double lo = -2, hi = 2;       // the domain samples are drawn from
  double kink = 0, margin = 0;  // and the place they keep away from
  double ulp = 0.5;
  bool commutative = false;
  unsigned linear = 0;
};

/// One elementwise op. F takes Arity values; Rules are one per input, the last repeats.
template <int Arity, int Form, class F, class... Rules>
struct Op {
  static constexpr int kArity = Arity;
  static constexpr int kForm = Form;  // 0 same, 1 predicate, 2 select: the values of Signature
  std::string_view name;
  Traits traits;
  F f;
  std::tuple<Rules...> rules;
};

template <class F, class R>
constexpr auto unary(std::string_view name, Traits traits, F f, R rule) {
  return Op<1, 0, F, R>{name, traits, f, {rule}};
}
template <class F, class A, class B>
constexpr auto binary(std::string_view name, Traits traits, F f, A a, B b) {
  return Op<2, 0, F, A, B>{name, traits, f, {a, b}};
}
template <class F>
constexpr auto predicate(std::string_view name, Traits traits, F f) {
  return Op<2, 1, F, NoGrad>{name, traits, f, {NoGrad{"a comparison is constant but for jumps"}}};
}
template <class F>
constexpr auto test(std::string_view name, Traits traits, F f) {
  return Op<1, 1, F, NoGrad>{name, traits, f, {NoGrad{"a test of its input is constant but for jumps"}}};
}
template <class F, class A, class B>
constexpr auto choice(std::string_view name, Traits traits, F f, A a, B b) {
  return Op<3, 2, F, NoGrad, A, B>{name, traits, f, {NoGrad{"a condition selects, it has no slope"}, a, b}};
}

}  // namespace ebb::lane
