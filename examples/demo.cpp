// The demo: the first experiment of the batch normalization paper (Ioffe and Szegedy 2015, section 4.1) on real digits,
// then what stands behind it: that the derived gradient is right, what it costs, and what its graph looks like.
//
// Two networks of three hidden layers of 100 sigmoids learn side by side from the same start over the same batches of
// 60, one with batch normalization built from nine recorded steps, one without, at three learning rates.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <functional>

#include "demo/console.h"
#include "demo/files.h"
#include "demo/network.h"
#include "demo/plot.h"

using namespace ebb;
using demo::Files;
using demo::heading;

namespace {

std::string count(std::int64_t n) {
  return n < 1000 ? fmt::format("{}", n) : fmt::format("{},{:03}", n / 1000, n % 1000);
}

struct Arguments {
  std::uint64_t seed = 2015;
  int epochs = 200;
  std::string out = "out";
  bool compiled = false;
  Setting setting = Setting::relaxed;
};

constexpr double kLearningRates[] = {0.1, 0.3, 1.0};
constexpr std::int64_t kBatch = 60;
constexpr const char* kPlainColor = "#d1701f";
constexpr const char* kNormedColor = "#1f5fa8";

// --- the experiment
// ----------------------------------------------------------------------------------------------------

// One network on its way through the experiment.
class Learner {
 public:
  Learner(bool normed, double lr, const Arguments& arguments)
      : net_(demo::network(normed, arguments.seed)),
        sgd_(net_.parameters(), {.lr = lr}),
        compiled_(arguments.compiled),
        program_([this](const Var& x, const Var& labels) { learn(x, labels); }, {arguments.setting}) {}

  void step(const nn::Dataset& batch) {
    if (compiled_) return program_(batch.x, batch.labels);
    tape_.step([&] { learn(tape_.leaf(batch.x, "x"), tape_.leaf(batch.labels, "labels")); });
  }
  void test(std::int64_t step, const nn::Dataset& data) {
    curve_.push_back({static_cast<double>(step), 100 * nn::accuracy(net_, data)});
  }

  const std::vector<demo::Point>& curve() const { return curve_; }
  double accuracy() const { return curve_.back().y; }
  /// The first tested step with at least this accuracy, or null.
  const demo::Point* reached(double accuracy) const {
    const auto at = std::ranges::find_if(curve_, [&](const demo::Point& p) { return p.y >= accuracy; });
    return at == curve_.end() ? nullptr : &*at;
  }

 private:
  void learn(const Var& x, const Var& labels) {
    // Staged, like its batch normalization: a program can keep the bits of that.
    const Var loss = cross_entropy(net_(x), labels, {.kernel = CrossEntropyKernel::staged});
    sgd_.step(grad(loss, sgd_.parameters()));
  }

