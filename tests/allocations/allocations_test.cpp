// A warm training step asks nobody for memory. This program replaces global new and delete, so it is one of its own.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  if (void* block = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded)) return block;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new[](std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

namespace ebb {
namespace {

// Runs `step` ten thousand times and counts what the runs after the second ask for.
template <class F>
void expect_no_allocation(F&& step, int steps = 10000) {
  step();
  step();
  const std::size_t before = allocations.load();
  const std::size_t system = memory_report().system_allocations;
  const std::size_t live = memory_report().live;
  for (int i = 2; i < steps; ++i) step();
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_EQ(memory_report().system_allocations - system, 0u);
  EXPECT_EQ(memory_report().live, live);
}

TEST(Allocations, TheCounterCounts) {
  const std::size_t before = allocations.load();
  ::operator delete(::operator new(3));  // a compiler may leave out `delete new int`
  EXPECT_EQ(allocations.load() - before, 1u);
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
  const std::size_t before = allocations.load();
  for (int i = 0; i < 1000; ++i) step(false);
  EXPECT_EQ(allocations.load(), before);
}

}  // namespace
}  // namespace ebb
