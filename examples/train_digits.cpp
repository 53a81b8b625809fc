// Trains a small network on handwritten digits: the shortest program that does everything a training program does.
// Copy it and change it.
#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <chrono>

using namespace ebb;

int main(int argc, char** argv) {
  bool compiled = false;
  bool exact = false;
  CLI::App app("Trains a network on handwritten digits.");
  app.add_flag("--compile", compiled, "Run the training step as a compiled program");
  app.add_flag("--exact", exact,
               "Staged batch normalization, whose bits a program keeps: the numbers are the same then");
  CLI11_PARSE(app, argc, argv);

  // One seed says everything: the split, the initial weights, the order of the batches.
  Random random(2015);
  const auto [train, test] = nn::split(nn::read_digits(), 1437, random);

  // Before a batch normalization a bias would be taken away again with the mean.
  nn::BatchNormLayerOptions norm;
  CrossEntropyOptions entropy;
  if (exact) {
    norm.kernel = BatchNormKernel::staged;
    entropy.kernel = CrossEntropyKernel::staged;
  }
  nn::Sequential net("net",                                                            //
                     nn::named("fc1", nn::Linear(64, 100, {.bias = false}, random)),   //
                     nn::named("bn1", nn::BatchNorm(100, norm)), nn::Relu(),           //
                     nn::named("fc2", nn::Linear(100, 100, {.bias = false}, random)),  //
                     nn::named("bn2", nn::BatchNorm(100, norm)), nn::Relu(),           //
                     nn::named("fc3", nn::Linear(100, 10, random)));
  fmt::print("{}\n", to_string(net));

  nn::Sgd sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4, .decay_vectors = false});
  nn::Batches batches(train, 60, {.seed = 1});

  // A training step is one function, which runs as it stands, or compiled: traced once for each size of batch.
  const auto learn = [&](Var x, Var labels) {
    const Var loss = cross_entropy(net(x), labels, entropy);
    sgd.step(grad(loss, sgd.parameters()));
    return loss;
  };
  auto program = compile(learn, {.setting = exact ? Setting::exact : Setting::relaxed});

  Tape tape;
  const auto begin = std::chrono::steady_clock::now();
  for (int epoch = 0; epoch < 10; ++epoch) {
    double total = 0;
    for (const nn::Dataset& batch : batches.epoch(epoch)) {
      if (compiled) {
        total += program(batch.x, batch.labels).item();
      } else {
        // A step records, commits the new values of parameters and running statistics, and forgets the graph.
        total += tape.step([&] { return learn(tape.leaf(batch.x, "x"), tape.leaf(batch.labels, "labels")).item(); });
      }
    }
    fmt::print("epoch {:2}   loss {:.4f}   test accuracy {:5.1f} %\n", epoch + 1,
               total / static_cast<double>(batches.count()), 100 * nn::accuracy(net, test));
  }
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
  fmt::print("{:.2f} seconds, {}\n", taken.count(),
             compiled ? fmt::format("{} programs compiled", program.traces()) : std::string("op by op"));
}
