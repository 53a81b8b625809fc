// What the tests of programs share: the same function in eager mode, and inputs without a pattern.
#pragma once

#include <ebb/ebb.h>

#include <cmath>
#include <functional>
#include <span>
#include <vector>

namespace ebb::test {

using Function = std::function<Vars(std::span<const Var>)>;

inline Tensor wave(const Shape& shape, double phase, DType dtype = DType::f32) {
  Tensor out = Tensor::zeros(shape, DType::f64);
  double k = phase;
  for (double& v : out.mutable_data<double>()) v = static_cast<float>(std::sin(k += 1.37));
  return out.to(dtype);
}

inline std::vector<Tensor> eager(const Function& f, const std::vector<Tensor>& inputs) {
  Tape tape;
  std::vector<Var> leaves;
  for (const Tensor& t : inputs) leaves.push_back(tape.leaf(t));
  std::vector<Tensor> out;
  for (const Var& result : f(leaves)) out.push_back(result.value());
  return out;
}

}  // namespace ebb::test
