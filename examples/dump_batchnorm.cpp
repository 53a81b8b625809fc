// Batch normalization on a small batch, forward and backward, in any format of a dump.
//
// As a page (--format html) it is the player: the nine steps forward, the derived steps back, every number at hand, and
// beside them what the fused kernel and the compiler make of the same function.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <cmath>
#include <map>

#include "dump/command.h"

using namespace ebb;

namespace {

struct Arguments {
  std::string shape = "4x5";
  std::uint64_t seed = 1;
  BatchNormKernel kernel = BatchNormKernel::staged;
  DumpFormat format = DumpFormat::text;
  DType dtype = DType::f64;
  bool times = false;
  std::string output;
};

// "4x5": a batch of 4 with 5 channels.
Shape shape_of(const std::string& text) {
  Shape shape;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (true) {
    std::int64_t size = 0;
    const auto [after, error] = std::from_chars(at, end, size);
    const bool separated = after == end || *after == 'x';
    if (error != std::errc() || size < 1 || size > 1'000'000 || !separated || shape.rank() == 4) {
      throw UsageError(fmt::format("--shape: {} is not two to four sizes such as 4x5.", text));
    }
    shape.push_back(size);
    if (after == end) break;
    at = after + 1;
  }
  if (shape.rank() < 2) throw UsageError(fmt::format("--shape: {} is not two to four sizes such as 4x5.", text));
  return shape;
}

// Two decimals, so that a class can follow with pencil and paper.
Tensor numbers(const Shape& shape, Random& random, double mean, double deviation, DType dtype) {
  const auto draw = [&](auto zero) {
    Tensor tensor = Tensor::empty(shape, dtype);
    random.fill_normal(tensor, mean, deviation);
    for (auto& x : tensor.mutable_data<decltype(zero)>()) x = std::round(x * 100) / 100;
    return tensor;
  };
  return dtype == DType::f32 ? draw(0.0f) : draw(0.0);
}

struct Batch {
  Tensor x, gamma, beta, dout;
};

Batch draw(const Arguments& arguments, DType dtype) {
  Random random(arguments.seed);
  const Shape shape = shape_of(arguments.shape);
  const Shape channels{shape[1]};
  Batch batch;
  batch.x = numbers(shape, random, 1, 2, dtype);
  batch.gamma = numbers(channels, random, 1, 0.5, dtype);
  batch.beta = numbers(channels, random, 0, 0.5, dtype);
  batch.dout = numbers(shape, random, 0, 1, dtype);
  return batch;
}

void record(Tape& tape, const Batch& batch, BatchNormKernel kernel) {
  const Var x = tape.leaf(batch.x, "x");
  const Var gamma = tape.leaf(batch.gamma, "gamma");
  const Var beta = tape.leaf(batch.beta, "beta");
  const Var out = batch_norm(x, gamma, beta, {.kernel = kernel});
  pullback(out, tape.leaf(batch.dout, "dout"), {x, gamma, beta});
}

// --- what stands beside the graph on the page
// --------------------------------------------------------------------------

DumpPane fused_pane(const Batch& batch) {
  Tape tape;
  record(tape, batch, BatchNormKernel::fused);
  return {.title = "Fused kernel",
          .note =
              "The same function by the hand-written kernel: its statistics are one node, and so are the sums of "
              "its backward pass. Two passes over x forward, two back.",
          .text = dump(tape, {.source_lines = false})};
}

void compiler_panes(const Batch& batch, std::vector<DumpPane>& panes) {
  auto step = compile([](Var x, Var gamma, Var beta, Var dout) {
    const Var out = batch_norm(x, gamma, beta);
    const Vars gradients = pullback(out, dout, {x, gamma, beta});
    return Vars{out, gradients[0], gradients[1], gradients[2]};
  });
  step(batch.x, batch.gamma, batch.beta, batch.dout);
  const Explanation explanation = explain(step.program());
  // A trace calls its arguments arg0, arg1 and so on.
  const auto named = [](std::string text) {
    const char* const names[] = {"x", "gamma", "beta", "dout"};
    for (std::size_t i = 0; i < std::size(names); ++i) {
      const std::string before = fmt::format("arg{}", i);
      for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at)) {
        text.replace(at, before.size(), names[i]);
      }
    }
    return text;
  };
  DumpPane loops{.title = "Compiled loops",
                 .note =
                     "What compile() makes of the nine steps and their backward pass. Each loop reads and writes its "
                     "tensors once.",
                 .table = {{"", "over", "reads", "computes", "writes", "bytes"}}};
  const auto names = [](const std::vector<Explanation::Value>& values) {
    std::string text;
    for (const auto& value : values) text += (text.empty() ? "" : ", ") + value.name;
    return text;
  };
  for (const Explanation::Action& action : explanation.actions) {
    std::string steps;
    for (const std::string& one : action.steps) steps += (steps.empty() ? "" : "; ") + one;
    std::string writes = names(action.writes);
    if (!action.reductions.empty()) writes += (writes.empty() ? "" : ", ") + names(action.reductions);
    loops.table.push_back({action.what, to_string(action.shape), named(names(action.reads)), named(steps),
                           named(writes), fmt::format("{}", action.bytes_read + action.bytes_written)});
  }
  panes.push_back(std::move(loops));
  panes.push_back({.title = "To the closed form",
                   .note = "How the compiler's rules simplify the derived backward pass, rule by rule. No rule knows "
                           "batch normalization.",
                   .text = named(explanation.rewrites)});
}

