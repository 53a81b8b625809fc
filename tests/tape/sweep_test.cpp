// The sweep: what it computes, what it refuses, and that its cost is linear.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>

#include <cmath>
#include <thread>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::string here(int line) { return " (sweep_test.cpp:" + std::to_string(line) + ")"; }

Tensor f64(std::initializer_list<double> values) {
  return Tensor::of({static_cast<std::int64_t>(values.size())}, values);
}

// --- what it computes ------------------------------------------------------------------------------------------------

TEST(Grad, Hello) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  EXPECT_EQ(to_string(grad(sum(x * x), x).value()), "[2, 4, 6]");
}

TEST(Grad, TwiceIsHarmless) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  const Var y = sum(exp(x));
  EXPECT_TRUE(identical(grad(y, x).value(), grad(y, x).value()));
}

TEST(Grad, FortyDoublings) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 1, DType::f64));
  Var v = x;
  for (int i = 0; i < 40; ++i) v = v + v;
  const std::size_t forward = tape.size();
  EXPECT_EQ(forward, 41u);
  EXPECT_EQ(grad(v, x).item(), std::ldexp(1.0, 40));
  EXPECT_LE(tape.size(), forward + 41);  // a constant, and one sum per doubling
}

TEST(Grad, DiamondAndFanOut) {
  Tape tape;
  const Var x = tape.leaf(f64({0.5, 2}));
  const Var a = exp(x);
  const Var y = sum(a * log(a) + a * a);  // x e^x + e^2x
  const Var dx = grad(y, x);
  for (int i = 0; i < 2; ++i) {
    const double t = x.value().at(i);
    EXPECT_NEAR(dx.value().at(i), (1 + t) * std::exp(t) + 2 * std::exp(2 * t), 1e-12 * std::exp(2 * t));
  }
  Var total = x * 1.0;
  for (int i = 1; i < 1000; ++i) total = total + x * static_cast<double>(i % 7);
  double expected = 1;
  for (int i = 1; i < 1000; ++i) expected += i % 7;
  EXPECT_EQ(grad(sum(total), x).value().at(0), expected);
}

TEST(Grad, OfGradUpToTheFifthOrder) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 3, DType::f64), "x");
  Var y = x * x * x * x;
  const double expected[] = {4 * 27, 12 * 9, 24 * 3, 24, 0};
  for (const double value : expected) {
    y = grad(y, x);
    EXPECT_NEAR(y.item(), value, 1e-12);
  }
  verify(tape);
}

TEST(Grad, HessianTimesVector) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  const Var v = tape.leaf(f64({1, 0, -1}));
  const Var y = sum(x * x * x);
  EXPECT_EQ(to_string(pullback(grad(y, x), v, x).value()), "[6, 0, -18]");
}

TEST(Grad, BroadcastInputsAreSummedBack) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({4, 5}, 2, DType::f64));
  const Var g = tape.leaf(Tensor::full({5}, 3, DType::f64));
  const Var b = tape.leaf(Tensor::full({1, 5}, 1, DType::f64));
  const Var s = tape.leaf(Tensor::full({}, 1, DType::f64));
  const Vars d = grad(sum(x * g + b + s), {x, g, b, s});
  EXPECT_EQ(d[0].shape(), Shape({4, 5}));
  EXPECT_EQ(d[1].shape(), Shape({5}));
  EXPECT_EQ(d[2].shape(), Shape({1, 5}));
  EXPECT_EQ(d[3].shape(), Shape({}));
  EXPECT_EQ(d[1].value().at(0), 8);
  EXPECT_EQ(d[2].value().at(0), 4);
  EXPECT_EQ(d[3].item(), 20);
}

TEST(Grad, WithRespectToAnyNode) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}));
  const Var h = x * 3.0;
  const Var y = sum(h * h);
  EXPECT_EQ(grad(y, h).value().at(1), 12);
  EXPECT_EQ(grad(y, y).item(), 1);
  const Vars both = grad(y, {x, h, x});
  EXPECT_EQ(both[0], both[2]);
  EXPECT_TRUE(grad(y, std::span<const Var>{}).empty());
  EXPECT_EQ(grad(sum(x), sum(h)).item(), 0);  // a later node
}