  nn::Sequential net_;
  nn::Sgd sgd_;
  Tape tape_;
  bool compiled_;
  Compiled<std::function<void(Var, Var)>> program_;
  std::vector<demo::Point> curve_;
};

// 10, 30, 100, 300 and so on: the steps that are printed.
std::int64_t next_line(std::int64_t step) {
  std::int64_t line = 10;
  for (bool three = true; line <= step; three = !three) line = three ? line * 3 : line / 3 * 10;
  return line;
}

// Often while much happens, then ever more rarely, and whenever a line is printed.
std::int64_t next_test(std::int64_t step) {
  return std::min(step + std::max<std::int64_t>(step / 13, step < 20 ? 1 : 2), next_line(step));
}

struct Pair {
  double lr;
  Learner plain, normed;
  /// 90 % of what the better one reached in the end.
  double target() const { return 0.9 * std::max(plain.accuracy(), normed.accuracy()); }
};

void learn(Pair& pair, const nn::Split& data, const Arguments& arguments) {
  nn::Batches batches(data.train, kBatch, {.seed = arguments.seed, .drop_last = true});
  const std::int64_t last = arguments.epochs * batches.count();
  fmt::print("\n  learning rate {:.1f}\n\n    {:>7}   {:>9}   {:>10}\n", pair.lr, "step", "without", "with");
  demo::Progress progress(fmt::format("learning rate {:.1f}", pair.lr), last);
  std::int64_t step = 0;
  std::int64_t test = 0;
  const auto look = [&] {
    pair.plain.test(step, data.test);
    pair.normed.test(step, data.test);
    test = std::min(next_test(step), last);
    if (step != 1 && step != last && next_line(step - 1) != step) return;
    progress.clear();
    fmt::print("    {:>7}   {:7.1f} %   {:8.1f} %\n", count(step), pair.plain.accuracy(), pair.normed.accuracy());
    std::fflush(stdout);
  };
  for (int epoch = 0; epoch < arguments.epochs; ++epoch) {
    for (const nn::Dataset& batch : batches.epoch(epoch)) {
      pair.plain.step(batch);
      pair.normed.step(batch);
      if (++step >= test) look();
      progress.show(step,
                    fmt::format("without {:.1f} %, with {:.1f} %", pair.plain.accuracy(), pair.normed.accuracy()));
    }
  }
}

std::string_view how(const Arguments& arguments) {
  if (!arguments.compiled) return "op by op";
  return arguments.setting == Setting::exact ? "as compiled programs with the bits of eager mode"
                                             : "as compiled programs";
}

void conclude(const std::vector<std::unique_ptr<Pair>>& pairs) {
  heading("Steps until 90 % of the better one's final accuracy");
  fmt::print("\n    {:>13}   {:>8}   {:>9}   {:>9}\n", "learning rate", "target", "without", "with");
  for (const auto& pair : pairs) {
    const auto steps = [&](const Learner& learner) {
      const demo::Point* at = learner.reached(pair->target());
      return at ? count(static_cast<std::int64_t>(at->x)) : std::string("never");
    };
    fmt::print("    {:13.1f}   {:6.1f} %   {:>9}   {:>9}\n", pair->lr, pair->target(), steps(pair->plain),
               steps(pair->normed));
  }
}

demo::Plot plot(const std::vector<std::unique_ptr<Pair>>& pairs) {
  demo::Plot plot{
      "Handwritten digits, with and without batch normalization",
      "Three hidden layers of 100 sigmoids, batches of 60; circles: 90 % of the better one's final accuracy.",
      "training steps, logarithmic",
      "test accuracy, %",
      {}};
  for (const auto& pair : pairs) {
    demo::Panel panel{fmt::format("learning rate {:.1f}", pair->lr),
                      {{"without", kPlainColor, pair->plain.curve()},
                       {"with batch normalization", kNormedColor, pair->normed.curve()}},
                      {},
                      pair->target(),
                      fmt::format("{:.1f} %", pair->target())};
    for (const auto& [learner, color] :
         {std::pair(&pair->plain, kPlainColor), std::pair(&pair->normed, kNormedColor)}) {
      if (const demo::Point* at = learner->reached(pair->target())) {
        panel.marks.push_back({*at, fmt::format("{} steps", count(static_cast<std::int64_t>(at->x))), color});
      }
    }
    plot.panels.push_back(std::move(panel));
  }
  return plot;
}

// --- behind it
// ---------------------------------------------------------------------------------------------------------

Tensor normal(const Shape& shape, Random& random, double mean = 0, DType dtype = DType::f64) {
  Tensor tensor = Tensor::empty(shape, dtype);
  random.fill_normal(tensor, mean);
  return tensor;
}

// A batch norm's inputs, the weights of a random loss sum(dout * out), and what comes out of it.
struct Example {
  std::vector<Tensor> inputs;  // x, gamma, beta
  Tensor dout;

  Example(const Shape& shape, Random& random, DType dtype = DType::f64)
      : inputs{normal(shape, random, 0.5, dtype), normal({shape[1]}, random, 1, dtype),
               normal({shape[1]}, random, 0, dtype)},
        dout(normal(shape, random, 0, dtype)) {}

  Var out(Tape& tape, BatchNormKernel kernel, Vars& wrt) const {
    for (std::size_t i = 0; i < 3; ++i) wrt.push_back(tape.leaf(inputs[i]));
    return batch_norm(wrt[0], wrt[1], wrt[2], {.kernel = kernel});
  }
  /// out, dx, dgamma, dbeta.
  std::vector<Tensor> results(BatchNormKernel kernel) const {
    Tape tape;
    Vars wrt;
    const Var y = out(tape, kernel, wrt);
    std::vector<Tensor> results{y.value()};
    for (const Var& d : pullback(y, tape.leaf(dout), wrt)) results.push_back(d.value());
    return results;
  }
  double loss() const {
    Tape tape;
    Vars wrt;
    return sum(out(tape, BatchNormKernel::staged, wrt) * tape.leaf(dout)).item();
  }
  /// The derivative of the loss by one input, element by element, from two values beside it.
  Tensor differences(std::size_t input) const {
    constexpr double kStep = 1e-5;
    Tensor slopes = Tensor::empty(inputs[input].shape(), DType::f64);
    for (std::int64_t i = 0; i < slopes.numel(); ++i) {
      const auto beside = [&](double step) {
        Example moved = *this;
        moved.inputs[input].mutable_data<double>()[static_cast<std::size_t>(i)] += step;
        return moved.loss();
      };
      slopes.mutable_data<double>()[static_cast<std::size_t>(i)] = (beside(kStep) - beside(-kStep)) / (2 * kStep);
    }
    return slopes;
  }
};

// The largest difference, relative to the largest element.
double apart(const Tensor& a, const Tensor& b) {
  double difference = 0;
  double largest = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    difference = std::max(difference, std::abs(a.at(i) - b.at(i)));
    largest = std::max(largest, std::abs(a.at(i)));
  }
  return difference / largest;
}

