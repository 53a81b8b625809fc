// The tape's own cost: recording and differentiating chains of small ops, where the work on elements is next to
// nothing.
//
// Times are per op where the name says so (the `per_op` counter). Each program records, differentiates and rewinds on
// one tape, as a training loop does, so storage is warm. `allocations` counts requests to the system per iteration: it
// is 0.
#include <benchmark/benchmark.h>
#include <ebb/ebb.h>

namespace {

using ebb::Tape;
using ebb::Tensor;
using ebb::Var;

void count(benchmark::State& state, std::int64_t ops, std::size_t allocations_before) {
  state.counters["per_op"] = benchmark::Counter(static_cast<double>(ops) * static_cast<double>(state.iterations()),
                                                benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  const std::size_t allocations = ebb::memory_report().system_allocations - allocations_before;
  state.counters["allocations"] =
      benchmark::Counter(static_cast<double>(allocations), benchmark::Counter::kAvgIterations);
}

Var chain(const Var& x, const Var& factor, std::int64_t ops) {
  Var y = x;
  for (std::int64_t i = 0; i < ops; ++i) y = y * factor;
  return y;
}

void chain_bench(benchmark::State& state, bool with_pullback) {
  const std::int64_t ops = state.range(0);
  Tape tape;
  const Var x = tape.leaf(Tensor::full({8}, 1));
  const Var factor = tape.leaf(Tensor::full({8}, 1));
  const Var cotangent = tape.leaf(Tensor::full({8}, 1));
  const auto once = [&] {
    const Tape::Mark mark = tape.mark();
    const Var y = chain(x, factor, ops);
    if (with_pullback) {
      benchmark::DoNotOptimize(ebb::pullback(y, cotangent, x, {.keep = false, .unused = {}}));
    } else {
      benchmark::DoNotOptimize(y.value().raw());
    }
    tape.rewind(mark);
  };
  once();
  once();
  const std::size_t before = ebb::memory_report().system_allocations;
  for (auto _ : state) once();
  count(state, ops, before);
}

void record(benchmark::State& state) { chain_bench(state, false); }
void record_and_pullback(benchmark::State& state) { chain_bench(state, true); }

// 40 doublings v = v + v: 2^40 paths, 40 nodes.
void doublings(benchmark::State& state) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 1, ebb::DType::f64));
  const auto once = [&] {
    const Tape::Mark mark = tape.mark();
    Var v = x;
    for (int i = 0; i < 40; ++i) v = v + v;
    const double slope = ebb::grad(v, x).item();
    tape.rewind(mark);
    return slope;
  };
  once();
  once();
  const std::size_t before = ebb::memory_report().system_allocations;
  for (auto _ : state) {
    if (once() != 0x1p40) state.SkipWithError("wrong slope");
  }
  count(state, 40, before);
}

BENCHMARK(record)->Name("tape/mul_f32x8/record")->Arg(1000);
BENCHMARK(record_and_pullback)->Name("tape/mul_f32x8/record_and_pullback")->Arg(1000);
BENCHMARK(record)->Name("tape/mul_f32x8/record")->Arg(1000000)->Unit(benchmark::kMillisecond);
BENCHMARK(record_and_pullback)->Name("tape/mul_f32x8/record_and_pullback")->Arg(1000000)->Unit(benchmark::kMillisecond);
BENCHMARK(doublings)->Name("tape/doublings");

}  // namespace

BENCHMARK_MAIN();
