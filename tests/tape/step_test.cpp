// Steps, no_record and States: what is committed, what is taken back, and what a failure leaves.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>

#include <memory>
#include <optional>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::string here(int line) { return " (step_test.cpp:" + std::to_string(line) + ")"; }

// --- step ------------------------------------------------------------------------------------------------------------

TEST(Step, ReturnsWhatFReturns) {
  Tape tape;
  EXPECT_EQ(tape.step([&] { return tape.leaf(Tensor::full({}, 3)).item(); }), 3);
  const Tensor kept = tape.step([&] { return tape.leaf(Tensor::full({2}, 4)).value(); });
  EXPECT_EQ(kept.at(1), 4);
  tape.step([] {});
  EXPECT_EQ(tape.size(), 0u);
}

TEST(Step, CommitsAllOrNothing) {
  Tape tape;
  const State a("a", Tensor::full({}, 1));
  const State b("b", Tensor::full({2}, 1));
  tape.step([&] {
    tape.update(a, tape.read(a) + 1.0);
    EXPECT_EQ(tape.read(a).item(), 2);
    EXPECT_EQ(a.value().item(), 1);
    tape.update(a, tape.read(a) + 1.0);
    tape.update(b, tape.read(b) * 5.0);
  });
  EXPECT_EQ(a.value().item(), 3);
  EXPECT_EQ(b.value().at(1), 5);
  EXPECT_EQ(a.version(), 1u);
  EXPECT_THROW(tape.step([&] {
    tape.update(a, tape.read(a) + 1.0);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(a.value().item(), 3);
  EXPECT_EQ(a.version(), 1u);
  tape.step([] {});
  EXPECT_EQ(a.value().item(), 3);
  EXPECT_TRUE(tape.keeps());
}

TEST(Step, AThrowingStepDropsUpdatesWithOlderNodes) {
  Tape tape;
  const State s("s", Tensor::full({}, 1));
  const Var old = tape.leaf(Tensor::full({}, 9));
  EXPECT_THROW(tape.step([&] {
    tape.update(s, old);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  tape.commit();
  EXPECT_EQ(s.value().item(), 1);
}

TEST(Step, UpdatesNotedBeforeAMarkComeBack) {
  Tape tape;
  const State s("s", Tensor::full({}, 1));
  const Var x = tape.read(s);
  tape.update(s, x + 1.0);
  const Tape::Mark mark = tape.mark();
  tape.update(s, tape.read(s) * 100.0);
  tape.rewind(mark);
  EXPECT_EQ(tape.read(s).item(), 2);
  tape.commit();
  EXPECT_EQ(s.value().item(), 2);
  EXPECT_EQ(tape.leaf_of(s), x);
}

TEST(Step, LeavesOfOlderVersionsComeBack) {
  Tape tape;
  const State s("s", Tensor::full({}, 3));
  const Var x = tape.read(s);
  const Var loss = x * x;
  const Tape::Mark mark = tape.mark();
  s.set(Tensor::full({}, 5));
  EXPECT_EQ(tape.read(s).item(), 5);
  tape.rewind(mark);
  EXPECT_EQ(grad(loss, s).item(), 6);
}

TEST(Step, DoesNotNest) {
  Tape tape;
  const State s("s", Tensor::full({}, 1));
  const std::string text =
      "step: a step is running on this tape already. One step commits all or nothing, so they do not nest.";
  tape.step([&] {
    tape.update(s, tape.read(s) + 1.0);
    EXPECT_EQ(thrown<UsageError>([&] { tape.step([] {}); }), text);
    EXPECT_EQ(s.value().item(), 1);
  });
  EXPECT_EQ(s.value().item(), 2);
  tape.step([] {});
}

TEST(Step, FMayRewindFurtherThanItsBegin) {
  Tape tape;
  const Tape::Mark start = tape.mark();
  tape.leaf(Tensor::zeros({1}));
  tape.step([&] { tape.rewind(start); });
  EXPECT_EQ(tape.size(), 0u);
  tape.leaf(Tensor::zeros({1}));
  EXPECT_THROW(tape.step([&] {
    tape.rewind(start);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  tape.step([] {});
}

TEST(Step, ReleasesInsideOnly) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 1), "x");
  tape.step([&] {
    EXPECT_FALSE(tape.keeps());
    tape.name(exp(x), "y");
    grad(sum(square(tape.find("y"))), x);
    EXPECT_THROW(tape.find("dy").value(), UsageError);
  });
  tape.name(exp(x), "y");
  grad(sum(square(tape.find("y"))), x);
  EXPECT_EQ(tape.find("dy").value().numel(), 2);
}

TEST(Step, AHookMayNoteAnUpdate) {
  Tape tape;
  const State norm("norm", Tensor::zeros({}));
  tape.step([&] {
    const Var x = tape.leaf(Tensor::full({4}, 1));
    const Var y = x * 3.0;
    const auto hook = tape.on_cotangent(y, [&](Var ct) {
      tape.update(norm, sum(square(ct)));
      return ct;
    });
    return grad(sum(y * y), x).value().at(0);
  });
  EXPECT_EQ(norm.value().item(), 4 * 36);
}

// --- no_record -------------------------------------------------------------------------------------------------------

TEST(NoRecord, ReturnsALeaf) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 3), "x");
  const Var y = tape.no_record([&] { return exp(x) * 2.0; });
  const int line = __LINE__ - 1;
  EXPECT_EQ(tape.size(), 2u);
  EXPECT_EQ(tape.node(y.id()).row, &kLeaf);
  EXPECT_EQ(to_string(tape.node(y.id()).where), "step_test.cpp:" + std::to_string(line));
  EXPECT_EQ(grad(sum(x * y), y).value().at(0), 3);
  const Vars both = tape.no_record([&] { return Vars{x + x, x}; });
  EXPECT_EQ(both[0].value().at(0), 6);
  EXPECT_EQ(both[1].value().at(0), 3);
}

TEST(NoRecord, KeepsUpdates) {
  Tape tape;
  const State a("a", Tensor::full({}, 1));
  const State b("b", Tensor::full({}, 1));
  const State c("c", Tensor::full({}, 1));
  const Var seven = tape.leaf(Tensor::full({}, 7));
  tape.update(b, seven);
  tape.no_record([&] {
    tape.update(a, tape.read(a) + 1.0);
    tape.update(a, tape.read(a) + 1.0);
    tape.update(c, seven);
    return tape.read(b);
  });
  const int line = __LINE__ - 5;
  EXPECT_EQ(tape.read(a).item(), 3);
  EXPECT_EQ(to_string(tape.node(tape.read(a).id()).where), "step_test.cpp:" + std::to_string(line - 1));
  EXPECT_EQ(tape.read(b), seven);
  EXPECT_EQ(tape.read(c), seven);
  tape.commit();
  EXPECT_EQ(a.value().item(), 3);
  EXPECT_EQ(b.value().item(), 7);
  EXPECT_EQ(c.value().item(), 7);
}

TEST(NoRecord, AThrowOnlyRewinds) {
  Tape tape;
  const State s("s", Tensor::full({}, 1));
  tape.update(s, tape.leaf(Tensor::full({}, 2)));
  const std::size_t size = tape.size();
  EXPECT_THROW(tape.no_record([&]() -> Var {
    tape.update(s, tape.read(s) * 10.0);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(tape.size(), size);
  EXPECT_EQ(tape.read(s).item(), 2);
}

// --- states ----------------------------------------------------------------------------------------------------------

TEST(State, ReadOncePerVersion) {
  Tape tape;
  const State s("s", Tensor::full({2}, 1));
  const Var first = tape.read(s);
  EXPECT_EQ(tape.read(s), first);
  EXPECT_EQ(tape.read(State(s)), first);
  EXPECT_TRUE(first.value().shares_buffer_with(s.value()));
  s.set(Tensor::full({2}, 2));
  const Var second = tape.read(s);
  EXPECT_NE(second, first);
  EXPECT_EQ(first.value().at(0), 1);  // a tape keeps what it was recorded with
  EXPECT_EQ(second.value().at(0), 2);
}

TEST(State, EmptyIsAnError) {
  const State empty;
  Tape tape;
  const std::string text = "state: this State is empty. Make one with State(name, tensor).";
  EXPECT_EQ(thrown<UsageError>([&] { empty.value(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.name(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.version(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.shape(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.dtype(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.clone(); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { empty.set(Tensor::zeros({1})); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { State(empty).rename("a"); }), text);
  EXPECT_EQ(thrown<UsageError>([&] { tape.read(empty); }), "read: this State is empty." + here(__LINE__));
  const Var x = tape.leaf(Tensor::zeros({1}));
  EXPECT_EQ(thrown<UsageError>([&] { tape.update(empty, x); }), "update: this State is empty." + here(__LINE__));
}

TEST(State, SetAndUpdateCheckTheType) {
  const State s("fc.weight", Tensor::zeros({2, 3}));
  EXPECT_EQ(thrown<ShapeError>([&] {
              s.set(Tensor::zeros({3, 2}));
            }),
            "state fc.weight: expected f32[2, 3], got f32[3, 2].");
  EXPECT_EQ(thrown<DTypeError>([&] {
              s.set(Tensor::zeros({2, 3}, DType::f64));
            }),
            "state fc.weight: expected f32[2, 3], got f64[2, 3]. Convert it first with to(f32).");
  EXPECT_EQ(thrown<UsageError>([&] {
              s.set(Tensor::abstract({2, 3}, DType::f32));
            }),
            "state fc.weight: the tensor f32[2, 3] has no values.");
  EXPECT_EQ(thrown<UsageError>([&] { State("e", Tensor()); }), "state e: the tensor f32[0] has no values.");
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({6}));
  const int line = __LINE__ + 1;
  const auto update = [&] { tape.update(s, x); };
  EXPECT_EQ(thrown<ShapeError>(update), "update: state fc.weight is f32[2, 3], got f32[6]." + here(line));
  EXPECT_EQ(s.version(), 0u);
}

TEST(State, CloneIsDeep) {
  State s("s", Tensor::full({2}, 1));
  const State copy = s.clone();
  s.set(Tensor::full({2}, 2));
  s.rename("t");
  EXPECT_EQ(copy.value().at(0), 1);
  EXPECT_EQ(copy.name(), "s");
  EXPECT_FALSE(copy == s);
}

}  // namespace
}  // namespace ebb
