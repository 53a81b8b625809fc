// Initialisers: how a weight begins. Each is a function that fills a tensor from a stream of random numbers, so that a
// seed says everything about a network's start.
#pragma once

#include <ebb/engine/random/philox.h>
#include <ebb/engine/tensor/tensor.h>

#include <functional>

namespace ebb::nn {

/// Fills a weight whose outputs are sums over `fan_in` inputs.
using Initializer = std::function<void(Tensor& weight, std::int64_t fan_in, Random& random)>;

/// Uniform within +- 1 / sqrt(fan_in), which is what torch's Linear begins with.
Initializer fan_in_uniform();
/// Uniform within +- gain sqrt(3 / fan_in) (He et al. 2015, arXiv 1502.01852): the variance is gain^2 / fan_in. The
/// gain of relu is sqrt(2).
Initializer kaiming_uniform(double gain = 1.4142135623730951);
/// Normal with the deviation gain / sqrt(fan_in).
Initializer kaiming_normal(double gain = 1.4142135623730951);
/// Normal with a deviation that does not look at the shape.
Initializer gaussian(double deviation, double mean = 0);
Initializer uniform(double lo, double hi);
Initializer constant(double value);

}  // namespace ebb::nn
