// The engine by itself: a tape without ops is still a tape.
#include <ebb/engine/dump/dump.h>
#include <ebb/engine/grad/grad.h>

#include <iostream>

int main() {
  ebb::Tape tape;
  const ebb::Var x = tape.leaf(ebb::Tensor::of({}, {2.0}), "x");
  const ebb::Var dx = ebb::grad(x, x);
  std::cout << ebb::dump(tape);
  return dx.item() == 1 ? 0 : 1;
}
