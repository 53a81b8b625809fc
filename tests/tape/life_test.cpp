// How long things live: marks and rewinds, stale handles, values that are gone. A user who mixes them up gets a text,
// never a crash, and nothing is lost that was there before. Steps and States are in step_test.cpp.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>

#include <cmath>
#include <memory>
#include <optional>
#include <thread>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::string here(int line) { return " (life_test.cpp:" + std::to_string(line) + ")"; }

// --- stale handles ---------------------------------------------------------------------------------------------------

TEST(Var, EmptyIsAnError) {
  const std::string text = "var: this Var is empty. Only Vars that a tape has recorded can be used.";
  const Var empty;
  EXPECT_FALSE(empty.alive());
  EXPECT_EQ(thrown<UsageError>([&] { empty.value(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.shape(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.name(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { exp(empty); }), text);
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  EXPECT_EQ(thrown<UsageError>([&] { x + empty; }), text);
  EXPECT_EQ(thrown<UsageError>([&] { grad(sum(x), empty); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { tape.name(empty, "a"); }), text);
}

TEST(Var, ADeadTape) {
  Var x;
  {
    Tape tape;
    x = tape.leaf(Tensor::zeros({2}));
    EXPECT_TRUE(x.alive());
  }
  const std::string text =
      "var: the tape of this Var (%0) no longer exists. Keep the tape alive as long as its Vars are used, or keep "
      "var.value().";
  EXPECT_FALSE(x.alive());
  EXPECT_EQ(thrown<UsageError>([&] { x.value(); }), text);
  // Also when another tape lives in the same slot, with a node of the same number.
  Tape next;
  const Var y = next.leaf(Tensor::zeros({2}));
  EXPECT_FALSE(x.alive());
  EXPECT_EQ(thrown<UsageError>([&] { x.value(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { x + y; }), text);
  EXPECT_EQ(thrown<UsageError>([&] { y + x; }), text);
}

TEST(Var, AnotherTape) {
  Tape a;
  Tape b;
  const Var x = a.leaf(Tensor::zeros({2}), "x");
  const Var y = b.leaf(Tensor::zeros({2}));
  const std::string text =
      "var: x belongs to another tape. Vars of two tapes do not mix: record it here with tape.leaf(var.value()).";
  EXPECT_EQ(thrown<UsageError>([&] { y + x; }), text);
  EXPECT_EQ(thrown<UsageError>([&] { grad(sum(y), x); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { pullback(y, x, y); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { b.name(x, "z"); }), text);
  EXPECT_EQ(b.size(), 2u);  // y and its sum
}

TEST(Var, Rewound) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 3));
  const Tape::Mark mark = tape.mark();
  const Var y = x * x;
  tape.rewind(mark);
  const std::string text =
      "var: %1 was taken back by a rewind (tape.step, no_record and rewind end the life of what was recorded inside). "
      "Keep var.value() instead.";
  EXPECT_TRUE(x.alive());
  EXPECT_FALSE(y.alive());
  EXPECT_EQ(thrown<UsageError>([&] { y.value(); }), text);
  const Var again = x + x;  // takes the same place
  EXPECT_TRUE(again.alive());
  EXPECT_EQ(thrown<UsageError>([&] { y + x; }), text);
  EXPECT_EQ(again.value().at(0), 6);
}

TEST(Tape, AnotherThread) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  const Tape::Mark mark = tape.mark();
  const std::string text =
      "tape: this tape belongs to another thread. Give each thread a tape of its own; Tensors and States may cross.";
  const State state("s", Tensor::zeros({2}));
  std::thread([&] {
    EXPECT_EQ(thrown<UsageError>([&] { x + x; }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.leaf(Tensor::zeros({1})); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.constant(1, DType::f32); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.rewind(mark); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.read(state); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.update(state, x); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.commit(); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.name(x, "x"); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.step([] {}); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { tape.no_record([&] { return x; }); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { static_cast<void>(tape.scope("s")); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { static_cast<void>(tape.on_cotangent(x, [](Var v) { return v; })); }), text);
    EXPECT_EQ(thrown<UsageError>([&] { pullback(x, 1.0, x); }), text);
  }).join();
  EXPECT_EQ(tape.size(), 1u);
  EXPECT_TRUE(tape.keeps());
}

// --- marks -----------------------------------------------------------------------------------------------------------

TEST(Rewind, AMarkThatWasTakenBack) {
  Tape tape;
  const Tape::Mark start = tape.mark();
  const Var x = tape.leaf(Tensor::zeros({2}));
  exp(x);
  const Tape::Mark later = tape.mark();
  exp(x);
  tape.rewind(start);
  const std::string text = "rewind: this mark was taken back by a rewind to an earlier one.";
  EXPECT_EQ(thrown<UsageError>([&] { tape.rewind(later); }), text);
  // Nor is it good again once the tape has grown past it: other nodes stand there, with other edges.
  const Var a = tape.leaf(Tensor::full({2}, 1));
  const Var b = a + a;
  const Var c = b + a;
  EXPECT_EQ(thrown<UsageError>([&] { tape.rewind(later); }), text);
  EXPECT_EQ((c + b).value().at(0), 5);
  verify(tape);
  tape.rewind(start);
  EXPECT_EQ(tape.size(), 0u);
}

TEST(Rewind, AMarkOfAnotherTape) {
  Tape a;
  Tape b;
  EXPECT_EQ(thrown<UsageError>([&] { b.rewind(a.mark()); }), "rewind: this mark is of another tape.");
  auto gone = std::make_unique<Tape>();
  const Tape::Mark mark = gone->mark();
  gone = nullptr;
  const Tape in_its_slot;
  EXPECT_THROW(const_cast<Tape&>(in_its_slot).rewind(mark), UsageError);
}

TEST(Rewind, TheSameMarkMayServeForever) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({4}, 2), "x");
  const Tape::Mark mark = tape.mark();
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(grad(sum(x * x), x).value().at(1), 4);
    tape.rewind(mark);
    EXPECT_EQ(tape.size(), 1u);
  }
  EXPECT_EQ(tape.find("x"), x);
}

TEST(Rewind, AnOpenScopeStaysOpen) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 1));
  const Tape::Mark mark = tape.mark();
  const auto scope = tape.scope("epoch");
  for (int i = 0; i < 3; ++i) {
    {
      const auto inner = tape.scope("batch");
      const Var y = tape.name(x + x, "y");
      EXPECT_EQ(tape.scope_path(tape.node(y.id()).scope), "epoch.batch");
    }
    tape.rewind(mark);
    const Var z = tape.name(x * x, "zzzzzzzzzzzz");
    EXPECT_EQ(tape.scope_path(tape.node(z.id()).scope), "epoch");
    verify(tape);
    tape.rewind(mark);
  }
}

TEST(Rewind, LiteralsAreInternedAndComeBack) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 1));
  const Tape::Mark mark = tape.mark();
  const Var y = x * 2.0 + 2.0;
  EXPECT_EQ(tape.size(), 4u);  // x, 2, the product, the sum
  EXPECT_EQ(y.value().at(0), 4);
  tape.rewind(mark);
  EXPECT_EQ((x * 2.0).value().at(0), 2);
  // 0 and -0 are two literals; so are 2 as f32 and as f64.
  const std::size_t size = tape.size();
  tape.constant(0.0, DType::f32);
  tape.constant(-0.0, DType::f32);
  tape.constant(0.0, DType::f64);
  tape.constant(0.0, DType::f32);
  EXPECT_EQ(tape.size(), size + 3);
}

