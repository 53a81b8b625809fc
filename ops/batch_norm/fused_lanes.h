// The seam between the fused batchnorm's driver and its lanes.
//
// The driver (fused_kernels.cpp) decides who works on what; the lanes (fused_lanes.cpp, compiled
// once per instruction set) do the arithmetic of one part. Only plain numbers and pointers cross,
// so that no inline function of another header is ever compiled with the flags of a newer
// instruction set.
#pragma once

#include <cstdint>

namespace ebb::fused {

/// One part of a tensor [outer, channels, inner]: channels [c0, c1) of units [u0, u1). A unit is a
/// row where inner is 1, and otherwise one of the `pieces` of a run, `piece` elements long (the
/// last may be shorter).
struct Part {
  std::int64_t channels, inner;
  std::int64_t c0, c1;
  std::int64_t u0, u1;
  std::int64_t pieces, piece;
  bool stream;      // Write past the caches.
  bool sequential;  // Read in the order of memory, as prefetchers like it.
};

/// The cotangent: a tensor like x, or one element that stands for all.
template <class T>
struct Cotangent {
  const T* data;
  bool scalar;
};

/// What is known per channel: arrays over all channels. gamma and beta may be null.
template <class T>
struct Channels {
  const double* mean;
  const double* var;
  const T* gamma;
  const T* beta;
  double eps;
};

/// The lanes of one instruction set.
template <class T>
struct Lanes {
  /// Mean and sum of squared deviations of a part, into the part's channels of `mean` and `m2`;
  /// returns the number of elements per channel.
  std::int64_t (*moments)(const Part&, const T* x, double* mean, double* m2);
  /// Merges `parts` results of `moments`, [parts][2][channels], in order, into mean and biased
  /// variance of [c0, c1).
  void (*merge_moments)(const double* of_parts, const std::int64_t* counts, std::int64_t parts, std::int64_t channels,
                        std::int64_t c0, std::int64_t c1, double* mean, double* var);
  /// sum(ct) and sum(ct * (x - mean)) of a part.
  void (*sums)(const Part&, const T* x, const double* mean, Cotangent<T> ct, double* sum, double* dot);
  void (*apply)(const Part&, const T* x, const Channels<T>&, T* y);
  void (*dx)(const Part&, const T* x, const Channels<T>&, const double* sum, const double* dot, double count,
             Cotangent<T> ct, T* dx);
};

namespace base {
template <class T>
const Lanes<T>& lanes();
}
namespace avx2 {
template <class T>
const Lanes<T>& lanes();
}
namespace avx512 {
template <class T>
const Lanes<T>& lanes();
}

}  // namespace ebb::fused
