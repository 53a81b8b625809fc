#include <ebb/nn/layers/linear.h>
#include <ebb/ops/linalg/matmul.h>
#include <fmt/format.h>

namespace ebb::nn {
namespace {

Tensor initial(const Shape& shape, DType dtype, const Initializer& initializer, std::int64_t fan_in, Random& random) {
  Tensor tensor = Tensor::empty(shape, dtype);
  initializer(tensor, fan_in, random);
  return tensor;
}

}  // namespace

Linear::Linear(std::int64_t in, std::int64_t out, const LinearOptions& options, Random& random) {
  if (in <= 0 || out <= 0) {
    throw ShapeError(fmt::format("linear: sizes must be positive, got {} inputs and {} outputs.", in, out));
  }
  weight_ = add_parameter("weight", initial({out, in}, options.dtype, options.initial_weight, in, random));
  if (options.bias) bias_ = add_parameter("bias", initial({out}, options.dtype, options.initial_bias, in, random));
}

Linear::Linear(Tensor weight, const Tensor* bias) {
  weight_ = add_parameter("weight", std::move(weight));
  if (bias) bias_ = add_parameter("bias", *bias);
}

Var Linear::forward(const Var& x) const {
  Tape& tape = x.tape();
  const Var y = matmul(x, tape.read(weight_), {.transpose_b = true});
  return bias_ ? y + tape.read(bias_) : y;
}

std::string Linear::describe() const {
  return fmt::format("Linear({}, {}{})", weight_.shape()[1], weight_.shape()[0], bias_ ? "" : ", bias=false");
}

std::unique_ptr<Module> Linear::new_like() const {
  const Tensor bias = bias_ ? bias_.value() : Tensor();
  return std::unique_ptr<Module>(new Linear(weight_.value(), bias_ ? &bias : nullptr));
}

}  // namespace ebb::nn
