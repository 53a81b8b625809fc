#include <ebb/engine/check/tolerance.h>

#include <algorithm>
#include <cmath>

namespace ebb {

double distance(double a, double b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double d = std::fabs(a - b);
  return std::isnan(d) ? std::numeric_limits<double>::infinity() : d;
}

double largest(const Tensor& x) {
  double most = 0;
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    const double magnitude = std::fabs(x.at(i));
    if (std::isfinite(magnitude)) most = std::max(most, magnitude);
  }
  return most;
}

double ulp_of(DType dtype, double magnitude) {
  if (!is_floating(dtype) || !std::isfinite(magnitude)) return 0;
  magnitude = std::max(std::fabs(magnitude), smallest_normal(dtype));
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = m 2^exponent, m in [0.5, 1)
  return std::ldexp(epsilon(dtype), exponent - 1);
}

double reduction_bound(DType dtype, double ulp, std::int64_t n, double magnitude) {
  const double blocks = dtype == DType::f64 ? static_cast<double>(n) / 64 : 0;
  return (ulp + std::sqrt(blocks)) * epsilon(dtype) * magnitude + ulp_of(dtype, 0);
}

double contraction_bound(DType dtype, std::int64_t k, double magnitude) {
  return static_cast<double>(std::max<std::int64_t>(k, 4)) * epsilon(dtype) * magnitude + ulp_of(dtype, 0);
}

double batch_norm_bound(DType dtype, double mean_over_deviation, std::int64_t n, double scale) {
  const double terms = static_cast<double>(std::max<std::int64_t>(n, 1));
  const double block = 4 * std::sqrt(std::min(terms, 64.0));  // terms that are added in the dtype
  const double carry = dtype == DType::f64 ? std::sqrt(terms / 64) : 0;
  return epsilon(dtype) * (16 + block + carry + 4 * std::fabs(mean_over_deviation)) * scale + ulp_of(dtype, 0);
}

double program_bound(DType dtype, double ulp, std::int64_t ops, double magnitude) {
  return ulp * static_cast<double>(ops) * epsilon(dtype) * magnitude + ulp_of(dtype, 0);
}

}  // namespace ebb
