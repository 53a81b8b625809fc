// Tolerances: how far a right result may be from the true one. The one place that says so.
//
// Every bound is a number of units in the last place times the magnitude that the rounding errors are relative to. The
// magnitude of a sum is the sum of the magnitudes, not the sum: 1e8 - 1e8 has an error of 1e8 ulp, not of 0. Row::ulp
// says how many units one op may lose; the functions here say how that grows with the length of a reduction. Bounds are
// absolute: a value is right if |value - truth| <= bound.
#pragma once

#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <limits>

namespace ebb {

/// The distance from 1 to the next number: 2^-23 for f32, 2^-52 for f64, 0 for types that do not round.
constexpr double epsilon(DType dtype) { return dtype == DType::f32 ? 0x1p-23 : dtype == DType::f64 ? 0x1p-52 : 0.0; }

/// The smallest normal number. Below it the spacing no longer shrinks, so no bound is smaller than its ulp.
constexpr double smallest_normal(DType dtype) {
  return dtype == DType::f32 ? 0x1p-126 : dtype == DType::f64 ? std::numeric_limits<double>::min() : 0.0;
}

/// |a - b|: 0 for the same infinity or two NaN, infinite for one of them.
double distance(double a, double b);

/// The largest finite magnitude; 0 if there is none.
double largest(const Tensor& x);

/// One unit in the last place of a number of this magnitude.
double ulp_of(DType dtype, double magnitude);

/// An elementwise op that is right to `ulp` units in the last place of its result.
inline double elementwise_bound(DType dtype, double ulp, double result) { return ulp * ulp_of(dtype, result); }

/// A reduction of n elements that are `magnitude` in sum of absolute values. Blocks are added in the dtype and carried
/// in double, so in f32 the length does not matter; in f64 the carry rounds too, like a random walk over the blocks.
double reduction_bound(DType dtype, double ulp, std::int64_t n, double magnitude);

/// A sum of k products, |a| @ |b| being `magnitude`: k ulp at worst, whatever the order of the sum.
double contraction_bound(DType dtype, std::int64_t k, double magnitude);

/// How far two right batchnorm kernels may be apart in one channel of n values, in f32 or f64.
///
/// The staged kernel rounds the mean to x's dtype: an error of eps / 2 |mean|, which the division by the deviation
/// turns into eps / 2 |mean| / deviation in every normalised value, whatever the kernel does next (at |mean| /
/// deviation 1e4 in f32: 1e-4; at 1e6: 7e-3, measured relative to the largest output). It enters the gradient through x
/// hat up to twice, each time weighed by an average of the cotangents: hence 4. The fused kernel holds the mean as a
/// high and a low part and is right to 8 ulp at any mean. The rest is the rounding of the nine steps and of sums of n
/// terms.
///
/// `mean_over_deviation` is |mean| / sqrt(variance + eps). `scale` is what the errors are relative to: the largest
/// output, with |gamma| and |beta| added, for the output; |gamma| / deviation times the largest cotangent for dx; the
/// sum of the cotangents' magnitudes for dgamma and dbeta.
double batch_norm_bound(DType dtype, double mean_over_deviation, std::int64_t n, double scale);

/// A whole program of `ops` recorded ops in a row on values of `magnitude`, each op right to `ulp`.
double program_bound(DType dtype, double ulp, std::int64_t ops, double magnitude);

}  // namespace ebb
