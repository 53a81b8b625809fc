// OpenBLAS as anyone would call it: its own threads, the whole product at once.
#include <cblas.h>

#include "bench/peers/gemm.h"

namespace ebb::bench {

void openblas_matmul(const Product& p, const float* a, const float* b, float* out, int threads) {
  const auto size = [](std::int64_t n) { return static_cast<blasint>(n); };
  // Ebb keeps the BLAS to one thread; asking costs nothing next to a product.
  if (openblas_get_num_threads() != threads) openblas_set_num_threads(threads);
  for (std::int64_t i = 0; i < p.batch; ++i) {
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, size(p.m), size(p.n), size(p.k), 1, a + i * p.m * p.k,
                size(p.k), b + i * p.k * p.n, size(p.n), 0, out + i * p.m * p.n, size(p.n));
  }
}

}  // namespace ebb::bench
