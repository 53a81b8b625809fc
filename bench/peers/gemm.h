// Matrix products of the peers, for matmul_bench: the BLAS called directly, and libtorch's batched product.
#pragma once

#include <cstdint>

namespace ebb::bench {

/// One batched product of row-major matrices: a [batch, m, k] @ b [batch, k, n] -> out [batch, m, n].
struct Product {
  std::int64_t batch, m, k, n;
};

/// One sgemm per matrix, on as many threads as the BLAS is told to use.
void openblas_matmul(const Product& p, const float* a, const float* b, float* out, int threads);

#if EBB_BENCH_LIBTORCH
/// torch::matmul of two tensors that wrap a and b, its result copied to `out` if that is not null.
class LibtorchMatmul {
 public:
  LibtorchMatmul(const Product& p, const float* a, const float* b, int threads);
  ~LibtorchMatmul();
  LibtorchMatmul(const LibtorchMatmul&) = delete;
  LibtorchMatmul& operator=(const LibtorchMatmul&) = delete;
  void run(float* out);

 private:
  struct Tensors;
  Tensors* tensors_;
};
#endif

}  // namespace ebb::bench