void compare_gradients(std::uint64_t seed) {
  heading("Is the derived gradient right?");
  fmt::print(
      "\n  The backward pass of the nine steps is derived, not written. It is held against the hand-written\n"
      "  kernel and against finite differences. Largest difference, relative to the largest value:\n\n");
  Random random(seed, 2);
  const Example example({60, 8}, random);
  const std::vector<Tensor> staged = example.results(BatchNormKernel::staged);
  const std::vector<Tensor> fused = example.results(BatchNormKernel::fused);
  const Example trained({60, 100}, random, DType::f32);
  const std::vector<Disagreement> f32 =
      compare_batch_norm_kernels(trained.inputs[0], trained.inputs[1], trained.inputs[2]);
  fmt::print("    {:6}   {:>15}   {:>20}   {:>19}   {:>22}\n", "", "staged - fused", "staged - differences",
             "fused - differences", "staged - fused in f32");
  for (std::size_t i = 0; i < f32.size(); ++i) {
    const std::optional<Tensor> slopes = i == 0 ? std::nullopt : std::optional(example.differences(i - 1));
    const auto number = [&](const Tensor& t) { return slopes ? fmt::format("{:.1e}", apart(t, *slopes)) : "-"; };
    fmt::print("    {:6}   {:>15.1e}   {:>20}   {:>19}   {:>9.1e} (<= {:.1e})\n", f32[i].name,
               apart(staged[i], fused[i]), number(staged[i]), number(fused[i]), f32[i].difference, f32[i].bound);
  }
}

// The median of a run, in milliseconds.
double milliseconds(const std::function<void()>& run) {
  std::vector<double> times;
  const auto begin = std::chrono::steady_clock::now();
  const auto since = [](auto start) {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  };
  run();
  while (times.size() < 5 || (since(begin) < 150 && times.size() < 1000)) {
    const auto start = std::chrono::steady_clock::now();
    run();
    times.push_back(since(start));
  }
  std::ranges::nth_element(times, times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2));
  return times[times.size() / 2];
}

double milliseconds(const Example& example, BatchNormKernel kernel) {
  Tape tape;
  return milliseconds([&] {
    tape.step([&] {
      Vars wrt;
      const Var out = example.out(tape, kernel, wrt);
      pullback(out, tape.leaf(example.dout), wrt);
    });
  });
}

double milliseconds_compiled(const Example& example) {
  auto program = compile([](Var x, Var gamma, Var beta, Var dout) {
    const Var out = batch_norm(x, gamma, beta, {.kernel = BatchNormKernel::staged});
    Vars results = pullback(out, dout, {x, gamma, beta});
    results.push_back(out);
    return results;
  });
  return milliseconds([&] { program(example.inputs[0], example.inputs[1], example.inputs[2], example.dout); });
}

void compare_times(const Arguments& arguments, const nn::Dataset& data) {
  heading("What do nine steps cost?");
  fmt::print("\n  Forward and backward in f32, {} thread{}, median, in milliseconds:\n\n", threads(),
             threads() == 1 ? "" : "s");
  fmt::print("    {:>15}   {:>9}   {:>9}   {:>9}   {:>14}   {:>16}\n", "batch", "staged", "compiled", "fused",
             "staged / fused", "compiled / fused");
  for (const Shape& shape : {Shape{60, 100}, Shape{1024, 256}, Shape{16384, 256}}) {
    Random random(arguments.seed, 3);
    const Example example(shape, random, DType::f32);
    const double staged = milliseconds(example, BatchNormKernel::staged);
    const double compiled = milliseconds_compiled(example);
    const double fused = milliseconds(example, BatchNormKernel::fused);
    fmt::print("    {:>15}   {:9.3f}   {:9.3f}   {:9.3f}   {:14.1f}   {:16.1f}\n",
               fmt::format("{} x {}", shape[0], shape[1]), staged, compiled, fused, staged / fused, compiled / fused);
  }

  fmt::print("\n  A whole training step of the networks above, op by op and as one compiled program:\n\n");
  fmt::print("    {:>15}   {:>9}   {:>9}   {:>14}\n", "network", "op by op", "compiled", "times faster");
  nn::Batches batches(data, kBatch, {.seed = arguments.seed});
  const nn::Dataset batch = *batches.epoch(0).begin();
  for (const bool normed : {false, true}) {
    Arguments as = arguments;
    const auto time = [&](bool compiled) {
      as.compiled = compiled;
      Learner learner(normed, kLearningRates[0], as);
      return milliseconds([&] { learner.step(batch); });
    };
    const double eager = time(false);
    const double compiled = time(true);
    fmt::print("    {:>15}   {:9.3f}   {:9.3f}   {:14.1f}\n", normed ? "with" : "without", eager, compiled,
               eager / compiled);
  }
}

