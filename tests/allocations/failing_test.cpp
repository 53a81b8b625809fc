// A compiled step that runs out of memory leaves every State as it was, whichever request it is that fails.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <limits>
#include <new>
#include <optional>

#include "tests/allocations/counter.h"
#include "tests/support/wave.h"

namespace ebb {
namespace {

// Kernels that take memory after the first States have their new values, of sizes that nothing before has asked for.
struct Model {
  Model() {
    for (int i = 0; i < 3; ++i) {
      weights.emplace_back("w" + std::to_string(i), test::wave({5, 8, 8}, {.phase = static_cast<double>(i)}));
    }
  }
  Var step(const Var& x) {
    Tape& tape = x.tape();
    Var y = x;
    for (const State& w : weights) y = tanh(cumsum(matmul(y, tape.read(w)), 1) * 0.1);
    const Var loss = mean(square(y));
    const Vars g = grad(loss, weights);
    for (std::size_t i = 0; i < weights.size(); ++i) {
      tape.update(weights[i], tape.read(weights[i]) - 0.1 * g[i]);
    }
    tape.update(mean_of, tape.read(mean_of) * 0.5 + x);
    return loss + sum(cumsum(broadcast_to(reshape(x, {1, 240}), {37, 240}) * 2.0, 0));
  }
  std::vector<Tensor> copies() const {
    std::vector<Tensor> out;
    for (const State& w : weights) out.push_back(w.value().clone());
    out.push_back(mean_of.value().clone());
    return out;
  }
  std::vector<State> weights;
  State mean_of{"mean_of", test::wave({5, 6, 8})};
};

void expect_all_or_nothing(Backend backend, int threads, std::size_t many) {
  set_threads(threads);
  const Tensor x = test::wave({5, 6, 8}, {.phase = 2});
  Model reference, model;
  auto wanted = compile([&](Var v) { return reference.step(v); }, {Setting::exact, backend});
  auto step = compile([&](Var v) { return model.step(v); }, {Setting::exact, backend});
  wanted(x);
  step(x);
  ASSERT_FALSE(step.program().memory().over.empty());
  std::size_t failed = 0;
  for (std::size_t request = 0;; ++request) {
    const std::vector<Tensor> before = model.copies();
    release_cached_memory();
    if (!test::fail_requests(request, many)) GTEST_SKIP() << "requests cannot be seen";
    bool threw = false;
    try {
      step(x);
    } catch (const std::bad_alloc&) {
      threw = true;
    }
    const std::size_t requests = test::stop_failing();
    if (!threw) wanted(x);
    for (std::size_t i = 0; i < before.size(); ++i) {
      ASSERT_TRUE(identical(model.copies()[i], threw ? before[i] : reference.copies()[i])) << "request " << request;
    }
    failed += threw ? 1 : 0;
    if (requests <= request) break;
  }
  EXPECT_GT(failed, 0u);
  set_threads(1);
}

TEST(OutOfMemory, ARunThatOneRequestIsRefusedLeavesEachStateOldOrNew) {
  for (const int threads : {1, 2}) {
    expect_all_or_nothing(Backend::generated, threads, 1);
    expect_all_or_nothing(Backend::interpreted, threads, 1);
  }
}

TEST(OutOfMemory, ARunForWhichMemoryEndsLeavesEachStateOldOrNew) {
  constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  for (const int threads : {1, 2}) {
    expect_all_or_nothing(Backend::generated, threads, all);
    expect_all_or_nothing(Backend::interpreted, threads, all);
  }
}

}  // namespace
}  // namespace ebb
