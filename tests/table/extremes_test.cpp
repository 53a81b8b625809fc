// Derivatives where f32 is near its ends: an overflow on the way, or infinity times 0, would make them no numbers.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>

namespace ebb::test {
namespace {

constexpr float kFar[] = {0.0F, 1e-30F, 30.0F, 88.0F, 104.0F, 1e4F, 1e15F, 1e30F};

TEST(Extremes, DerivativesOfFiniteValuesAreNumbers) {
  for (const Row* row : all_rows()) {
    if (!row->oracle || row->signature != Signature::same || row->arity != 1) continue;
    if (!row->vjp[0].differentiable()) continue;
    for (const float magnitude : kFar) {
      for (const float at : {magnitude, -magnitude}) {
        Tape tape;
        const Var x = tape.leaf(Tensor::full({}, at));
        const Var y = tape.record(*row, {x});
        if (!std::isfinite(y.item())) continue;
        const Var d = grad(y, x);
        EXPECT_FALSE(std::isnan(d.item())) << row->name << "'(" << at << ")";
        if (!std::isfinite(d.item())) continue;  // as of sqrt at 0
        EXPECT_FALSE(std::isnan(grad(d, x).item())) << row->name << "''(" << at << ")";
      }
    }
  }
}

TEST(Extremes, ActivationsWithParameters) {
  const auto functions = std::vector<std::pair<const char*, std::function<Var(const Var&)>>>{
      {"softplus", [](const Var& x) { return softplus(x, {.beta = 0.5}); }},
      {"gelu tanh", [](const Var& x) { return gelu(x, Gelu::tanh); }},
      {"elu", [](const Var& x) { return elu(x, 2.0); }},
      {"leaky_relu", [](const Var& x) { return leaky_relu(x); }},
      {"clamp", [](const Var& x) { return clamp(x, {.min = -1, .max = 50}); }},
  };
  for (const auto& [name, f] : functions) {
    for (const float magnitude : kFar) {
      for (const float at : {magnitude, -magnitude}) {
        Tape tape;
        const Var x = tape.leaf(Tensor::full({}, at));
        const Var y = f(x);
        EXPECT_TRUE(std::isfinite(y.item())) << name << "(" << at << ")";
        const Var d = grad(y, x);
        EXPECT_TRUE(std::isfinite(d.item())) << name << "'(" << at << ")";
        EXPECT_TRUE(std::isfinite(grad(d, x).item())) << name << "''(" << at << ")";
      }
    }
  }
}

TEST(Extremes, PowersAtZero) {
  const auto slopes = [](double base, double exponent) {
    Tape tape;
    const Var a = tape.leaf(Tensor::full({}, base, DType::f64));
    const Var b = tape.leaf(Tensor::full({}, exponent, DType::f64));
    const Var y = pow(a, b);
    const Vars d = grad(y, {a, b});
    return std::array{y.item(), d[0].item(), d[1].item()};
  };
  EXPECT_EQ(slopes(0, 0), (std::array{1.0, 0.0, 0.0}));
  EXPECT_EQ(slopes(0, 1), (std::array{0.0, 1.0, 0.0}));
  EXPECT_EQ(slopes(0, 2), (std::array{0.0, 0.0, 0.0}));
  EXPECT_EQ(slopes(3, 0)[1], 0);
  EXPECT_DOUBLE_EQ(slopes(3, 0)[2], std::log(3.0));
  EXPECT_EQ(slopes(-2, 3)[1], 12);
}

TEST(Extremes, MixedSecondDerivativeOfAPowerAtExponentZero) {
  Tape tape;
  const Var a = tape.leaf(Tensor::full({}, 4, DType::f64));
  const Var b = tape.leaf(Tensor::full({}, 0, DType::f64));
  EXPECT_EQ(grad(grad(pow(a, b), a), b).item(), 0.25);
}

}  // namespace
}  // namespace ebb::test
