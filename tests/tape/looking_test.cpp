// Looking on: hooks and anomaly mode.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>

#include <cmath>
#include <limits>
#include <memory>
#include <optional>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::string here(int line) { return " (looking_test.cpp:" + std::to_string(line) + ")"; }

// --- hooks -----------------------------------------------------------------------------------------------------------

class Hooks : public testing::Test {
 protected:
  double slope() { return grad(sum(y), x).value().at(0); }

  Tape tape;
  Var x = tape.leaf(Tensor::full({2}, 1, DType::f64), "x");
  Var h = tape.name(x * 3.0, "h");
  Var y = h * h;
};

TEST_F(Hooks, ReplaceTheCotangentUntilTheHandleDies) {
  EXPECT_EQ(slope(), 18);
  {
    const auto hook = tape.on_cotangent(h, [](Var ct) { return ct * 0.5; });
    EXPECT_EQ(slope(), 9);
    const auto second = tape.on_cotangent(h, [](Var ct) { return ct + 1.0; });
    EXPECT_EQ(slope(), 12);  // in the order they were set
  }
  EXPECT_EQ(slope(), 18);
}

TEST_F(Hooks, SeeTheWholeCotangentOnce) {
  int calls = 0;
  double seen = 0;
  const auto hook = tape.on_cotangent(h, [&](Var ct) {
    ++calls;
    seen = ct.value().at(0);
    return ct;
  });
  EXPECT_EQ(slope(), 18);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(seen, 6);  // both contributions
}

TEST_F(Hooks, OnAnInputAndOnTheResult) {
  const auto on_x = tape.on_cotangent(x, [](Var ct) { return ct * 10.0; });
  EXPECT_EQ(slope(), 180);
  const Var loss = sum(y);
  const auto on_loss = tape.on_cotangent(loss, [](Var ct) { return ct * 2.0; });
  EXPECT_EQ(grad(loss, x).value().at(0), 360);
}

TEST_F(Hooks, AreRecordedAndDifferentiated) {
  const Var cube = h * h * h;
  const auto hook = tape.on_cotangent(h, [](Var ct) { return ct * ct; });
  const Var dx = grad(sum(cube), x);  // 3 (3 h^2)^2 = 27 h^4
  EXPECT_EQ(dx.value().at(0), 27 * 81);
  verify(tape);
}

TEST_F(Hooks, AThrowingHookLeavesTheTapeUsable) {
  const std::size_t size = tape.size();
  {
    const auto hook = tape.on_cotangent(h, [&](Var ct) -> Var {
      exp(ct);
      throw std::runtime_error("hook");
    });
    const Var loss = sum(y);
    EXPECT_THROW(grad(loss, x), std::runtime_error);
    EXPECT_EQ(tape.size(), size + 1);
  }
  EXPECT_EQ(slope(), 18);
  verify(tape);
  EXPECT_EQ(tape.node(exp(x).id()).origin, kNoNode);
}

TEST_F(Hooks, MayRemoveThemselves) {
  Tape::Hook once;
  int calls = 0;
  once = tape.on_cotangent(h, [&](Var ct) {
    once.remove();
    return ct * 0.0;
  });
  const auto always = tape.on_cotangent(h, [&](Var ct) {
    ++calls;
    return ct;
  });
  EXPECT_EQ(slope(), 0);
  EXPECT_EQ(calls, 1);  // the next one is not skipped
  EXPECT_EQ(slope(), 18);
  EXPECT_EQ(calls, 2);
}

TEST_F(Hooks, MayOutliveTheTape) {
  std::optional<Tape::Hook> hook;
  {
    Tape other;
    const Var v = other.leaf(Tensor::zeros({1}));
    hook = other.on_cotangent(v, [](Var ct) { return ct; });
  }
  Tape successor;
  const Var v = successor.leaf(Tensor::full({}, 1, DType::f64));
  const auto kept = successor.on_cotangent(v, [](Var ct) { return ct * 2.0; });
  hook.reset();
  EXPECT_EQ(grad(v * v, v).item(), 4);
}

TEST_F(Hooks, EndWithTheirNode) {
  const Tape::Mark mark = tape.mark();
  const Var z = exp(h);
  const auto hook = tape.on_cotangent(z, [](Var ct) { return ct * 0.0; });
  tape.rewind(mark);
  const Var again = exp(h);
  EXPECT_NE(grad(sum(again), x).value().at(0), 0);
}