DumpPane error_pane(const Arguments& arguments) {
  Tape tape;
  record(tape, draw(arguments, DType::f32), arguments.kernel);
  DumpPane pane{.title = "Rounding errors",
                .note =
                    "The same numbers in 32 bits, audited: a node's own error and what has accumulated since the "
                    "leaves, in units in the last place.",
                .table = {{"node", "op", "own error", "its bound", "accumulated", "verdict"}}};
  for (const AuditEntry& entry : audit(tape).entries) {
    pane.table.push_back({entry.name, std::string(entry.op), fmt::format("{:.2f}", entry.local),
                          fmt::format("{:g}", entry.bound), fmt::format("{:.2f}", entry.accumulated),
                          std::string(name(entry.verdict))});
  }
  return pane;
}

void run(const Arguments& arguments) {
  const Batch batch = draw(arguments, arguments.dtype);
  Tape tape;
  record(tape, batch, arguments.kernel);
  DumpOptions options{.format = arguments.format,
                      .title = "Batch normalization in nine steps, and the backward pass derived from them"};
  options.times = arguments.times;
  if (arguments.kernel == BatchNormKernel::fused) options.title = "Batch normalization by the fused kernel";
  if (arguments.format == DumpFormat::html) {
    options.panes.push_back(fused_pane(batch));
    compiler_panes(batch, options.panes);
    options.panes.push_back(error_pane(arguments));
  }
  dump_program::write(tape, options, arguments.output);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  const std::map<std::string, BatchNormKernel> kernels{{"staged", BatchNormKernel::staged},
                                                       {"fused", BatchNormKernel::fused}};
  const std::map<std::string, DType> dtypes{{"f64", DType::f64}, {"f32", DType::f32}};
  CLI::App app("Dumps batch normalization, forward and backward.");
  app.add_option("--shape", arguments.shape, "Of x: batch, channels, and what else there is")->capture_default_str();
  app.add_option("--seed", arguments.seed, "Of the numbers")->capture_default_str();
  app.add_option("--kernel", arguments.kernel, "How it is computed (staged)")
      ->transform(CLI::CheckedTransformer(kernels).description("staged|fused"));
  dump_program::add_format(app, arguments.format);
  app.add_option("--dtype", arguments.dtype, "Of the numbers (f64)")
      ->transform(CLI::CheckedTransformer(dtypes).description("f64|f32"));
  dump_program::add_times(app, arguments.times);
  dump_program::add_output(app, arguments.output);
  CLI11_PARSE(app, argc, argv);
  try {
    run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
