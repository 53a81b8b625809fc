#include "tests/table/programs.h"

#include "tests/support/wave.h"

namespace ebb::test {
namespace {

Tensor wave(const Shape& shape, double phase, double scale = 1, double shift = 0) {
  return wave(shape, Wave{phase, scale, shift, DType::f64});
}

Tensor labels(std::int64_t n, std::int64_t classes) {
  Tensor out = Tensor::zeros({n}, DType::i64);
  std::int64_t k = 0;
  for (std::int64_t& v : out.mutable_data<std::int64_t>()) v = (k += 5) % classes;
  return out;
}

using In = std::span<const Var>;

// A gradient that is differentiated again: in a step, whose sweeps release what they recorded, it must be asked for.
Var kept_grad(const Var& y, const Var& x) { return grad(y, x, {.keep = true, .unused = Unused::zeros}); }

// A result and its gradients.
Vars with_gradients(const Var& y, In x) {
  Vars out{y};
  for (const Var& d : grad(y, x)) out.push_back(d);
  return out;
}

Var mlp(In in) {  // x, labels, w1, b1, w2, b2
  const Var h = tanh(matmul(in[0], in[2]) + in[3]);
  // Staged, which is what a trace records: then the exact setting has the same bits.
  return cross_entropy(matmul(h, in[4]) + in[5], in[1], {.kernel = CrossEntropyKernel::staged});
}

std::vector<Tensor> mlp_inputs() {
  return {wave({6, 5}, 0), labels(6, 3), wave({5, 8}, 1, 0.5), wave({8}, 2, 0.1), wave({8, 3}, 3, 0.5), wave({3}, 4)};
}

Var weighted_norm(In in) {  // x, gamma, beta
  return sum(square(batch_norm(in[0], in[1], in[2])) * sigmoid(in[0]));
}

}  // namespace

const std::vector<Program>& programs() {
  static const std::vector<Program> list{
      {"diamond",
       {wave({3, 4}, 0)},
       [](In in) {
         const Var a = square(in[0]);
         return with_gradients(sum(exp(-a) * sigmoid(a) + a), in);
       }},
      {"fan_out",
       {wave({5}, 0)},
       [](In in) {
         Var total = in[0];
         for (int i = 1; i < 20; ++i) total = total + in[0] * (1.0 / i) * in[0];
         return with_gradients(sum(total), in);
       }},
      {"reuse",
       {wave({4, 4}, 0, 0.5)},
       [](In in) {
         Var x = in[0];
         for (int i = 0; i < 3; ++i) x = matmul(x, x) - transpose(x, 0, 1) * x;
         return with_gradients(sum(x), in);
       }},
      {"doublings",
       {wave({3}, 0)},
       [](In in) {
         Var x = in[0];
         for (int i = 0; i < 40; ++i) x = x + x;
         return with_gradients(sum(x), in);
       }},
      {"broadcasts",
       {wave({2, 1, 3}, 0), wave({4, 1}, 1), wave({}, 2)},
       [](In in) { return with_gradients(mean((in[0] + in[1]) * in[2] / (2.0 + square(in[1]))), in); }},
      {"mlp", mlp_inputs(),
       [](In in) {
         return with_gradients(mlp(in), std::vector<Var>{in[0], in[2], in[3], in[4], in[5]});
       }},
      {"normalised",
       {wave({6, 3}, 0), wave({3}, 1, 0.3, 1), wave({3}, 2)},
       [](In in) { return with_gradients(weighted_norm(in), in); },
       1e-4},
      {"indexing",
       {wave({5, 3}, 0), labels(4, 5)},
       [](In in) {
         const Var rows = gather(in[0], broadcast_to(reshape(in[1], {4, 1}), Shape{4, 3}), 0);
         const Var cut = slice(concat({rows, in[0]}, 0), {1, 0}, {9, 3}, {2, 2});
         return with_gradients(sum(square(permute(pad(cut, {1, 0}, {0, 2}), {1, 0})) * 0.5), std::vector<Var>{in[0]});
       }},
      {"grad_of_grad",
       {wave({3, 4}, 0)},
       [](In in) {
         const Var g = kept_grad(sum(tanh(in[0]) * exp(in[0])), in[0]);
         return with_gradients(sum(square(g)), in);
       }},
      {"penalty_of_mlp", mlp_inputs(),
       [](In in) {
         const Var g = kept_grad(mlp(in), in[0]);
         return with_gradients(sum(square(g)), std::vector<Var>{in[0], in[2], in[3], in[4], in[5]});
       },
       1e-4},
      {"third_derivative",
       {wave({4}, 0)},
       [](In in) {
         Var d = log(1.0 + exp(in[0]));
         for (int i = 0; i < 3; ++i) d = kept_grad(sum(d), in[0]);
         return Vars{d};
       },
       1e-4},
      {"large",
       {wave({70, 90}, 0), wave({90}, 1, 0.3, 1), wave({70, 1}, 2)},
       [](In in) {
         const Var centred = in[0] - mean(in[0], 0);
         const Var y = sigmoid(centred * in[1] + in[2]) / (1.5 + square(centred));
         return with_gradients(sum(y * y) + max(y), in);
       },
       1e-4},
      {"deep_chain",
       {wave({8}, 0)},
       [](In in) {
         Var x = in[0];
         for (int i = 0; i < 20000; ++i) x = i % 2 != 0 ? x * 1.0009765625 : x - 0.0009765625 * x;
         return with_gradients(sum(x), in);
       },
       1e-2},
  };
  return list;
}

const std::vector<Driver>& drivers() {
  static const auto eager = [](DType dtype) {
    return [dtype](const Function& f, const std::vector<Tensor>& inputs) {
      Tape tape;
      std::vector<Var> leaves;
      for (const Tensor& t : inputs) leaves.push_back(tape.leaf(is_floating(t.dtype()) ? t.to(dtype) : t));
      std::vector<Tensor> out;
      for (const Var& result : f(leaves)) out.push_back(result.value().to(DType::f64));
      return out;
    };
  };
  // Anomaly mode computes every op at once; what runs in loops otherwise has the same bits.
  static const auto one_by_one = [](const Function& f, const std::vector<Tensor>& inputs) {
    Tape tape;
    tape.set_anomaly(true);
    std::vector<Var> leaves;
    for (const Tensor& t : inputs) leaves.push_back(tape.leaf(t));
    std::vector<Tensor> out;
    for (const Var& result : f(leaves)) out.push_back(result.value());
    return out;
  };
  // As a training step runs: sweeps release what they no longer need, and the tape is used again.
  static const auto step = [](DType dtype) {
    return [dtype](const Function& f, const std::vector<Tensor>& inputs) {
      Tape tape;
      std::vector<Tensor> out;
      for (int round = 0; round < 3; ++round) {
        out = tape.step([&] {
          std::vector<Var> leaves;
          for (const Tensor& t : inputs) leaves.push_back(tape.leaf(is_floating(t.dtype()) ? t.to(dtype) : t));
          std::vector<Tensor> results;
          for (const Var& result : f(leaves)) results.push_back(result.value().to(DType::f64));
          return results;
        });
      }
      return out;
    };
  };
  // Twice, so that a program that keeps something it should not is found out.
  static const auto compiled = [](DType dtype, Setting setting) {
    return [=](const Function& f, const std::vector<Tensor>& inputs) {
      auto fast = compile([&](std::span<const Var> in) { return f(in); }, {.setting = setting});
      std::vector<Tensor> converted;
      for (const Tensor& t : inputs) converted.push_back(is_floating(t.dtype()) ? t.to(dtype) : t);
      fast(std::span<const Tensor>(converted));
      std::vector<Tensor> out;
      for (const Tensor& result : fast(std::span<const Tensor>(converted))) out.push_back(result.to(DType::f64));
      return out;
    };
  };
  static const std::vector<Driver> list{
      {"eager_f64", DType::f64, eager(DType::f64)},
      {"eager_f32", DType::f32, eager(DType::f32)},
      {"one_by_one_f64", DType::f64, one_by_one},
      {"step_f64", DType::f64, step(DType::f64)},
      {"step_f32", DType::f32, step(DType::f32)},
      {"exact_f64", DType::f64, compiled(DType::f64, Setting::exact)},
      {"relaxed_f64", DType::f64, compiled(DType::f64, Setting::relaxed), 1e-9},
      {"relaxed_f32", DType::f32, compiled(DType::f32, Setting::relaxed)},
  };
  return list;
}

}  // namespace ebb::test
