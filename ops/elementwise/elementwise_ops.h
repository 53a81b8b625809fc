// The elementwise ops of arithmetic, comparison and choice: one entry each, from which the kernels of every instruction
// set, the formula, the derivative, the tests and the reference are made. To add an op, add its entry here (or to
// math_ops.h) and its function to elementwise.h.
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
          "abs", {.takes = Takes::numbers, .margin = 0.1}, [](auto x) { return lane::abs(x); },
          [](const auto& g) { return g.ct * sign(g.in[0]); }),
      unary(
          "sign", {.takes = Takes::numbers, .margin = 0.1},
          [](auto x) { return select(x > lit(x, 0), lit(x, 1), select(x < lit(x, 0), lit(x, -1), x)); }, kFlat),
      unary(
          "floor", {}, [](auto x) { return lane::floor(x); }, kFlat),
      unary(
          "ceil", {}, [](auto x) { return lane::ceil(x); }, kFlat),
      unary(
          "round", {}, [](auto x) { return lane::round(x); }, kFlat),
      unary(
          "trunc", {}, [](auto x) { return lane::trunc(x); }, kFlat),
      unary(
          "square", {.takes = Takes::numbers}, [](auto x) { return x * x; },
          // The cotangent first: where it is a broadcast, twice it is one too, and costs nothing.
          [](const auto& g) { return 2.0 * g.ct * g.in[0]; }),
      unary(
          "sqrt", {.lo = 0.2, .hi = 3}, [](auto x) { return lane::sqrt(x); },
          [](const auto& g) { return 0.5 / g.out * g.ct; }),
      unary(
          "rsqrt", {.lo = 0.2, .hi = 3, .ulp = 1.5}, [](auto x) { return lit(x, 1) / lane::sqrt(x); },
          [](const auto& g) { return -0.5 * g.out / g.in[0] * g.ct; }),
      unary(
          "reciprocal", {.lo = 0.2, .hi = 3}, [](auto x) { return lit(x, 1) / x; },
          [](const auto& g) { return -square(g.out) * g.ct; }),
      // A NaN compares false and passes; the slope at 0 is 0.
      unary(
          "relu", {.takes = Takes::numbers, .margin = 0.1}, [](auto x) { return select(x <= lit(x, 0), lit(x, 0), x); },
          [](const auto& g) { return where(g.out > 0.0, g.ct, 0.0); }),
      binary(
          "leaky_relu", {.margin = 0.1}, [](auto x, auto slope) { return select(x > lit(x, 0), x, slope * x); },
          [](const auto& g) { return where(g.in[0] > 0.0, g.ct, g.ct * g.in[1]); },
          [](const auto& g) { return where(g.in[0] > 0.0, 0.0, g.ct * g.in[0]); }),
      binary(
          "sub", {.takes = Takes::numbers, .linear = 3}, [](auto a, auto b) { return a - b; },
          [](const auto& g) { return g.ct; },
          // Summed back before the sign is changed: on a broadcast input that is a smaller tensor.
          [](const auto& g) { return -sum_to(g.ct, g.in[1].shape()); }),
      binary(
          "mul", {.takes = Takes::numbers, .commutative = true}, [](auto a, auto b) { return a * b; },
          [](const auto& g) { return g.ct * g.in[1]; }, [](const auto& g) { return g.ct * g.in[0]; }),
      binary(
          "div", {.lo = 0.2, .hi = 3, .linear = 1}, [](auto a, auto b) { return a / b; },
          [](const auto& g) { return g.ct / g.in[1]; }, [](const auto& g) { return -(g.ct * g.out / g.in[1]); }),
      // A NaN on either side passes. Where both are equal each gets half, so that the gradient is that of their mean.
      binary(
          "maximum", {.takes = Takes::numbers, .commutative = true},
          [](auto a, auto b) { return select(differ(a, a), a, select(a > b, a, b)); },
          [](const auto& g) { return where(equal(g.in[0], g.in[1]), 0.5 * g.ct, where(g.in[0] > g.in[1], g.ct, 0.0)); },
          [](const auto& g) {
            return where(equal(g.in[0], g.in[1]), 0.5 * g.ct, where(g.in[1] > g.in[0], g.ct, 0.0));
          }),
      binary(
          "minimum", {.takes = Takes::numbers, .commutative = true},
          [](auto a, auto b) { return select(differ(a, a), a, select(a < b, a, b)); },
          [](const auto& g) { return where(equal(g.in[0], g.in[1]), 0.5 * g.ct, where(g.in[0] < g.in[1], g.ct, 0.0)); },
          [](const auto& g) {
            return where(equal(g.in[0], g.in[1]), 0.5 * g.ct, where(g.in[1] < g.in[0], g.ct, 0.0));
          }),
      // As maximum and minimum, but a tie is x's alone: a value at its bound still has the slope 1.
      binary(
          "clamp_min", {.takes = Takes::numbers}, [](auto x, auto bound) { return select(x < bound, bound, x); },
          [](const auto& g) { return where(g.in[0] < g.in[1], 0.0, g.ct); },
          [](const auto& g) { return where(g.in[0] < g.in[1], g.ct, 0.0); }),
      binary(
          "clamp_max", {.takes = Takes::numbers}, [](auto x, auto bound) { return select(x > bound, bound, x); },
          [](const auto& g) { return where(g.in[0] > g.in[1], 0.0, g.ct); },
          [](const auto& g) { return where(g.in[0] > g.in[1], g.ct, 0.0); }),
      predicate("less", {.takes = Takes::numbers}, [](auto a, auto b) { return a < b; }),
      predicate("less_equal", {.takes = Takes::numbers}, [](auto a, auto b) { return a <= b; }),
      predicate("greater", {.takes = Takes::numbers}, [](auto a, auto b) { return a > b; }),
      predicate("greater_equal", {.takes = Takes::numbers}, [](auto a, auto b) { return a >= b; }),
      predicate("equal", {.takes = Takes::numbers, .commutative = true}, [](auto a, auto b) { return a == b; }),
      predicate("not_equal", {.takes = Takes::numbers, .commutative = true},
                [](auto a, auto b) { return differ(a, b); }),
      test("isfinite", {}, [](auto x) { return x - x == lit(x, 0); }),
      test("isnan", {}, [](auto x) { return differ(x, x); }),
      binary(
          "logical_and", {.takes = Takes::booleans, .commutative = true}, [](auto a, auto b) { return both(a, b); },
          kLogic, kLogic),
      binary(
          "logical_or", {.takes = Takes::booleans, .commutative = true}, [](auto a, auto b) { return either(a, b); },
          kLogic, kLogic),
      unary(
          "logical_not", {.takes = Takes::booleans}, [](auto a) { return opposite(a); }, kLogic),
      choice(
          "where", {.takes = Takes::numbers, .linear = 6}, [](auto c, auto a, auto b) { return select(c, a, b); },
          [](const auto& g) { return where(g.in[0], g.ct, 0.0); },
          [](const auto& g) { return where(g.in[0], 0.0, g.ct); }),
  };
}();

}  // namespace ebb
