// Whole models, in any format of a dump, and the means to keep a large one readable.
//
//   dump_model --model demo --format svg --depth 2 --fold-repeats --output demo.svg
//
// `demo` is a training step of the demo's network on a batch of digits, `softmax` a classifier small enough to see
// every number, `program` what the compiler makes of that classifier's training step: the graph that it runs or, as a
// page, the step itself and beside it the loops that do its work.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>

#include "demo/network.h"
#include "dump/command.h"

using namespace ebb;

namespace {

struct Arguments {
  std::string model = "demo";
  std::uint64_t seed = 1;
  DumpOptions options;
  int depth = -1;
  std::string focus;
  std::string output;
};

void write(const Tape& tape, const Arguments& arguments, DumpOptions options) {
  if (arguments.depth >= 0) options.depth = arguments.depth;
  if (!arguments.focus.empty()) options.focus = tape.find(arguments.focus);
  dump_program::write(tape, options, arguments.output);
}

void demo_network(const Arguments& arguments) {
  const nn::Sequential net = demo::network(true, arguments.seed);
  const nn::Dataset digits = nn::read_digits();
  nn::Batches batches(digits, 60, {.seed = arguments.seed, .drop_last = true});
  Tape tape;
  for (const nn::Dataset& batch : batches.epoch(0)) {
    const Var logits = net(tape.leaf(batch.x, "x"));
    const Var loss = tape.name(cross_entropy(logits, tape.leaf(batch.labels, "labels")), "loss");
    grad(loss, net.parameters());
    break;
  }
  DumpOptions options = arguments.options;
  options.title = "A training step of the demo's network";
  write(tape, arguments, options);
}

// Two decimals, so that a class can follow with pencil and paper.
Tensor numbers(const Shape& shape, Random& random) {
  Tensor tensor = Tensor::empty(shape, DType::f64);
  random.fill_normal(tensor);
  for (double& x : tensor.mutable_data<double>()) x = std::round(x * 100) / 100;
  return tensor;
}

struct Classifier {
  Tensor x, w, b, labels;

  explicit Classifier(std::uint64_t seed) : labels(Tensor::of<double>({4, 3}, {1, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 1})) {
    Random random(seed);
    x = numbers({4, 2}, random);
    w = numbers({2, 3}, random);
    b = numbers({3}, random);
  }
};

// The softmax in its parts, the largest logit taken away first.
Var loss_of(Var x, Var w, Var b, Var labels) {
  Tape& tape = x.tape();
  const Var logits = tape.name(matmul(x, w) + b, "logits", "1");
  const Var shifted = tape.name(logits - detach(max(logits, 1, true)), "shifted", "2");
  const Var e = tape.name(exp(shifted), "e", "3");
  const Var total = tape.name(sum(e, 1, true), "total", "4");
  const Var logp = tape.name(shifted - log(total), "logp", "5");
  return tape.name(-mean(sum(labels * logp, 1)), "loss", "6");
}

void softmax_classifier(const Arguments& arguments) {
  const Classifier c(arguments.seed);
  Tape tape;
  const Var x = tape.leaf(c.x, "x");
  const Var w = tape.leaf(c.w, "w");
  const Var b = tape.leaf(c.b, "b");
  const Var labels = tape.leaf(c.labels, "labels");
  grad(loss_of(x, w, b, labels), {w, b});
  DumpOptions options = arguments.options;
  options.title = "A softmax classifier, its loss and the gradients";
  write(tape, arguments, options);
}

Vars loss_and_gradients(Var x, Var w, Var b, Var labels) {
  const Var loss = loss_of(x, w, b, labels);
  const Vars gradients = grad(loss, {w, b});
  return Vars{loss, gradients[0], gradients[1]};
}

void compiled_program(const Arguments& arguments) {
  const Classifier c(arguments.seed);
  auto step = compile(loss_and_gradients, {.arguments = {"x", "w", "b", "labels"}});
  step(c.x, c.w, c.b, c.labels);
  const Program& program = step.program();
  const Explanation explanation = explain(program);
  DumpOptions options = arguments.options;
  if (options.format == DumpFormat::html) {
    // A program has no numbers to step through: what it was made of has, and beside it stands what runs.
    Tape tape;
    const Var x = tape.leaf(c.x, "x");
    const Var w = tape.leaf(c.w, "w");
    const Var b = tape.leaf(c.b, "b");
    loss_and_gradients(x, w, b, tape.leaf(c.labels, "labels"));
    options.title = "A softmax classifier's training step, and the program compiled from it";
    options.panes.push_back({.title = "Compiled loops",
                             .note = "Which loop does the work of which node. A node with a broken border is in none: "
                                     "the compiler's rules have simplified it away.",
                             .columns = {loops_beside(tape, program)}});
    options.panes.push_back({.title = "What runs", .note = "In this order.", .text = explanation.text()});
    return write(tape, arguments, options);
  }
  const Tape& tape = *program.optimised().tape;
  options.title = "A softmax classifier's training step, compiled";
  for (const NodeId id : program.optimised().outputs) options.outputs.push_back(tape.var(id));
  write(tape, arguments, options);
  // Text has room for what runs.
  const bool text = options.format == DumpFormat::text || options.format == DumpFormat::tree;
  if (text && arguments.output.empty()) fmt::print("\n{}", explanation.text());
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  DumpOptions& options = arguments.options;
  CLI::App app("Dumps whole models: their graphs, forward and backward.");
  app.add_option("--model", arguments.model, "Which one")
      ->check(CLI::IsMember({"demo", "softmax", "program"}))
      ->capture_default_str();
  dump_program::add_seed(app, arguments.seed);
  dump_program::add_format(app, options.format);
  app.add_option("--depth", arguments.depth, "How many levels of scopes are opened; those below are one node each")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--collapse", options.collapse, "Paths of further scopes that are one node: net.bn1");
  app.add_flag("--fold-repeats", options.fold_repeats, "Equal scopes in a row are shown once");
  app.add_option("--focus", arguments.focus, "Only what is near the node with this name: loss, net.bn1.batch_norm/mu");
  app.add_option("--radius", options.radius, "How many arrows away from it")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_flag("--values", options.values, "The values, too: small tensors in full");
  dump_program::add_times(app, options.times);
  dump_program::add_output(app, arguments.output);
  CLI11_PARSE(app, argc, argv);
  return dump_program::run([&] {
    if (arguments.model == "demo") {
      demo_network(arguments);
    } else if (arguments.model == "softmax") {
      softmax_classifier(arguments);
    } else {
      compiled_program(arguments);
    }
  });
}
