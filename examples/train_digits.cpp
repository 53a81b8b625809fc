// Trains a small network on handwritten digits: the shortest program that does everything a training program does.
// Copy it and change it.
#include <ebb/ebb.h>
#include <fmt/format.h>

using namespace ebb;

int main() {
  // One seed says everything: the split, the initial weights, the order of the batches.
  Random random(2015);
  const auto [train, test] = nn::split(nn::read_digits(), 1437, random);

  // Before a batch normalization a bias would be taken away again with the mean.
  nn::Sequential net("net",                                                            //
                     nn::named("fc1", nn::Linear(64, 100, {.bias = false}, random)),   //
                     nn::named("bn1", nn::BatchNorm(100)), nn::Relu(),                 //
                     nn::named("fc2", nn::Linear(100, 100, {.bias = false}, random)),  //
                     nn::named("bn2", nn::BatchNorm(100)), nn::Relu(),                 //
                     nn::named("fc3", nn::Linear(100, 10, random)));
  fmt::print("{}\n", to_string(net));

  nn::Sgd sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4, .decay_vectors = false});
  nn::Batches batches(train, 60, {.seed = 1});

  Tape tape;
  for (int epoch = 0; epoch < 10; ++epoch) {
    double total = 0;
    for (const nn::Dataset& batch : batches.epoch(epoch)) {
      // A step records, commits the new values of parameters and running statistics, and forgets the graph.
      total += tape.step([&] {
        const Var x = tape.leaf(batch.x, "x");
        const Var loss = cross_entropy(net(x), tape.leaf(batch.labels, "labels"));
        sgd.step(grad(loss, sgd.parameters()));
        return loss.item();
      });
    }
    fmt::print("epoch {:2}   loss {:.4f}   test accuracy {:5.1f} %\n", epoch + 1,
               total / static_cast<double>(batches.count()), 100 * nn::accuracy(net, test));
  }
}
