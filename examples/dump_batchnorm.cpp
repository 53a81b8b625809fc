// Batch normalization on a small batch, forward and backward, in any format of a dump.
//
// As a page (--format html) it is the player: the nine steps forward, the derived steps back, every number at hand, and
// beside them what the fused kernel and the compiler make of the same function.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>

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

// What the four rows of the fused kernel do, in the names of the nine steps.
DumpColumn fused_rows(const Tape& staged) {
  const auto part = [&](std::string title, std::string detail, std::vector<std::string> lines,
                        const std::vector<std::string>& names) {
    DumpPart out{std::move(title), std::move(detail), std::move(lines), {}};
    for (NodeId id = 0; id < staged.size(); ++id) {
      if (std::ranges::find(names, staged.name_of(id)) != names.end()) out.nodes.push_back(id);
    }
    return out;
  };
  return {
      .title = "fused kernel",
      .parts = {
          part("bn_moments", "reads x once", {"mean and variance, by Welford's method"}, {"mu", "xmu", "sq", "var"}),
          part("bn_apply", "reads x, writes out", {"out = gamma * ivar * (x - mu) + beta"},
               {"sqrtvar", "ivar", "xhat", "gammax", "out"}),
          part("bn_sums", "reads x and dout", {"dbeta = sum(dout)", "dgamma = sum(dout * xhat)"}, {"dbeta", "dgamma"}),
          part("bn_dx", "reads x and dout, writes dx",
               {"dx = gamma * ivar / N * (N * dout - dbeta", "       - xhat * dgamma)"},
               {"dxhat", "dxmu1", "divar", "dsqrtvar", "dvar", "dsq", "dxmu2", "dxmu", "dmu", "dx2", "dx"}),
      }};
}

void compiler_panes(const Tape& staged, const Batch& batch, bool fused_kernel, std::vector<DumpPane>& panes) {
  auto step = compile(
      [](Var x, Var gamma, Var beta, Var dout) {
        const Var out = batch_norm(x, gamma, beta);
        const Vars gradients = pullback(out, dout, {x, gamma, beta});
        return Vars{out, gradients[0], gradients[1], gradients[2]};
      },
      {.arguments = {"x", "gamma", "beta", "dout"}});
  step(batch.x, batch.gamma, batch.beta, batch.dout);
  DumpPane beside{.title = "Fused and compiled",
                  .note =
                      "Who does the work of the nine steps and of their backward pass: on the left the hand-written "
                      "kernel, on the right the loops that compile() makes, each of which reads and writes its "
                      "tensors once. A node with a broken border is in no loop: the compiler's rules have "
                      "simplified it away."};
  if (!fused_kernel) beside.columns.push_back(fused_rows(staged));
  beside.columns.push_back(loops_beside(staged, step.program()));
  panes.push_back(std::move(beside));
  const Program& program = step.program();
  const std::int64_t n = batch.x.numel() / batch.x.shape()[1];
  panes.push_back(
      {.title = "To the closed form",
       .note =
           "How the compiler's rules simplify the derived backward pass, rule by rule, and what is left in the end. "
           "No rule knows batch normalization. A number, as %24, holds within a pass. The mean is kept as "
           "mean_high + mean_low: what one number of its type has no digits for is in the other.",
       .text = fmt::format("{0}\nWhat is left\n\n{1}\n"
                           "With xmu = x - mean_high(x) - mean_low(x) and xhat = xmu * ivar, the last line is\n\n"
                           "dx = gamma * ivar / {2} * ({2} * dout - sum(dout) - xhat * sum(dout * xhat))\n",
                           explain(program).rewrites, formulas(program.log().stages.back()), n)});
}

DumpPane error_pane(const Arguments& arguments) {
  Tape tape;
  record(tape, draw(arguments, DType::f32), arguments.kernel);
  DumpPane pane{
      .title = "Rounding errors",
      .note =
          "The same numbers in 32 bits, audited, in units in the last place. A node's own error is what its op "
          "adds to exact inputs, and is measured as its bound is: of a sum, by the sum of the magnitudes. What "
          "has accumulated since the leaves is measured by the largest element.",
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
    compiler_panes(tape, batch, arguments.kernel == BatchNormKernel::fused, options.panes);
    options.panes.push_back(error_pane(arguments));
  }
  dump_program::write(tape, options, arguments.output);
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  CLI::App app("Dumps batch normalization, forward and backward.");
  app.add_option("--shape", arguments.shape, "Of x: batch, channels, and what else there is")->capture_default_str();
  dump_program::add_seed(app, arguments.seed);
  dump_program::add_choice(app, "--kernel", arguments.kernel, "How it is computed",
                           {{"staged", BatchNormKernel::staged}, {"fused", BatchNormKernel::fused}});
  dump_program::add_format(app, arguments.format);
  dump_program::add_choice(app, "--dtype", arguments.dtype, "Of the numbers",
                           {{"f64", DType::f64}, {"f32", DType::f32}});
  dump_program::add_times(app, arguments.times);
  dump_program::add_output(app, arguments.output);
  CLI11_PARSE(app, argc, argv);
  return dump_program::run([&] { run(arguments); });
}
