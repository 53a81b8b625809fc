// What compile_bench measures: small models and a whole training step, by whoever computes them. Each works on the same
// inputs and is checked against f64 before it is timed. (No C++20 here: with Clang 14, libtorch's headers want an older
// standard.)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ebb::bench {

struct ModelInput {
  const void* data;  // f32, or i64
  std::vector<std::int64_t> shape;
  bool integer;
};

/// One model on one set of inputs, which outlive it.
struct ModelCall {
  std::string model;
  std::vector<ModelInput> inputs;
};

class Model {
 public:
  virtual ~Model() = default;
  /// Called before each sample: sets what is global to the process.
  virtual void activate(int threads) = 0;
  virtual void run() = 0;
  /// What the latest run gave, in an order that all share.
  virtual std::vector<std::vector<double>> results() const = 0;
  /// The most memory that a run takes beside inputs and parameters, in bytes; 0 if it is not known.
  virtual std::size_t peak_bytes() { return 0; }
};

/// The models' names, and what they take:
///   norm_add_relu   x, residual, gamma, beta, dout   -> y, dx, dresidual, dgamma, dbeta
///   layer_norm      x, gamma, beta, dout             -> y, dx, dgamma, dbeta
///   cross_entropy   logits, labels                   -> loss, dlogits
///   gelu            x, dout                          -> y, dx
///   mlp             x, labels, each parameter        -> loss, each parameter after a step of SGD
/// norm_add_relu has its channels at axis 1. The mlp has three blocks of a matmul, batchnorm and relu, then a linear
/// layer; the first run begins with the parameters given.
std::unique_ptr<Model> make_libtorch_model(const ModelCall& call);

/// The MLP's eleven products alone, forward and backward, at OpenBLAS's full rate; null for other models.
std::unique_ptr<Model> make_matmuls_alone(const ModelCall& call);

constexpr double kMlpLearningRate = 0.01;

}  // namespace ebb::bench
