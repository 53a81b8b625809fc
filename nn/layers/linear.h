// The linear layer.
#pragma once

#include <ebb/nn/init.h>
#include <ebb/nn/module.h>

namespace ebb::nn {

struct LinearOptions {
  bool bias = true;  ///< superfluous before a batch normalization, which takes the mean away
  DType dtype = DType::f32;
  Initializer initial_weight = fan_in_uniform();
  Initializer initial_bias = fan_in_uniform();
};

/// x W^T + b.
///
/// Shapes    x [..., in], weight [out, in], bias [out] -> [..., out].
/// Gradient  dx = ct W, dweight = ct^T x, dbias = sum(ct).
/// Throws    ShapeError if x's last axis is not `in`; DTypeError if x has another dtype than the weight.
/// Example   nn::Linear fc(64, 100, {.bias = false}, random);
class Linear : public Module {
 public:
  Linear(std::int64_t in, std::int64_t out, const LinearOptions& options, Random& random);
  Linear(std::int64_t in, std::int64_t out, Random& random) : Linear(in, out, LinearOptions(), random) {}

  const State& weight() const { return weight_; }
  const State& bias() const { return bias_; }  ///< empty if there is none
  std::string_view kind() const override { return "Linear"; }
  std::string describe() const override;

 protected:
  Var forward(const Var& x) const override;
  std::unique_ptr<Module> new_like() const override;

 private:
  Linear(Tensor weight, const Tensor* bias);

  State weight_, bias_;
};

}  // namespace ebb::nn
