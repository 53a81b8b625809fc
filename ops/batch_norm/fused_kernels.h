// The hand-written fused batchnorm: two passes forward, two backward, over plain memory.
//
// The memory's limit is the plan: forward reads x twice and writes y, backward reads x and the
// cotangent twice and writes dx. Nothing of x's size is kept between them; what crosses is the mean
// and variance per channel, in f64. Results are the same bits for any number of threads. No call
// allocates once the calling thread is warm.
#pragma once

#include <cstdint>

namespace ebb::fused {

/// The shape [outer, channels, inner] of contiguous memory: [N, D] and channel-last have inner 1;
/// NCHW has outer N and inner H*W.
struct Extent {
  std::int64_t outer, channels, inner;

  std::int64_t per_channel() const { return outer * inner; }
  std::int64_t elements() const { return outer * channels * inner; }
};

// Below, m and sums are [2, channels]; gamma and beta are [channels] or null (1 and 0); T is float
// or double. `ct_is_scalar`: the cotangent is one element, read for all. An output may not overlap
// an input.

/// m = mean and biased variance of each channel; zeros where there are no elements.
template <class T>
void bn_moments(const T* x, Extent extent, double* m);

/// y = gamma * (x - mean) / sqrt(var + eps) + beta; y = beta where var + eps is 0.
template <class T>
void bn_apply(const T* x, const double* m, const T* gamma, const T* beta, double eps, Extent extent, T* y);

/// sums = sum(ct) and sum(ct * (x - mean)) of each channel.
template <class T>
void bn_sums(const T* x, const double* m, const T* ct, Extent extent, double* sums, bool ct_is_scalar = false);

/// The gradient of x through y, mean and variance:
/// gamma * r * (ct - sum(ct)/n - (x - mean) * r^2 * sum(ct * (x - mean))/n), r = 1 / sqrt(var +
/// eps); 0 where var + eps is 0.
template <class T>
void bn_dx(const T* x, const double* m, const T* gamma, const double* sums, const T* ct, double eps, Extent extent,
           T* dx, bool ct_is_scalar = false);

}  // namespace ebb::fused