// --- files
// -------------------------------------------------------------------------------------------------------------

void write_graph(Files& files) {
  Random random(0);
  Tape tape;
  const Var x = tape.leaf(normal({60, 100}, random, 0, DType::f32), "x");
  const Var gamma = tape.leaf(Tensor::full({100}, 1), "gamma");
  const Var beta = tape.leaf(Tensor::zeros({100}), "beta");
  const Var out = batch_norm(x, gamma, beta);
  const Var dout = tape.leaf(normal({60, 100}, random, 0, DType::f32), "dout");
  pullback(out, dout, {x, gamma, beta});
  const std::string title = "Batch normalization in nine steps, and the backward pass derived from them";
  files.write("batchnorm.txt", "the graph of batch normalization, forward and backward, as text",
              dump(tape, {.title = title}));
  files.write("batchnorm.dot", "the same for Graphviz", dump(tape, {.format = DumpFormat::dot, .title = title}));
  write_dump(tape, files.add("batchnorm.svg", "and drawn"), {.format = DumpFormat::svg, .title = title});
}

void show_digits(const nn::Dataset& data) {
  constexpr std::string_view kShades = " .:-=+*#%@";
  for (std::int64_t row = 0; row < 8; ++row) {
    std::string line;
    for (std::int64_t digit = 0; digit < 5; ++digit) {
      for (std::int64_t column = 0; column < 8; ++column) {
        const double ink = data.x.at(digit * 64 + row * 8 + column);
        line.append(2, kShades[static_cast<std::size_t>(ink * 9.99)]);
      }
    }
    fmt::print("  {}\n", line.substr(0, line.find_last_not_of(' ') + 1));
  }
}

void run(const Arguments& arguments) {
  Files files(arguments.out);
  Random random(arguments.seed);
  const nn::Split data = nn::split(nn::read_digits(), 1437, random);

  fmt::print("Ebb: batch normalization on handwritten digits\n");
  fmt::print("==============================================\n\n");
  show_digits(data.train);
  fmt::print(
      "\n  {} digits to learn from, {} to be tested on. Two networks, 64 pixels - 100 - 100 - 100 - 10 classes,\n"
      "  sigmoids between, from the same random weights over the same batches of {}: one with batch\n"
      "  normalization before each sigmoid, in nine recorded steps, and one without. Seed {}, {} epochs.\n",
      count(data.train.size()), count(data.test.size()), kBatch, arguments.seed, arguments.epochs);

  heading("Test accuracy, without and with batch normalization");
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::unique_ptr<Pair>> pairs;
  for (const double lr : kLearningRates) {
    pairs.push_back(std::unique_ptr<Pair>(new Pair{lr, Learner(false, lr, arguments), Learner(true, lr, arguments)}));
    learn(*pairs.back(), data, arguments);
  }
  fmt::print("\n  Six networks trained in {:.1f} seconds, {}.\n",
             std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), how(arguments));
  conclude(pairs);
  files.write("accuracy.svg", "the curves of test accuracy", demo::svg(plot(pairs)));

  compare_gradients(arguments.seed);
  compare_times(arguments, data.train);
  write_graph(files);
  files.list();
}

}  // namespace

int main(int argc, char** argv) {
  Arguments arguments;
  bool quick = false;
  int threads = 0;
  CLI::App app("Trains two networks on handwritten digits, with and without batch normalization.");
  bool exact = false;
  app.add_flag("--quick", quick, "A tenth of the epochs");
  CLI::Option* const compile =
      app.add_flag("--compile", arguments.compiled, "Run the training steps as compiled programs");
  app.add_flag("--exact", exact, "Programs that keep the bits of eager mode: every number is the same")->needs(compile);
  app.add_option("--seed", arguments.seed, "Of the split, the weights and the batches")->capture_default_str();
  app.add_option("--epochs", arguments.epochs, "Passes over the training digits")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  app.add_option("--out", arguments.out, "Folder of the files")->capture_default_str();
  app.add_option("--threads", threads, "Threads of the kernels; all cores if left out")->check(CLI::Range(1, 1024));
  CLI11_PARSE(app, argc, argv);
  if (quick) arguments.epochs = std::max(1, arguments.epochs / 10);
  if (exact) arguments.setting = Setting::exact;
  try {
    if (threads > 0) set_threads(threads);
    run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