// --- failures leave nothing ------------------------------------------------------------------------------------------

TEST(Record, AFailureLeavesTheTapeAsItWas) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  const Var b = x > 0.0;
  const std::size_t size = tape.size();
  EXPECT_THROW(b + 1.0, DTypeError);
  EXPECT_THROW(where(x, 3.0, x), DTypeError);
  EXPECT_THROW(x + tape.leaf(Tensor::zeros({3})), ShapeError);
  EXPECT_EQ(tape.size(), size + 1);  // the leaf of three
  verify(tape);
}

TEST(Leaf, WithoutValues) {
  Tape tape;
  const int line = __LINE__ + 1;
  const auto leaf = [&](const Tensor& x) { tape.leaf(x, "x"); };
  EXPECT_EQ(thrown<UsageError>([&] { leaf(Tensor()); }), "leaf: the tensor f32[0] has no values." + here(line));
  EXPECT_EQ(thrown<UsageError>([&] {
              leaf(Tensor::abstract({2, 3}, DType::i64));
            }),
            "leaf: the tensor i64[2, 3] has no values." + here(line));
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(tape.leaf(Tensor::zeros({0})).numel(), 0);
}

// --- values that are not there ---------------------------------------------------------------------------------------

TEST(Value, WhileTracing) {
  Tape tape(Tape::Mode::trace);
  const Var x = tape.leaf(Tensor::abstract({2}, DType::f32), "x");
  const Var y = exp(x);
  const int line = __LINE__ - 1;
  EXPECT_EQ(
      thrown<UsageError>([&] { y.item(); }),
      "value: cannot read the value of exp %1 while tracing. Return it from the traced function instead." + here(line));
  EXPECT_EQ(thrown<UsageError>([&] { x.value(); }),
            "value: cannot read the value of leaf x while tracing. Return it from the traced function instead." +
                here(line - 1));
  const State state("s", Tensor::zeros({2}));
  EXPECT_THROW(tape.read(state).value(), UsageError);
  EXPECT_EQ((y * 2.0).shape(), Shape({2}));
}

TEST(Value, Released) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 0.5F), "x");
  const Var y = tape.name(tanh(x), "y");
  const Var loss = sum(square(y));
  const int line = __LINE__ - 1;
  const Var dx = grad(loss, x, {.keep = false});
  EXPECT_NEAR(dx.value().at(0), 2 * std::tanh(0.5) * (1 - std::tanh(0.5) * std::tanh(0.5)), 1e-6);
  EXPECT_EQ(y.value().numel(), 2);  // the forward stays
  EXPECT_EQ(
      thrown<UsageError>([&] { tape.find("dy").value(); }),
      "value: the value of mul dy was released by a sweep with keep = false, which is what tape.step asks for. Ask "
      "for it with {.keep = true}." +
          here(line));
  // A derivative of the derivative needs it.
  EXPECT_THROW(grad(sum(dx), x), UsageError);
}

TEST(Value, ReleasingLowersThePeak) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({1 << 16}, 0.5F));
  const auto extra = [&](bool keep) {
    const Tape::Mark mark = tape.mark();
    Var y = x;
    for (int i = 0; i < 40; ++i) y = tanh(y);
    y.value();  // large ops wait until someone looks
    reset_peak_memory();
    const std::size_t before = memory_report().peak;
    const Var dx = grad(sum(y), x, {.keep = keep});
    EXPECT_EQ(dx.numel(), x.numel());
    const std::size_t peak = memory_report().peak - before;
    tape.rewind(mark);
    return peak;
  };
  const std::size_t bytes = std::size_t{4} << 16;
  EXPECT_GT(extra(true), 30 * bytes);
  EXPECT_LT(extra(false), 10 * bytes);
}

}  // namespace
}  // namespace ebb