TEST(Grad, OfAnElementInABox) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({1, 1, 1}, 3, DType::f64));
  EXPECT_EQ(grad(x * x, x).shape(), Shape({1, 1, 1}));
}

TEST(Grad, OfNothing) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({0, 3}));
  EXPECT_EQ(grad(sum(x * 2.0), x).shape(), Shape({0, 3}));
  EXPECT_EQ(grad(sum(sum(x, 0)), x).shape(), Shape({0, 3}));
}

TEST(Grad, Detach) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}));
  EXPECT_EQ(grad(sum(x * detach(x)), x).value().at(1), 2);
  EXPECT_EQ(grad(sum(detach(x)), x).value().at(1), 0);  // asked for, so no error
}

TEST(Pullback, TakesLiteralsAndBroadcastCotangents) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  const Var y = x * x;
  EXPECT_EQ(to_string(pullback(y, 1.0, x).value()), "[2, 4, 6]");
  EXPECT_EQ(to_string(pullback(y, tape.leaf(Tensor::full({1}, 2, DType::f64)), x).value()), "[4, 8, 12]");
}

// --- unused inputs ---------------------------------------------------------------------------------------------------

TEST(Unused, ZerosNoneError) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}), "x");
  const Var z = tape.leaf(f64({1, 2, 3}), "z");
  const Var y = sum(x);
  EXPECT_EQ(to_string(grad(y, z).value()), "[0, 0, 0]");
  EXPECT_FALSE(grad(y, z, {.keep = {}, .unused = Unused::none}).alive());
  const std::size_t size = tape.size();
  const int line = __LINE__ + 1;
  const auto ask = [&] { grad(y, {x, z}, {.keep = {}, .unused = Unused::error}); };
  EXPECT_EQ(thrown<UsageError>(ask),
            "grad: sum %2 does not depend on z f64[3]. Leave it out, or ask for zeros with {.unused = Unused::zeros}." +
                here(line));
  EXPECT_EQ(tape.size(), size);
}

TEST(Unused, AStateThatWasNeverRead) {
  Tape tape;
  const State s("s", Tensor::full({2}, 1, DType::f64));
  const Var x = tape.leaf(f64({1, 2}));
  EXPECT_EQ(grad(sum(x), s).shape(), Shape({2}));
}

// --- what it refuses -------------------------------------------------------------------------------------------------

TEST(Grad, NotAScalar) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3}), "x");
  const auto ask = [&] { return thrown<UsageError>([&] { grad(x * x, x); }); };
  const int line = __LINE__ - 1;
  EXPECT_EQ(ask(),
            "grad: y must be a scalar to be differentiated, got f32[3] (%1 mul). Reduce it first, or use pullback(y, "
            "cotangent, wrt)." +
                here(line));
}

TEST(Grad, NotFloating) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}), "x");
  const Var i = tape.leaf(Tensor::of<std::int64_t>({}, {3}), "i");
  const auto of_y = [&] { return thrown<DTypeError>([&] { grad(i, x); }); };
  EXPECT_EQ(of_y(), "grad: y must be floating, got i64[] (%1 \"i\")." + here(__LINE__ - 1));
  const auto by_x = [&] { return thrown<DTypeError>([&] { grad(sum(x), i); }); };
  EXPECT_EQ(by_x(), "grad: only floating tensors have gradients, got i64[] (%1 \"i\")." + here(__LINE__ - 1));
}

TEST(Pullback, BadCotangents) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3}), "x");
  const Var y = exp(x);
  const Var wide = tape.leaf(Tensor::zeros({2, 3}));
  const Var other = tape.leaf(f64({1, 2, 3}));
  const std::size_t size = tape.size();
  const int line = __LINE__ + 1;
  const auto ask = [&](const Var& ct) { pullback(y, ct, x); };
  EXPECT_EQ(thrown<ShapeError>([&] { ask(wide); }),
            "pullback: the cotangent of f32[3] (%1 exp) cannot be f32[2, 3] (%2 leaf)." + here(line));
  EXPECT_EQ(thrown<DTypeError>([&] { ask(other); }),
            "pullback: the cotangent of f32[3] (%1 exp) cannot be f64[3] (%3 leaf)." + here(line));
  EXPECT_EQ(tape.size(), size);
}

