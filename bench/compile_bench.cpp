// compile_bench: compiled functions beside op-by-op execution and libtorch, from one norm to a whole training step.
//
// As a Google Benchmark program it offers `<model>/<impl>/<shape>`; with --report it runs its own interleaved rounds
// and prints medians, ratios and the bars, since two times are comparable only if they were taken in turns. Every
// contender is checked against f64 before it is timed. Each run is forward and backward, the mlp's also the optimizer.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdio>
#include <map>

#include "bench/peers/flags.h"
#include "bench/peers/models.h"
#include "bench/peers/report.h"
#include "bench/peers/timing.h"

namespace ebb::bench {
namespace {

struct Options {
  std::vector<std::string> models{"norm_add_relu", "layer_norm", "cross_entropy", "gelu", "mlp"};
  std::vector<std::string> shapes;
  std::vector<int> threads{1};
  std::vector<std::string> impls;
  bool report = false;
  int rounds = 15;
};

std::vector<std::string> shapes_of(const std::string& model, const Options& options) {
  if (!options.shapes.empty()) return options.shapes;
  if (model == "mlp") return {"60x64"};
  if (model == "cross_entropy") return {"60x10", "256x1000", "8192x1000"};
  if (model != "norm_add_relu") return {"64x1024", "1024x1024", "8192x1024"};
  return {"60x100", "256x1024", "4096x1024", "16384x1024", "64x16x28x28:nchw", "32x64x56x56:nchw", "8x512x7x7:nchw"};
}

struct Entry {
  std::string name;
  std::unique_ptr<Model> model;
};

std::vector<Entry> contenders(const ModelProblem& problem, const std::vector<std::string>& impls) {
  std::vector<Entry> all;
  for (const Way& way : kWays) {
    if (wanted(impls, way.name)) all.push_back({way.name, make_ebb_model(problem, way)});
  }
#if EBB_BENCH_LIBTORCH
  if (wanted(impls, "libtorch")) all.push_back({"libtorch", make_libtorch_model(problem.call())});
#endif
  if (wanted(impls, "matmuls")) {
    if (auto matmuls = make_matmuls_alone(problem.call())) all.push_back({"matmuls", std::move(matmuls)});
  }
  return all;
}

void run_benchmark(benchmark::State& state, const std::string& model, const std::string& shape, const std::string& impl,
                   int threads) {
  const ModelProblem problem = make_problem(model, shape);
  for (const Entry& entry : contenders(problem, {impl})) {
    if (const std::string wrong = check(problem, *entry.model); !wrong.empty()) {
      state.SkipWithError(wrong.c_str());
      return;
    }
    entry.model->activate(threads);
    entry.model->run();
    for (auto _ : state) entry.model->run();
  }
}

// From the function to a program that is ready to run.
double compile_seconds(const ModelProblem& problem) {
  const auto begin = std::chrono::steady_clock::now();
  make_ebb_model(problem, kWays[0])->run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void run_compile(benchmark::State& state, const std::string& model, const std::string& shape) {
  const ModelProblem problem = make_problem(model, shape);
  for (auto _ : state) compile_seconds(problem);
}

void register_benchmarks(const Options& options) {
  for (const std::string& model : options.models) {
    for (const std::string& shape : shapes_of(model, options)) {
      std::vector<std::string> impls{"libtorch"};
      for (const Way& way : kWays) impls.emplace_back(way.name);
      if (model == "mlp") impls.emplace_back("matmuls");
      for (const std::string& impl : impls) {
        if (!wanted(options.impls, impl)) continue;
        for (const int threads : options.threads) {
          std::string name = model + "/" + impl + "/" + shape;
          if (options.threads.size() > 1) name += "/threads:" + std::to_string(threads);
          benchmark::RegisterBenchmark(name.c_str(), run_benchmark, model, shape, impl, threads)
              ->Unit(benchmark::kMicrosecond);
        }
      }
      benchmark::RegisterBenchmark((model + "/trace_and_compile/" + shape).c_str(), run_compile, model, shape)
          ->Unit(benchmark::kMillisecond);
    }
  }
}

using Times = std::map<std::string, std::vector<double>>;

// What each bar is held against.
struct Bars {
  Bar add_fused, add_torch, eager, torch, matmuls, step_torch, compile, arena, peak;
};

constexpr double kBeyondCache = 20e6;  // bytes of the largest input

void judge(const ModelProblem& problem, int threads, const Times& times, Bars& bars) {
  const std::string cell = fmt::format("{} {} x{}", problem.model, problem.shape, threads);
  const auto add = [&](Bar& bar, const char* impl) {
    if (times.count(impl) != 0) bar.add(cell, median_ratio(times.at(impl), times.at("compiled")));
  };
  if (times.count("compiled") == 0) return;
  if (problem.model == "norm_add_relu") {
    add(bars.add_fused, "fused");
    add(bars.add_torch, "libtorch");
  } else if (problem.model == "mlp") {
    if (threads > 1) return;
    add(bars.matmuls, "matmuls");
    add(bars.step_torch, "libtorch");
  } else {
    if (static_cast<double>(problem.bytes()) >= kBeyondCache) add(bars.eager, "fused");
    add(bars.torch, "libtorch");
  }
}

void remember_memory(const ModelProblem& problem, const std::vector<Entry>& entries, Bars& bars) {
  std::map<std::string, std::size_t> peak;
  for (const Entry& entry : entries) {
    peak[entry.name] = entry.model->peak_bytes();
    const auto* ebb = dynamic_cast<const EbbModel*>(entry.model.get());
    if (!ebb || !ebb->program()) continue;
    const MemoryPlan& plan = ebb->program()->memory();
    std::printf("%-15s %-18s %-15s arena %zu, live at once %zu, results %zu, peak %zu bytes\n", problem.model.c_str(),
                problem.shape.c_str(), entry.name.c_str(), plan.arena_bytes, plan.live_bytes, plan.result_bytes,
                plan.peak_bytes());
    if (entry.name == "compiled" && plan.live_bytes > 0) {
      bars.arena.add(problem.model + " " + problem.shape,
                     static_cast<double>(plan.live_bytes) / static_cast<double>(plan.arena_bytes));
    }
  }
  if (peak["compiled"] == 0 || peak["libtorch"] == 0) return;
  std::printf("%-15s %-18s %-15s peak %zu bytes\n", problem.model.c_str(), problem.shape.c_str(), "libtorch",
              peak["libtorch"]);
  bars.peak.add(problem.model + " " + problem.shape,
                static_cast<double>(peak["libtorch"]) / static_cast<double>(peak["compiled"]));
}

bool report(const Options& options) {
  bool right = true;
  Bars bars;
  std::printf("Microseconds, medians of %d interleaved rounds of forward and backward.\n", options.rounds);
  for (const std::string& model : options.models) {
    for (const std::string& shape : shapes_of(model, options)) {
      const ModelProblem problem = make_problem(model, shape);
      std::vector<Entry> entries;
      for (Entry& entry : contenders(problem, options.impls)) {
        if (const std::string wrong = check(problem, *entry.model); !wrong.empty()) {
          std::printf("%s %s %s is WRONG and not timed: %s\n", entry.name.c_str(), model.c_str(), shape.c_str(),
                      wrong.c_str());
          right = false;
          continue;
        }
        entries.push_back(std::move(entry));
      }
      for (const int threads : options.threads) {
        Times times;
        for (int round = 0; round < options.rounds; ++round) {
          for (std::size_t i = 0; i < entries.size(); ++i) {
            const Entry& entry = entries[(i + static_cast<std::size_t>(round)) % entries.size()];
            entry.model->activate(threads);
            times[entry.name].push_back(sample([&] { entry.model->run(); }, threads > 1 ? kAfterBlas : kAfterOpenMp));
          }
        }
        std::printf("%-15s %-18s %2d", model.c_str(), shape.c_str(), threads);
        for (const Entry& entry : entries) {
          std::printf("  %s %.2f", entry.name.c_str(), median(times.at(entry.name)) * 1e6);
        }
        std::printf("\n");
        std::fflush(stdout);
        judge(problem, threads, times, bars);
      }
      remember_memory(problem, entries, bars);
      std::vector<double> compiling;
      for (int round = 0; round < options.rounds; ++round) compiling.push_back(compile_seconds(problem));
      std::printf("%-15s %-18s traced, compiled and run once in %.2f ms\n", model.c_str(), shape.c_str(),
                  median(compiling) * 1e3);
      if (model == "mlp") bars.compile.add(model, 20e-3 / median(compiling));
    }
  }
  bars.add_fused.print("norm, add, relu: fused / compiled:", 1.25, 0);
  bars.add_torch.print("norm, add, relu: libtorch / comp.:", 2, 0);
  bars.eager.print("beyond cache, eager / compiled:", 2, 2);
  bars.torch.print("libtorch / compiled:", 1 / 1.1, 1 / 1.1);
  bars.matmuls.print("mlp, matmuls alone / compiled:", 1 / 1.6, 1 / 1.6);
  bars.step_torch.print("mlp, libtorch / compiled:", 3, 3);
  bars.compile.print("mlp, 20 ms / trace and compile:", 1, 1);
  bars.arena.print("live at once / arena:", 1 / 1.15, 1 / 1.15);
  bars.peak.print("libtorch's peak / compiled's:", 1, 1);
  return right;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Compiled functions, op by op, and libtorch. Google Benchmark's own flags work beside these.");
  app.add_option("--models", options.models, "Of norm_add_relu, layer_norm, cross_entropy, gelu, mlp")->delimiter(',');
  app.add_option("--shapes", options.shapes, "Such as 64x1024,32x64x56x56:nchw; each model's own if left out")
      ->delimiter(',');
  app.add_option("--threads", options.threads, "Such as 1 or 1,2")->delimiter(',')->check(CLI::Range(1, 1024));
  app.add_option("--impls", options.impls, "Only these, of compiled, compiled_exact, fused, staged, libtorch, matmuls")
      ->delimiter(',');
  app.add_flag("--report", options.report, "Interleave the contenders and print medians, ratios and the bars");
  app.add_option("--rounds", options.rounds, "Samples of each contender in a report")->check(CLI::Range(1, 10000));
  if (const std::optional<int> end = parse_flags(app, argc, argv)) return *end;

  try {
    if (options.report) return report(options) ? 0 : 1;
    register_benchmarks(options);
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "compile_bench: %s\n", error.what());
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::run(argc, argv); }
