// The vocabulary of elementwise lambdas: what each function means on a pack, on a scalar and on a symbol.
//
// On a symbol a function writes itself down, on a scalar (the oracle's long double) it is <cmath>'s, and on a pack it
// is written out here in + - * / and selections (pack_math.h), without fused multiply-adds: so even exp has the same
// bits on every instruction set. Lambdas call these qualified, lane::exp(x): an unqualified call would find the
// functions that the pack's own library has, which are less exact.
#pragma once

#include <ebb/engine/lanes/symbol.h>

#include <charconv>
#include <cmath>
#include <concepts>
#include <limits>
#include <string>
#include <type_traits>

namespace ebb::lane {

/// The functions on packs; pack_math.h has them.
template <class X>
struct PackMath;

template <class X>
concept Printed = std::is_same_v<X, Symbol>;
template <class X>
concept Scalar = std::is_arithmetic_v<X>;
template <class X>
concept Packed = requires {
  typename X::batch_bool_type;
};
template <class X>
concept Value = Printed<X> || Scalar<X> || Packed<X>;

template <class T>
requires Scalar<T> T select(bool c, T a, T b) { return c ? a : b; }

/// A literal of the lambda's type: `lit(x, 0.5)`.
template <Value X>
X lit(const X&, double value) {
  if constexpr (Printed<X>) {
    char text[32];
    return Symbol{
        Symbol::Op::literal, std::string(text, std::to_chars(text, text + sizeof text, value).ptr), value, {}};
  } else if constexpr (Scalar<X>) {
    return static_cast<X>(value);
  } else {
    return X(static_cast<typename X::value_type>(value));
  }
}

/// -x with the sign of a zero turned too. Packs take 0 - x for -x on some instruction sets, which is 0 for 0.
template <Value X>
X negate(const X& x) {
  if constexpr (Packed<X>) {
    if constexpr (std::is_floating_point_v<typename X::value_type>) {
      return x ^ X(static_cast<typename X::value_type>(-0.0));
    } else {
      return -x;
    }
  } else {
    return -x;
  }
}

/// a != b, true where one is NaN. On packs xsimd's != is false there from AVX2 on.
template <Value X>
auto differ(const X& a, const X& b) {
  if constexpr (Packed<X>) {
    return !(a == b);
  } else {
    return a != b;
  }
}

// Of truth values, which are bytes 0 and 1.
template <Value X>
X both(const X& a, const X& b) {
  if constexpr (Printed<X>)
    return symbol_of(Symbol::Op::both, a, b);
  else if constexpr (Packed<X>)
    return a & b;
  else
    return static_cast<X>(a != 0 && b != 0);
}
template <Value X>
X either(const X& a, const X& b) {
  if constexpr (Printed<X>)
    return symbol_of(Symbol::Op::either, a, b);
  else if constexpr (Packed<X>)
    return a | b;
  else
    return static_cast<X>(a != 0 || b != 0);
}
template <Value X>
X opposite(const X& a) {
  if constexpr (Printed<X>)
    return symbol_of(Symbol::Op::opposite, a);
  else if constexpr (Packed<X>)
    return a ^ X(1);
  else
    return static_cast<X>(a == 0);
}

// Functions with a name in <cmath>.
template <Value X, class OnPack, class OnScalar>
X called(std::string_view name, const X& x, OnPack on_pack, OnScalar on_scalar) {
  if constexpr (Printed<X>) {
    return Symbol::call(name, {x});
  } else if constexpr (Packed<X>) {
    return on_pack(x);
  } else {
    return on_scalar(x);
  }
}
template <Value X>
X abs(const X& x) {
  return called(
      "abs", x, [](auto v) { return PackMath<decltype(v)>::abs(v); }, [](auto v) { return std::abs(v); });
}
template <Value X>
X floor(const X& x) {
  return called(
      "floor", x, [](auto v) { return PackMath<decltype(v)>::floor(v); }, [](auto v) { return std::floor(v); });
}
template <Value X>
X ceil(const X& x) {
  return called(
      "ceil", x, [](auto v) { return PackMath<decltype(v)>::ceil(v); }, [](auto v) { return std::ceil(v); });
}
template <Value X>
X trunc(const X& x) {
  return called(
      "trunc", x, [](auto v) { return PackMath<decltype(v)>::trunc(v); }, [](auto v) { return std::trunc(v); });
}
/// To the nearest integer, halves to the even one.
template <Value X>
X round(const X& x) {
  return called(
      "round", x, [](auto v) { return PackMath<decltype(v)>::round(v); }, [](auto v) { return std::nearbyint(v); });
}
template <Value X>
X sqrt(const X& x) {
  return called(
      "sqrt", x, [](auto v) { return PackMath<decltype(v)>::sqrt(v); }, [](auto v) { return std::sqrt(v); });
}
template <Value X>
X exp(const X& x) {
  return called(
      "exp", x, [](auto v) { return PackMath<decltype(v)>::exp(v); }, [](auto v) { return std::exp(v); });
}
template <Value X>
X expm1(const X& x) {
  return called(
      "expm1", x, [](auto v) { return PackMath<decltype(v)>::expm1(v); }, [](auto v) { return std::expm1(v); });
}
template <Value X>
X log(const X& x) {
  return called(
      "log", x, [](auto v) { return PackMath<decltype(v)>::log(v); }, [](auto v) { return std::log(v); });
}
template <Value X>
X log1p(const X& x) {
  return called(
      "log1p", x, [](auto v) { return PackMath<decltype(v)>::log1p(v); }, [](auto v) { return std::log1p(v); });
}
template <Value X>
X sin(const X& x) {
  return called(
      "sin", x, [](auto v) { return PackMath<decltype(v)>::sin(v); }, [](auto v) { return std::sin(v); });
}
template <Value X>
X cos(const X& x) {
  return called(
      "cos", x, [](auto v) { return PackMath<decltype(v)>::cos(v); }, [](auto v) { return std::cos(v); });
}
template <Value X>
X tan(const X& x) {
  return called(
      "tan", x, [](auto v) { return PackMath<decltype(v)>::tan(v); }, [](auto v) { return std::tan(v); });
}
template <Value X>
X atan(const X& x) {
  return called(
      "atan", x, [](auto v) { return PackMath<decltype(v)>::atan(v); }, [](auto v) { return std::atan(v); });
}
template <Value X>
X sinh(const X& x) {
  return called(
      "sinh", x, [](auto v) { return PackMath<decltype(v)>::sinh(v); }, [](auto v) { return std::sinh(v); });
}
template <Value X>
X cosh(const X& x) {
  return called(
      "cosh", x, [](auto v) { return PackMath<decltype(v)>::cosh(v); }, [](auto v) { return std::cosh(v); });
}
template <Value X>
X tanh(const X& x) {
  return called(
      "tanh", x, [](auto v) { return PackMath<decltype(v)>::tanh(v); }, [](auto v) { return std::tanh(v); });
}
template <Value X>
X erf(const X& x) {
  return called(
      "erf", x, [](auto v) { return PackMath<decltype(v)>::erf(v); }, [](auto v) { return std::erf(v); });
}
template <Value X>
X pow(const X& x, const X& y) {
  if constexpr (Printed<X>) {
    return Symbol::call("pow", {x, y});
  } else if constexpr (Packed<X>) {
    return PackMath<X>::pow(x, y);
  } else {
    return std::pow(x, y);
  }
}

// Functions whose textbook formula overflows or cancels: packs have a form of their own, and so has the oracle where
// long double needs one.
/// 1 / (1 + e^-x)
template <Value X>
X sigmoid(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::sigmoid(x);
  else
    return lit(x, 1) / (lit(x, 1) + exp(-x));
}
/// x / (1 + e^-x), which tends to 0 at minus infinity.
template <Value X>
X silu(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::silu(x);
  else if constexpr (Scalar<X>)
    return x == -std::numeric_limits<X>::infinity() ? X(-0.0) : x / (1 + std::exp(-x));
  else
    return x / (lit(x, 1) + exp(-x));
}
/// log(1 + e^x)
template <Value X>
X softplus(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::softplus(x);
  else if constexpr (Scalar<X>)
    return (x > 0 ? x : 0) + std::log1p(std::exp(-std::abs(x)));
  else
    return log1p(exp(x));
}
/// log(1 / (1 + e^-x))
template <Value X>
X logsigmoid(const X& x) {
  if constexpr (Printed<X>)
    return -log1p(exp(-x));
  else
    return negate(softplus(negate(x)));
}
/// The normal distribution's probability below x.
template <Value X>
X normal_cdf(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::normal_cdf(x);
  else if constexpr (Scalar<X>)
    return std::erfc(-x * std::sqrt(X(0.5))) / 2;
  else
    return lit(x, 0.5) * (lit(x, 1) + erf(x * lit(x, 0.7071067811865476)));
}
/// Its density at x.
template <Value X>
X normal_pdf(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::normal_pdf(x);
  else if constexpr (Scalar<X>)
    return std::exp(-x * x / 2) * std::sqrt(1 / (8 * std::atan(X(1))));
  else
    return lit(x, 0.3989422804014327) * exp(lit(x, -0.5) * (x * x));
}
/// x times the normal distribution's probability below x, which tends to 0 at minus infinity.
template <Value X>
X gelu(const X& x) {
  if constexpr (Packed<X>)
    return PackMath<X>::gelu(x);
  else if constexpr (Scalar<X>) {
    return x == -std::numeric_limits<X>::infinity() ? X(-0.0) : x * std::erfc(-x * std::sqrt(X(0.5))) / 2;
  } else {
    return lit(x, 0.5) * x * (lit(x, 1) + erf(x * lit(x, 0.7071067811865476)));
  }
}

}  // namespace ebb::lane
