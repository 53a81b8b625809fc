// Batches of matrix products: what the BLAS computes, and what is too small to be worth a call of it.
#pragma once

#include <cstdint>

namespace ebb::gemm {

/// One product: a [m, k] @ b [k, n], stored transposed where it says so, row-major and without gaps.
struct Product {
  std::int64_t m, n, k;
  bool transpose_a, transpose_b;
};

/// Where the matrices of a batch begin, in elements.
struct Batch {
  std::int64_t count;
  const std::int64_t* a;
  const std::int64_t* b;
};

/// out [count, m, n], one product after the other. Shares the work out over the pool; any number of threads gives the
/// same bits.
void run(const Product& p, const Batch& batch, const float* a, const float* b, float* out);
void run(const Product& p, const Batch& batch, const double* a, const double* b, double* out);

}  // namespace ebb::gemm
