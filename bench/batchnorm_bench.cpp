// batchnorm_bench: Ebb's batchnorm beside the libraries that are installed, shape by shape.
//
// As a Google Benchmark program it offers `batch_norm/<impl>/<shape>/<phase>`; with --report it runs its own
// interleaved rounds and prints medians and ratios, which is what claims are made from: machines are shared, and two
// times are comparable only if they were taken in turns. Every contender is checked against f64 before it is timed,
// and runs once untimed before each sample, because the one before it may have emptied the caches.
#include <benchmark/benchmark.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <map>
#include <stdexcept>

#include "bench/peers/contender.h"
#include "bench/peers/flags.h"
#include "bench/peers/report.h"

namespace ebb::bench {
namespace {

struct Options {
  std::vector<std::string> shapes{"32x100",           "60x100",           "64x1024",           "256x1024",
                                  "4096x1024",        "16384x1024",       "65536x256",         "1000000x64",
                                  "64x16x28x28:nchw", "64x16x28x28:nhwc", "32x64x56x56:nchw",  "32x64x56x56:nhwc",
                                  "8x512x7x7:nchw",   "8x512x7x7:nhwc",   "16x256x14x14:nchw", "16x256x14x14:nhwc"};
  std::vector<int> threads{1};
  std::vector<std::string> impls;
  std::vector<std::string> phases{"forward", "backward", "step"};
  bool report = false;
  int rounds = 15;
};

/// The inputs of one shape at a time: the largest take a gigabyte.
const Problem& problem_of(const Shape& shape) {
  static std::unique_ptr<Problem> latest;
  if (latest == nullptr || latest->shape.text() != shape.text()) {
    latest.reset();
    latest = std::make_unique<Problem>(shape);
  }
  return *latest;
}

std::unique_ptr<Contender> contender_named(const std::string& name) {
  for (auto& contender : all_contenders()) {
    if (contender->name() == name) return std::move(contender);
  }
  return nullptr;
}

void run_benchmark(benchmark::State& state, const std::string& impl, const Shape& shape, const std::string& phase,
                   int threads) {
  const Problem& problem = problem_of(shape);
  const auto contender = contender_named(impl);
  contender->set_up(problem, threads);
  if (const std::string wrong = check(problem, *contender); !wrong.empty()) {
    state.SkipWithError(wrong.c_str());
    return;
  }
  run_phase(*contender, phase);
  for (auto _ : state) run_phase(*contender, phase);
}

void register_benchmarks(const Options& options) {
  for (const std::string& text : options.shapes) {
    const Shape shape = parse_shape(text);
    for (const auto& contender : all_contenders()) {
      const std::string impl = contender->name();
      if (!contender->supports(shape) || !wanted(options.impls, impl)) continue;
      for (const std::string& phase : options.phases) {
        for (const int threads : options.threads) {
          std::string name = "batch_norm/" + impl + "/" + shape.text() + "/" + phase;
          if (options.threads.size() > 1) name += "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), run_benchmark, impl, shape, phase, threads)
              ->Unit(benchmark::kMicrosecond);
        }
      }
    }
  }
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Batchnorm, Ebb's and others'. Google Benchmark's own flags work beside these.");
  app.add_option("--shapes", options.shapes, "Such as 64x1024,32x64x56x56:nchw,8x512x7x7:nhwc")->delimiter(',');
  app.add_option("--threads", options.threads, "Such as 1 or 1,2")->delimiter(',')->check(CLI::Range(1, 1024));
  app.add_option("--impls", options.impls, "Only these, such as fused,onednn,twin")->delimiter(',');
  app.add_option("--phases", options.phases, "Of forward, backward, step")
      ->delimiter(',')
      ->check(CLI::IsMember({"forward", "backward", "step"}));
  app.add_flag("--report", options.report, "Interleave the contenders and print medians, ratios and the bars");
  app.add_option("--rounds", options.rounds, "Samples of each contender in a report")->check(CLI::Range(1, 10000));
  if (const std::optional<int> end = parse_flags(app, argc, argv)) return *end;
  try {
    for (const std::string& shape : options.shapes) parse_shape(shape);
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "--shapes: %s\n", error.what());
    return 2;
  }

  if (options.report) {
    if (app.count("--phases") == 0) options.phases = {"step"};
    return report(options.shapes, options.threads, options.impls, options.phases, options.rounds) ? 0 : 1;
  }
  register_benchmarks(options);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::run(argc, argv); }
