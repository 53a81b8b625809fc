// A user's first program: a layer, a loss, gradients, one step, digits from the library.
#include <ebb/ebb.h>

#include <iostream>

int main() {
  const ebb::nn::Dataset digits = ebb::nn::read_digits();
  ebb::Random random(7);
  ebb::nn::Linear layer(64, 10, random);
  ebb::nn::Sgd sgd(layer.parameters(), {.lr = 0.1});
  ebb::Tape tape;
  const auto step = [&] {
    const ebb::Var loss = ebb::cross_entropy(layer(tape.leaf(digits.x, "x")), tape.leaf(digits.labels, "labels"));
    sgd.step(ebb::grad(loss, sgd.parameters()));
    return loss.item();
  };
  const double first = tape.step(step);
  const double second = tape.step(step);
  std::cout << "loss " << first << " -> " << second << "\n";
  return second < first ? 0 : 1;
}
