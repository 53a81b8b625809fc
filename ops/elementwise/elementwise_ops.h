// The elementwise ops: one entry each, from which the kernels of every instruction set, the formula, the derivative,
// the tests and the reference are made. To add an op, add its entry here and its declaration to elementwise.h.
#pragma once

#include <ebb/engine/lanes/op.h>

namespace ebb {

inline constexpr auto kElementwiseOps = [] {
  using namespace lane;
  return std::tuple{
      unary(
          "neg", {.takes = Takes::numbers, .linear = 1}, [](auto x) { return negate(x); },
          [](const auto& g) { return -g.ct; }),
      unary(
          "square", {.takes = Takes::numbers}, [](auto x) { return x * x; },
          // The cotangent first: where it is a broadcast, twice it is one too, and costs nothing.
          [](const auto& g) { return 2.0 * g.ct * g.in[0]; }),
      unary(
          "sqrt", {.lo = 0.2, .hi = 3}, [](auto x) { return sqrt(x); },
          [](const auto& g) { return 0.5 / g.out * g.ct; }),
      unary(
          "reciprocal", {.lo = 0.2, .hi = 3}, [](auto x) { return lit(x, 1) / x; },
          [](const auto& g) { return -square(g.out) * g.ct; }),
      unary(
          "exp", {.ulp = 2}, [](auto x) { return exponential(x); }, [](const auto& g) { return g.ct * g.out; }),
      unary(
          "log", {.lo = 0.2, .hi = 3, .ulp = 2}, [](auto x) { return log(x); },
          [](const auto& g) { return g.ct / g.in[0]; }),
      unary(
          "tanh", {.ulp = 4}, [](auto x) { return tanh(x); },
          [](const auto& g) { return g.ct * (1.0 - square(g.out)); }),
      unary(
          "sigmoid", {.ulp = 4}, [](auto x) { return lit(x, 1) / (lit(x, 1) + exp(-x)); },
          [](const auto& g) { return g.ct * (g.out * (1.0 - g.out)); }),
      // A NaN compares false and passes; the slope at 0 is 0.
      unary(
          "relu", {.takes = Takes::numbers, .margin = 0.1}, [](auto x) { return select(x <= lit(x, 0), lit(x, 0), x); },
          [](const auto& g) { return where(g.out > 0.0, g.ct, 0.0); }),
      binary(
          "sub", {.takes = Takes::numbers, .linear = 3}, [](auto a, auto b) { return a - b; },
          [](const auto& g) { return g.ct; },
          // Summed back before the sign is changed: on a broadcast input that is a smaller tensor.
          [](const auto& g) { return -sum_to(g.ct, g.in[1].shape()); }),
      binary(
          "mul", {.takes = Takes::numbers, .commutative = true, .linear = 3}, [](auto a, auto b) { return a * b; },
          [](const auto& g) { return g.ct * g.in[1]; }, [](const auto& g) { return g.ct * g.in[0]; }),
      binary(
          "div", {.lo = 0.2, .hi = 3, .linear = 1}, [](auto a, auto b) { return a / b; },
          [](const auto& g) { return g.ct / g.in[1]; }, [](const auto& g) { return -(g.ct * g.out / g.in[1]); }),
      predicate("less", {.takes = Takes::numbers}, [](auto a, auto b) { return a < b; }),
      predicate("less_equal", {.takes = Takes::numbers}, [](auto a, auto b) { return a <= b; }),
      predicate("greater", {.takes = Takes::numbers}, [](auto a, auto b) { return a > b; }),
      predicate("greater_equal", {.takes = Takes::numbers}, [](auto a, auto b) { return a >= b; }),
      predicate("equal", {.takes = Takes::numbers, .commutative = true}, [](auto a, auto b) { return a == b; }),
      predicate("not_equal", {.takes = Takes::numbers, .commutative = true},
                [](auto a, auto b) { return differ(a, b); }),
      choice(
          "where", {.takes = Takes::numbers, .linear = 6}, [](auto c, auto a, auto b) { return select(c, a, b); },
          [](const auto& g) { return where(g.in[0], g.ct, 0.0); },
          [](const auto& g) { return where(g.in[0], 0.0, g.ct); }),
  };
}();

}  // namespace ebb
