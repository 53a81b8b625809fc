#include "tests/dump/support/graphs.h"

#include <string>

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
  g.dout =
      tape.leaf(Tensor::of<double>({4, 3}, {0.1, -0.2, 0.3, 0.5, 0.4, -0.1, -0.3, 0.2, 0.6, 0.7, -0.4, 0.2}), "dout");
  g.gradients = pullback(g.out, g.dout, {g.x, g.gamma, g.beta});
  return g;
}

Var two_layers(Tape& tape) {
  const Var x = tape.leaf(Tensor::full({8, 4}, 0.5, DType::f64), "x");
  const Var labels = tape.leaf(Tensor::full({8, 2}, 0.25, DType::f64), "labels");
  Vars weights;
  Var h = x;
  {
    const auto net = tape.scope("net");
    for (const std::int64_t width : {3, 2}) {
      const auto layer = tape.scope(width == 3 ? "fc1" : "fc2");
      const Var w = tape.leaf(Tensor::full({h.shape()[1], width}, 0.1, DType::f64), "w");
      const Var b = tape.leaf(Tensor::full({width}, 0, DType::f64), "b");
      weights.push_back(w);
      weights.push_back(b);
      h = tape.name(sigmoid(matmul(h, w) + b), "h");
    }
  }
  const Var loss = tape.name(mean(square(h - labels)), "loss");
  grad(loss, weights);
  return loss;
}

void second_order(Tape& tape) {
  const Var x = tape.leaf(Tensor::full({}, 2, DType::f64), "x");
  const Var y = tape.name(x * x * x, "y");
  const Var dx = grad(y, x);
  const Var ddx = grad(dx, x);
  tape.name(ddx + 1, "more");
}

void hostile_names(Tape& tape) {
  const Var a = tape.leaf(Tensor::full({2}, 1, DType::f32), "\"><script>alert('&')</script>");
  const Var b = tape.leaf(Tensor::full({2}, 2, DType::f32), "line one\nline two\t\x01\\N\\");
  const auto scope = tape.scope("a \"scope\" <b>");
  const Var c = tape.name(a * b, "\xce\xb3\xc2\xb7x\xcc\x82 = \xff", "<5>");
  tape.name(c, "]; } n0 [label=x");
  const Var long_name = tape.name(neg(c), std::string(300, 'w'));
  pullback(long_name, tape.leaf(Tensor::full({2}, 1, DType::f32), "d"), {a, b});
}

void batch_norm_of_images(Tape& tape) {
  const Var x = tape.leaf(Tensor::full({2, 3, 4, 4}, 1), "x");
  const Var gamma = tape.leaf(Tensor::full({3}, 1), "gamma");
  const Var beta = tape.leaf(Tensor::full({3}, 0), "beta");
  const Var out = batch_norm(x, gamma, beta);
  pullback(out, tape.leaf(Tensor::full({2, 3, 4, 4}, 1), "dout"), {x, gamma, beta});
}

Var blocks(Tape& tape, int count) {
  const Var x = tape.leaf(Tensor::full({4, 3}, 0.5, DType::f64), "x");
  Vars weights;
  Var h = x;
  {
    const auto net = tape.scope("net");
    for (int i = 1; i <= count; ++i) {
      const auto block = tape.scope("block" + std::to_string(i));
      const Var before = h;
      {
        const auto scope = tape.scope("fc");
        weights.push_back(tape.leaf(Tensor::full({3, 3}, 0.1, DType::f64), "w"));
        h = tape.name(matmul(h, weights.back()), "h");
      }
      h = tape.name(tanh(h) + before, "out");
    }
  }
  const Var loss = tape.name(mean(square(h)), "loss");
  grad(loss, weights);
  return loss;
}

const std::map<std::string, void (*)(Tape&)>& graphs() {
  static const std::map<std::string, void (*)(Tape&)> all{
      {"nine_steps", [](Tape& tape) { nine_steps(tape); }},
      {"scopes", [](Tape& tape) { two_layers(tape); }},
      {"blocks", [](Tape& tape) { blocks(tape, 5); }},
      {"batch_norm", batch_norm_of_images},
      {"second_order", second_order},
      {"hostile", hostile_names},
  };
  return all;
}

}  // namespace ebb::test