TEST(Grad, OnlyThroughAComparison) {
  Tape tape;
  const Var x = tape.leaf(f64({1, -2}), "x");
  const Var y = sum(where(x > 0.0, 1.0 + detach(x), detach(x)));
  const int line = __LINE__ + 1;
  const auto ask = [&] { grad(y, x); };
  EXPECT_EQ(
      thrown<UsageError>(ask),
      "grad: sum %8 depends on x only through an op without a derivative: a comparison is constant but for jumps." +
          here(line));
  // With another way it is no error.
  EXPECT_EQ(to_string(grad(sum(where(x > 0.0, x, 2.0 * x)), x).value()), "[1, 2]");
}

TEST(Grad, ThroughIntegersIsAnErrorAndNeverACutCotangent) {
  Tape tape;
  const Var x = tape.leaf(f64({1.5, 2.5}), "x");
  const Var y = sum(cast(cast(x, DType::i64), DType::f64) * 0.5);
  const int line = __LINE__ + 1;
  const auto ask = [&] { grad(y, x); };
  const std::string text = thrown<UsageError>(ask);
  EXPECT_TRUE(text.starts_with("grad: sum %5 depends on x only through an op without a derivative: ")) << text;
  EXPECT_TRUE(text.ends_with("." + here(line))) << text;
  EXPECT_EQ(grad(y + sum(x), x).value().at(0), 1);
}

TEST(Grad, AFailingRuleLeavesTheTapeAsItWas) {
  static const Row row{.name = "broken",
                       .arity = 1,
                       .type =
                           [](const Call& call) {
                             return TensorType{call.shape(0), call.dtype(0)};
                           },
                       .vjp = [](const Vjp& g) -> Var {
                         exp(g.ct);
                         throw UsageError("broken: as promised");
                       },
                       .kernel = [](KernelCall& call) { call.out = *call.in[0]; }};
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}));
  const Var y = sum(exp(tape.record(row, {exp(x)})));
  const std::size_t size = tape.size();
  EXPECT_EQ(thrown<UsageError>([&] { grad(y, x); }), "broken: as promised");
  EXPECT_EQ(tape.size(), size);
  EXPECT_TRUE(y.alive());
  verify(tape);
  EXPECT_EQ(grad(sum(exp(x)), x).numel(), 2);
}

// --- cost ------------------------------------------------------------------------------------------------------------

TEST(Cost, NodesOfASweepAreLinear) {
  const auto nodes = [](int n) {
    Tape tape;
    const Var x = tape.leaf(Tensor::full({2}, 1, DType::f64));
    Var y = x;
    for (int i = 0; i < n; ++i) y = y * x + y;
    const std::size_t forward = tape.size();
    grad(sum(y), x);
    return tape.size() - forward;
  };
  const std::size_t small = nodes(100);
  EXPECT_EQ(nodes(200) - small, nodes(300) - nodes(200));
  EXPECT_LE(nodes(300), 4 * small);
}

TEST(Cost, AMillionNodesOnAnOrdinaryStack) {
  // A thread with the default 8 MB at most, whatever the test's own limit is.
  const auto run = [] {
    Tape tape;
    const Var x = tape.leaf(Tensor::full({}, 1, DType::f64));
    Var y = x;
    for (int i = 0; i < 500000; ++i) y = y + y * 1e-7;
    EXPECT_EQ(tape.size(), 1000002u);
    const Var dx = grad(y, x, {.keep = false});
    EXPECT_NEAR(dx.item(), std::pow(1 + 1e-7, 500000), 1e-8);
    EXPECT_EQ(tape.find("none of these").alive(), false);
  };
  std::thread([&] { EXPECT_THROW(run(), UsageError); }).join();
}

TEST(Cost, ReasonsAreFoundOnALongChain) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 1, DType::f64));
  Var y = cast(x > 0.0, DType::f64);
  for (int i = 0; i < 100000; ++i) y = y + 1.0;
  EXPECT_THROW(grad(y, x), UsageError);
}

}  // namespace
}  // namespace ebb
