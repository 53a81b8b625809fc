// How a family of elementwise ops is written down: one tuple of lambdas, from which everything else is made.
//
// An entry holds the op's name, its lambda, its derivative rules and its facts. lanes.cpp instantiates the lambdas on
// the packs of each instruction set; make_row (elementwise_row.h) instantiates them on symbols and on long double, and
// the rules on Vars. Rules are generic lambdas too, so that the files compiled per instruction set see only text of
// them and emit nothing untagged.
#pragma once

#include <cmath>
#include <concepts>
#include <string_view>
#include <tuple>
#include <type_traits>

#include <ebb/engine/lanes/symbol.h>

namespace ebb::lane {

// Scalars behave as packs do.
template <std::floating_point T>
T exp(T x) {
  return std::exp(x);
}
template <std::floating_point T>
T log(T x) {
  return std::log(x);
}
template <std::floating_point T>
T tanh(T x) {
  return std::tanh(x);
}
template <std::floating_point T>
T sqrt(T x) {
  return std::sqrt(x);
}
template <class T>
requires std::is_arithmetic_v<T> T select(bool c, T a, T b) { return c ? a : b; }

/// -x with the sign of a zero turned too. Packs take 0 - x for -x on some instruction sets, which is 0 for 0.
template <class X>
X negate(const X& x) {
  if constexpr (std::is_same_v<X, Symbol> || std::is_arithmetic_v<X>) {
    return -x;
  } else if constexpr (std::is_floating_point_v<typename X::value_type>) {
    return x ^ X(static_cast<typename X::value_type>(-0.0));
  } else {
    return -x;
  }
}

/// A literal of the lambda's type: `lit(x, 0.5)`.
template <class X>
X lit(const X&, double value) {
  if constexpr (std::is_same_v<X, Symbol>) {
    std::string text = std::to_string(value);
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
    return Symbol{text};
  } else if constexpr (std::is_arithmetic_v<X>) {
    return static_cast<X>(value);
  } else {
    return X(static_cast<typename X::value_type>(value));
  }
}

/// a != b, true where one is NaN. On packs xsimd's != is false there from AVX2 on.
template <class X>
auto differ(const X& a, const X& b) {
  if constexpr (std::is_same_v<X, Symbol> || std::is_arithmetic_v<X>) {
    return a != b;
  } else {
    return !(a == b);
  }
}

/// e^x up to the largest number. xsimd's f32 exp gives infinity from 88.38 on, a third short of where the result
/// overflows; there ln 2 is taken off first, in two parts, the first of which leaves no rounding error.
template <class X>
X exponential(const X& x) {
  if constexpr (std::is_same_v<X, Symbol> || std::is_arithmetic_v<X>) {
    return exp(x);
  } else if constexpr (std::is_same_v<typename X::value_type, float>) {
    const auto high = x > X(88.0F);
    const X y = exp(select(high, x - X(0.693359375F), x));
    return select(high, y * X(2.00042443F), y);
  } else {
    return exp(x);
  }
}

/// The reason why an input has no derivative.
struct NoGrad {
  std::string_view reason;
};

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
template <class F, class A, class B>
constexpr auto choice(std::string_view name, Traits traits, F f, A a, B b) {
  return Op<3, 2, F, NoGrad, A, B>{name, traits, f, {NoGrad{"a condition selects, it has no slope"}, a, b}};
}

}  // namespace ebb::lane
