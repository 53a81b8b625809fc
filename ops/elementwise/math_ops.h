// The elementwise ops that are functions of analysis, and activations made of them: one entry each, as in
// elementwise_ops.h.
#pragma once

#include <ebb/engine/lanes/op.h>

namespace ebb {

inline constexpr auto kMathOps = [] {
  using namespace lane;
  return std::tuple{
      unary(
          "exp", {.ulp = 2}, [](auto x) { return lane::exp(x); }, [](const auto& g) { return g.ct * g.out; }),
      // Not out + 1, which is off by an ulp of 1 where the slope tends to 0.
      unary(
          "expm1", {.ulp = 2}, [](auto x) { return lane::expm1(x); },
          [](const auto& g) { return g.ct * exp(g.in[0]); }),
      unary(
          "log", {.lo = 0.2, .hi = 3, .ulp = 2}, [](auto x) { return lane::log(x); },
          [](const auto& g) { return g.ct / g.in[0]; }),
      unary(
          "log1p", {.lo = -0.8, .hi = 3, .ulp = 2}, [](auto x) { return lane::log1p(x); },
          [](const auto& g) { return g.ct / (1.0 + g.in[0]); }),
      unary(
          "sin", {.ulp = 2}, [](auto x) { return lane::sin(x); }, [](const auto& g) { return g.ct * cos(g.in[0]); }),
      unary(
          "cos", {.ulp = 2}, [](auto x) { return lane::cos(x); }, [](const auto& g) { return -(g.ct * sin(g.in[0])); }),
      unary(
          "tan", {.lo = -1.2, .hi = 1.2, .ulp = 4}, [](auto x) { return lane::tan(x); },
          [](const auto& g) { return g.ct * (1.0 + square(g.out)); }),
      unary(
          "atan", {.ulp = 2}, [](auto x) { return lane::atan(x); },
          [](const auto& g) { return g.ct / (1.0 + square(g.in[0])); }),
      unary(
          "sinh", {.ulp = 4}, [](auto x) { return lane::sinh(x); }, [](const auto& g) { return g.ct * cosh(g.in[0]); }),
      unary(
          "cosh", {.ulp = 4}, [](auto x) { return lane::cosh(x); }, [](const auto& g) { return g.ct * sinh(g.in[0]); }),
      unary(
          "tanh", {.ulp = 4}, [](auto x) { return lane::tanh(x); },
          [](const auto& g) { return g.ct * (1.0 - square(g.out)); }),
      unary(
          "erf", {.ulp = 4}, [](auto x) { return lane::erf(x); },
          [](const auto& g) { return 1.1283791670955126 * g.ct * exp(-square(g.in[0])); }),
      unary(
          "sigmoid", {.ulp = 4}, [](auto x) { return lane::sigmoid(x); },
          [](const auto& g) { return g.ct * (g.out * (1.0 - g.out)); }),
      unary(
          "silu", {.ulp = 4}, [](auto x) { return lane::silu(x); },
          [](const auto& g) {
            const auto s = sigmoid(g.in[0]);
            return g.ct * (s + g.out * (1.0 - s));
          }),
      unary(
          "softplus", {.ulp = 4}, [](auto x) { return lane::softplus(x); },
          [](const auto& g) { return g.ct * sigmoid(g.in[0]); }),
      unary(
          "logsigmoid", {.ulp = 4}, [](auto x) { return lane::logsigmoid(x); },
          [](const auto& g) { return g.ct * sigmoid(-g.in[0]); }),
      unary(
          "normal_cdf", {.ulp = 8}, [](auto x) { return lane::normal_cdf(x); },
          [](const auto& g) { return g.ct * normal_pdf(g.in[0]); }),
      unary(
          "normal_pdf", {.ulp = 8}, [](auto x) { return lane::normal_pdf(x); },
          [](const auto& g) { return -(g.ct * (g.in[0] * g.out)); }),
      unary(
          "gelu", {.ulp = 8}, [](auto x) { return lane::gelu(x); },
          [](const auto& g) { return g.ct * (normal_cdf(g.in[0]) + g.in[0] * normal_pdf(g.in[0])); }),
      // The exponential only where it is used: for large x it is infinite, and its gradient no number.
      binary(
          "elu", {.margin = 0.1, .ulp = 3, .linear = 2},
          [](auto x, auto alpha) { return select(x > lit(x, 0), x, alpha * lane::expm1(x)); },
          [](const auto& g) { return where(g.in[0] > 0.0, g.ct, g.ct * g.in[1] * exp(clamp_max(g.in[0], 0.0))); },
          [](const auto& g) { return where(g.in[0] > 0.0, 0.0, g.ct * expm1(clamp_max(g.in[0], 0.0))); }),
      // 0^0 is 1, with gradient 0 on both sides. What is divided by, or taken the logarithm of, is kept off 0 there.
      binary(
          "pow", {.lo = 0.2, .hi = 3, .ulp = 4}, [](auto x, auto y) { return lane::pow(x, y); },
          [](const auto& g) {
            const auto unit = where(logical_and(equal(g.in[0], 0.0), equal(g.in[1], 0.0)), 1.0, g.in[0]);
            return g.ct * g.in[1] * pow(unit, g.in[1] - 1.0);
          },
          [](const auto& g) {
            const auto zero = logical_and(equal(g.in[0], 0.0), g.in[1] >= 0.0);
            return g.ct * g.out * log(where(zero, 1.0, g.in[0]));
          }),
  };
}();

}  // namespace ebb
