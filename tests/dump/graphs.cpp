#include "tests/dump/graphs.h"

namespace ebb::test {

NineSteps nine_steps(Tape& tape) {
  NineSteps g;
  g.x = tape.leaf(Tensor::of<double>({4, 3}, {1, -2, 0.5, 3, 0.25, -1, 2, 1.5, 4, -0.5, 1, 2.5}), "x");
  g.gamma = tape.leaf(Tensor::of<double>({3}, {1, 0.5, 2}), "gamma");
  g.beta = tape.leaf(Tensor::of<double>({3}, {0, 1, -1}), "beta");
  const Var mu = tape.name(mean(g.x, 0), "mu", "1");
  const Var xmu = tape.name(g.x - mu, "xmu", "2");
  const Var sq = tape.name(square(xmu), "sq", "3");
  const Var var = tape.name(mean(sq, 0), "var", "4");
  const Var shifted = var + 1e-5;
  tape.set_step(shifted, "5a");
  const Var sqrtvar = tape.name(sqrt(shifted), "sqrtvar", "5b");
  const Var ivar = tape.name(reciprocal(sqrtvar), "ivar", "6");
  const Var xhat = tape.name(xmu * ivar, "xhat", "7");
  const Var gammax = tape.name(g.gamma * xhat, "gammax", "8");
  g.out = tape.name(gammax + g.beta, "out", "9");
  g.dout = tape.leaf(Tensor::of<double>({4, 3}, {0.1, -0.2, 0.3, 0.5, 0.4, -0.1, -0.3, 0.2, 0.6, 0.7, -0.4, 0.2}), "dout");
  g.gradients = pullback(g.out, g.dout, {g.x, g.gamma, g.beta});
  return g;
}

}  // namespace ebb::test
