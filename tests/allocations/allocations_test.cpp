// A warm training step asks nobody for memory.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/allocations/counter.h"

namespace ebb {
namespace {

// Runs `step` ten thousand times and counts what the runs after the second ask for.
template <class F>
void expect_no_allocation(F&& step, int steps = 10000) {
  step();
  step();
  const std::size_t before = test::allocations().count;
  const std::size_t system = memory_report().system_allocations;
  const std::size_t live = memory_report().live;
  for (int i = 2; i < steps; ++i) step();
  EXPECT_EQ(test::allocations().count - before, 0u);
  EXPECT_EQ(memory_report().system_allocations - system, 0u);
  EXPECT_EQ(memory_report().live, live);
}

TEST(Allocations, TheCounterCounts) {
  const std::size_t before = test::allocations().count;
  ::operator delete(::operator new(3));  // a compiler may leave out `delete new int`
  EXPECT_EQ(test::allocations().count - before, 1u);
}

TEST(Allocations, MarkAndRewind) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({8}, 1));
  expect_no_allocation([&] {
    const Tape::Mark mark = tape.mark();
    const auto scope = tape.scope("net");
    Var y = tape.name(x, "again");
    for (int i = 0; i < 20; ++i) y = tanh(y * 0.5 + x) - sum(y, 0, true);
    const Vars d = grad(mean(square(tape.name(y, "y"))), {x, y});
    EXPECT_EQ(d.size(), 2u);
    tape.rewind(mark);
  });
}

TEST(Allocations, AStepWithStates) {
  Tape tape;
  const State w("w", Tensor::full({4, 3}, 0.5F));
  const State b("b", Tensor::full({3}, 0.1F));
  const State velocity("velocity", Tensor::zeros({4, 3}));
  const State unused("unused", Tensor::zeros({3}));
  const std::vector<State> parameters{w, b, unused};
  const Tensor data = Tensor::full({5, 4}, 1);
  expect_no_allocation([&] {
    tape.step([&] {
      const Var out = relu(matmul(tape.leaf(data, "x"), tape.read(w)) + tape.read(b));
      const Vars g = grad(sum(square(out)), parameters);
      const Var v = tape.read(velocity) * 0.9 + g[0];
      tape.update(velocity, v);
      tape.update(w, tape.read(w) - 1e-3 * v);
      tape.update(b, tape.no_record([&] {
        tape.update(unused, tape.read(unused) + 1.0);
        return tape.read(b) - 1e-3 * g[1];
      }));
      return out.value().at(0);
    });
  });
  EXPECT_GT(unused.value().at(0), 9999);
}

TEST(Allocations, ACompiledStepWithStates) {
  const State w("w", Tensor::full({4, 3}, 0.5F));
  const State b("b", Tensor::full({3}, 0.1F));
  const Tensor data = Tensor::full({5, 4}, 1);
  auto step = compile([&](Var x) {
    Tape& tape = x.tape();
    const Var loss = sum(square(relu(matmul(x, tape.read(w)) + tape.read(b))));
    const Vars g = grad(loss, std::vector<State>{w, b});
    tape.update(w, tape.read(w) - 1e-3 * g[0]);
    tape.update(b, tape.read(b) - 1e-3 * g[1]);
    return loss;
  });
  expect_no_allocation([&] { EXPECT_GT(step(data).item(), 0); });
  EXPECT_EQ(step.traces(), 1u);
}

TEST(Allocations, LargeTensors) {
  Tape tape;
  const Tensor data = Tensor::full({256, 256}, 1);
  const State w("w", Tensor::full({256}, 0.5F));
  expect_no_allocation(
      [&] {
        tape.step([&] {
          const Var y = sigmoid(tape.leaf(data) * tape.read(w));
          tape.update(w, tape.read(w) - 1e-4 * grad(mean(square(y)), w));
        });
      },
      50);
}

TEST(Allocations, AStepThatThrowsKeepsItsStorage) {
  Tape tape;
  const State s("s", Tensor::full({2}, 1));
  const auto step = [&](bool fail) {
    try {
      tape.step([&] {
        tape.update(s, exp(tape.read(s)) * 0.0);
        if (fail) throw 1;
      });
    } catch (int) {
    }
  };
  step(true);
  step(false);
  step(false);
  const std::size_t before = test::allocations().count;
  for (int i = 0; i < 1000; ++i) step(false);
  EXPECT_EQ(test::allocations().count, before);
}

}  // namespace
}  // namespace ebb
