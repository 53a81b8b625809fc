// Inputs without a pattern: smooth values, each a number of f32, the same in every dtype.
#pragma once

#include <ebb/engine/tensor/tensor.h>

#include <cmath>

namespace ebb::test {

struct Wave {
  double phase = 0;
  double scale = 1;
  double shift = 0;
  DType dtype = DType::f32;
};

inline Tensor wave(const Shape& shape, const Wave& of = {}) {
  Tensor out = Tensor::zeros(shape, DType::f64);
  double k = of.phase;
  for (double& v : out.mutable_data<double>()) v = static_cast<float>(of.shift + of.scale * std::sin(k += 1.37));
  return out.to(of.dtype);
}

}  // namespace ebb::test
