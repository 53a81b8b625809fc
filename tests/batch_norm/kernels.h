// What the tests of ops::batch_norm share: problems drawn at random, both kernels run on them forward and backward, and
// the same in long double by the closed form, which no kernel uses.
#pragma once

#include <ebb/ebb.h>

#include <optional>
#include <string>
#include <vector>

namespace ebb::test {

inline constexpr BatchNormKernel kKernels[] = {BatchNormKernel::staged, BatchNormKernel::fused};
inline std::string name(BatchNormKernel kernel) { return kernel == BatchNormKernel::staged ? "staged" : "fused"; }

/// Numbers from a normal distribution.
Tensor samples(const Shape& shape, std::uint64_t seed = 0, DType dtype = DType::f64, double mean = 0.5,
               double deviation = 2);

/// Inputs and a cotangent for a call of batch_norm.
struct Problem {
  Tensor x;
  std::optional<Tensor> gamma, beta;
  Tensor dout;
  BatchNormOptions options;

  std::int64_t channels() const;
  std::int64_t count() const { return x.numel() / channels(); }
  /// The channel that element i of x belongs to.
  std::int64_t channel_of(std::int64_t i) const;
};
Problem problem(const Shape& shape, DType dtype = DType::f64, double mean = 0.5, double deviation = 2,
                std::uint64_t seed = 0, int channel_axis = 1);

/// out and its pullback; dgamma and dbeta are [0] where there is no such parameter.
struct Results {
  Tensor out, dx, dgamma, dbeta;
};
Results run(const Problem& p, BatchNormKernel kernel);
/// The closed form in long double, rounded to f64; the kernels must come close.
Results truth(const Problem& p);

void expect_identical(const Results& a, const Results& b, const std::string& what);
/// The largest |a - b|, relative to the largest |b|; NaN in both is no difference.
double relative_difference(const Tensor& a, const Tensor& b);

/// The largest |out - truth| in units in the last place of the largest |out| of the element's channel.
double worst_ulp(const Problem& p, const Tensor& out, const Tensor& truth);

}  // namespace ebb::test
