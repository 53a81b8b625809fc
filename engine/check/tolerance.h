// The tolerances: how far two computations of the same thing may be apart. Every test, and batch_norm's kernel `both`,
// takes its bound from here, as a function of dtype, the row's error bound and how many values were summed.
#pragma once

#include <ebb/engine/tensor/dtype.h>

#include <cmath>
#include <cstdint>
#include <limits>

namespace ebb {

/// The spacing of a dtype's numbers just above 1.
inline double epsilon(DType dtype) {
  return dtype == DType::f32 ? std::numeric_limits<float>::epsilon() : std::numeric_limits<double>::epsilon();
}

/// How far the staged and the fused batchnorm may be apart in one channel of n values.
///
/// The staged form rounds the mean to x's dtype, which shifts every centred value by up to half an ulp of the mean: in
/// units of the deviation that is epsilon * |mean| / deviation, and it is the larger part once the ratio passes 10. The
/// rest is rounding of the sums, whose blocks are carried in double. `magnitude` is what the error is relative to.
inline double batch_norm_bound(DType dtype, double mean_over_deviation, std::int64_t n, double magnitude) {
  const double sums = std::sqrt(static_cast<double>(n < 64 ? n : 64));
  return epsilon(dtype) * (16 + 4 * sums + 4 * mean_over_deviation) * magnitude;
}

}  // namespace ebb
