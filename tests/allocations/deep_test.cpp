// Deep graphs: every driver does twice the work on twice the depth, by what can be counted - nodes, allocations, bytes
// - and none calls itself once per node. What is not linear would not end within the tests' time limit on the long
// chain.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <functional>

#include "tests/allocations/counter.h"

namespace ebb {
namespace {

// Products, functions, sums of two earlier values, new literals, names and scopes.
Var chain(Var x, int depth) {
  Tape& tape = x.tape();
  for (int i = 0; i < depth;) {
    const auto scope = tape.scope("block");
    const Var y = tanh(x * (1.0 + 1e-9 * i));
    x = y + 0.5 * x;
    i += 4;
    if (i % 64 == 0) tape.name(x, "h");
  }
  return x;
}

struct Driver {
  std::string name;
  Tape::Mode mode;
  std::function<void(Tape&, const Var& x, const Var& y)> run;
  int depth = 1'000'000;  // of the long chain
};
void PrintTo(const Driver& driver, std::ostream* out) { *out << driver.name; }

std::vector<Driver> drivers() {
  using Mode = Tape::Mode;
  return {
      {"eager", Mode::eager, [](Tape&, const Var&, const Var& y) { y.value(); }},
      {"trace", Mode::trace, [](Tape&, const Var&, const Var&) {}},
      {"grad", Mode::eager, [](Tape&, const Var& x, const Var& y) { grad(y, x).value(); }},
      {"grad_of_a_trace", Mode::trace, [](Tape&, const Var& x, const Var& y) { grad(y, x); }},
      {"released", Mode::eager,
       [](Tape&, const Var& x, const Var& y) { grad(y, x, {.keep = false, .unused = {}}).value(); }},
      {"jvp", Mode::eager, [](Tape&, const Var& x, const Var& y) { jvp(y, x, 1.0).value(); }},
      {"hvp", Mode::eager, [](Tape&, const Var& x, const Var& y) { hvp(y, x, 1.0).value(); }},
      {"hessian", Mode::eager, [](Tape&, const Var& x, const Var& y) { hessian(y, x).value(); }},
      {"unused_inputs", Mode::eager,
       [](Tape& tape, const Var&, const Var& y) {
         Vars idle;
         for (int i = 0; i < 100; ++i) idle.push_back(tape.leaf(Tensor::full({2}, 1)));
         grad(y, idle);
       }},
      {"verify", Mode::eager,
       [](Tape& tape, const Var& x, const Var& y) {
         grad(y, x);
         verify(tape);
       }},
      {"audit", Mode::eager, [](Tape& tape, const Var&, const Var&) { audit(tape); }},
      {"rewind", Mode::eager,
       [](Tape& tape, const Var& x, const Var& y) {
         const Tape::Mark mark = tape.mark();
         grad(y, x);
         tape.rewind(mark);
       }},
      {"dump_text", Mode::eager, [](Tape& tape, const Var&, const Var&) { dump(tape); }, 200'000},
      {"dump_dot", Mode::eager, [](Tape& tape, const Var&, const Var&) { dump(tape, {.format = DumpFormat::dot}); },
       200'000},
      {"names", Mode::eager, [](Tape& tape, const Var&, const Var&) { tape.name_texts(); }},
  };
}

struct Cost {
  std::size_t nodes;
  std::size_t count;  // allocations
  std::size_t bytes;  // asked of new
  std::size_t peak;   // of the library's memory
};

Cost cost_of(const Driver& driver, int depth) {
  const std::size_t live = memory_report().live;
  reset_peak_memory();
  const test::Allocations before = test::allocations();
  std::size_t nodes = 0;
  {
    Tape tape(driver.mode);
    const Var x = tape.leaf(Tensor::full({2}, 0.5), "x");
    driver.run(tape, x, sum(chain(x, depth)));
    nodes = tape.size();
  }
  const test::Allocations after = test::allocations();
  EXPECT_EQ(memory_report().live, live);
  return {nodes, after.count - before.count, after.bytes - before.bytes, memory_report().peak - live};
}

class Deep : public testing::TestWithParam<Driver> {};
INSTANTIATE_TEST_SUITE_P(Drivers, Deep, testing::ValuesIn(drivers()),
                         [](const auto& instance) { return instance.param.name; });

TEST_P(Deep, CostsTwiceAsMuchAtTwiceTheDepth) {
  cost_of(GetParam(), 8192);  // what is made once and kept
  release_cached_memory();
  const Cost one = cost_of(GetParam(), 4096);
  release_cached_memory();
  const Cost two = cost_of(GetParam(), 8192);
  const auto linear = [](std::size_t a, std::size_t b, std::size_t slack) {
    EXPECT_LE(b, 2.2 * static_cast<double>(a) + static_cast<double>(slack)) << a << " at half the depth";
  };
  EXPECT_GE(two.nodes, 8192u);
  linear(one.nodes, two.nodes, 0);
  linear(one.count, two.count, 64);
  linear(one.bytes, two.bytes, 65536);
  linear(one.peak, two.peak, 65536);
}

TEST_P(Deep, ALongChainOverflowsNoStack) {
  const Cost cost = cost_of(GetParam(), GetParam().depth);
  EXPECT_GE(cost.nodes, static_cast<std::size_t>(GetParam().depth));
  release_cached_memory();
}

// Differences take some 70 runs of f per input and order, so the chain is shorter; its cost is counted all the same.
TEST(Deep, GradcheckIsLinearToo) {
  const auto cost = [](int depth) {
    const test::Allocations before = test::allocations();
    const GradcheckReport report =
        gradcheck([&](Var x) { return chain(x, depth); }, {Tensor::full({2}, 0.01, DType::f64)}, {.directions = 1});
    EXPECT_EQ(report.entries.size(), 2u);
    return static_cast<double>(test::allocations().bytes - before.bytes);
  };
  cost(64);
  EXPECT_LE(cost(1024), 2.1 * cost(512) + 65536);
}

// One value that is read ten thousand times, and one node with as many inputs.
TEST(Deep, TenThousandReadersAndTenThousandInputs) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({1}, 2));
  std::vector<Operand> parts;
  for (int i = 0; i < 10'000; ++i) parts.emplace_back(x * 3.0);
  const Var y = sum(concat(parts, 0));
  EXPECT_EQ(y.item(), 60'000);
  EXPECT_EQ(grad(y, x).item(), 30'000);
  EXPECT_EQ(jvp(y, x, 1.0).item(), 30'000);
  verify(tape);
}

}  // namespace
}  // namespace ebb