TEST_F(Hooks, MustKeepTheType) {
  const auto hook = tape.on_cotangent(h, [](Var ct) { return sum(ct); });
  const auto text = thrown<ShapeError>([&] { slope(); });
  EXPECT_TRUE(text.starts_with("hook: the cotangent of h is f64[2], the hook returned f64[]. (looking_test.cpp:"))
      << text;
}

TEST_F(Hooks, MustReturnAVarOfTheTape) {
  Tape other;
  Var stray;
  for (int i = 0; i < 100; ++i) stray = other.leaf(Tensor::full({2}, 1, DType::f64));
  const auto hook = tape.on_cotangent(h, [&](Var) { return stray; });
  EXPECT_EQ(
      thrown<UsageError>([&] { slope(); }),
      "var: %99 belongs to another tape. Vars of two tapes do not mix: record it here with tape.leaf(var.value()).");
  const auto nothing = tape.on_cotangent(x, [&](Var) { return Var(); });
  stray = Var();
  EXPECT_EQ(thrown<UsageError>([&] { slope(); }),
            "var: this Var is empty. Only Vars that a tape has recorded can be used.");
}

TEST_F(Hooks, MayTakeGradientsThemselves) {
  const auto hook = tape.on_cotangent(h, [&](Var ct) { return ct + 0.0 * grad(sum(exp(x)), x); });
  EXPECT_EQ(slope(), 18);
  verify(tape);
}

// --- anomaly mode ----------------------------------------------------------------------------------------------------

TEST(Anomaly, Forward) {
  Tape tape;
  tape.set_anomaly(true);
  const Var x = tape.leaf(Tensor::of<float>({2, 2}, {1, 2, -3, 4}), "x");
  const std::size_t size = tape.size();
  const auto text = thrown<UsageError>([&] { exp(log(x) * 2.0); });
  EXPECT_EQ(text, "log: the value of %1 is nan at [1, 0]; got f32[2, 2] x." + here(__LINE__ - 1));
  EXPECT_EQ(tape.size(), size);
  EXPECT_EQ(exp(x).numel(), 4);
  verify(tape);
  tape.set_anomaly(false);
  EXPECT_TRUE(std::isnan(log(x).value().at(2)));
}

TEST(Anomaly, Leaves) {
  Tape tape;
  tape.set_anomaly(true);
  const int line = __LINE__ + 2;
  const auto leaf = [&] {
    tape.leaf(Tensor::full({1, 3}, std::numeric_limits<double>::infinity(), DType::f64), "bad");
  };
  EXPECT_EQ(thrown<UsageError>(leaf), "leaf: the value of bad is inf at [0, 0]." + here(line));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(tape.names().size(), 0u);
  EXPECT_EQ(tape.leaf(Tensor::of<bool>({1}, {true})).numel(), 1);
}

TEST(Anomaly, Backward) {
  Tape tape;
  tape.set_anomaly(true);
  const Var x = tape.leaf(Tensor::of({2}, {4.0, 0.0}), "x");
  const Var root = tape.name(sqrt(x), "root");
  const int line = __LINE__ - 1;
  const Var y = sum(root);
  const std::size_t size = tape.size();
  const auto text = thrown<UsageError>([&] { grad(y, x); });
  EXPECT_EQ(text,
            "div: the value of %6 is inf at [1]; got f64[] %5, f64[2] root. It belongs to the derivative of sqrt "
            "root." +
                here(line));
  EXPECT_EQ(tape.size(), size);
  verify(tape);
  const Var fine = tape.leaf(Tensor::of({2}, {4.0, 9.0}));
  EXPECT_EQ(grad(sum(sqrt(fine)), fine).value().at(0), 0.25);
}

TEST(Anomaly, InsideAStepNothingIsCommitted) {
  Tape tape;
  tape.set_anomaly(true);
  const State s("s", Tensor::full({}, 1));
  EXPECT_THROW(tape.step([&] {
    tape.update(s, tape.read(s) + 1.0);
    log(tape.read(s) * -1.0);
  }),
               UsageError);
  EXPECT_EQ(s.value().item(), 1);
  EXPECT_EQ(tape.size(), 0u);
}

}  // namespace
}  // namespace ebb
