#include <ebb/nn/init.h>

#include <algorithm>
#include <cmath>

namespace ebb::nn {
namespace {

double root_of(std::int64_t fan_in) { return std::sqrt(static_cast<double>(std::max<std::int64_t>(fan_in, 1))); }

}  // namespace

Initializer fan_in_uniform() {
  return [](Tensor& weight, std::int64_t fan_in, Random& random) {
    const double bound = 1 / root_of(fan_in);
    random.fill_uniform(weight, -bound, bound);
  };
}

Initializer kaiming_uniform(double gain) {
  return [gain](Tensor& weight, std::int64_t fan_in, Random& random) {
    const double bound = gain * std::sqrt(3.0) / root_of(fan_in);
    random.fill_uniform(weight, -bound, bound);
  };
}

Initializer kaiming_normal(double gain) {
  return [gain](Tensor& weight, std::int64_t fan_in, Random& random) {
    random.fill_normal(weight, 0, gain / root_of(fan_in));
  };
}

Initializer gaussian(double deviation, double mean) {
  return [=](Tensor& weight, std::int64_t, Random& random) { random.fill_normal(weight, mean, deviation); };
}

Initializer uniform(double lo, double hi) {
  return [=](Tensor& weight, std::int64_t, Random& random) { random.fill_uniform(weight, lo, hi); };
}

Initializer constant(double value) {
  return [=](Tensor& weight, std::int64_t, Random&) { weight = Tensor::full(weight.shape(), value, weight.dtype()); };
}

}  // namespace ebb::nn
