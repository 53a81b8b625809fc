// Matrix products of Ebb's own: the seam between the driver and its lanes, and what matmul calls.
//
// The driver (gemm.cpp) cuts a product into blocks, brings the operands into the order in which they are read and
// shares the work out; the lanes (gemm_lanes.cpp, compiled once per instruction set) do the arithmetic of a tile. An
// element of the result is the same chain of additions wherever the cuts fall, which no BLAS promises: so any number of
// threads gives the same bits, and a large product is packed once for all of them. (Goto and van de Geijn 2008,
// "Anatomy of high-performance matrix multiplication"; the loops are those of BLIS.)
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

/// out [count, m, n], one product after the other. Shares the work out over the pool.
void run(const Product& p, const Batch& batch, const float* a, const float* b, float* out);
void run(const Product& p, const Batch& batch, const double* a, const double* b, double* out);

/// c [rows, columns] = a @ b, or += with `add`. a is read at row * a_row + k * a_k; b in panels of `width` columns,
/// which lie b_panel apart, each k after k, b_k apart.
template <class T>
struct Tile {
  const T* a;
  std::int64_t a_row, a_k;
  const T* b;
  std::int64_t b_k, b_panel;
  T* c;
  std::int64_t c_row;
  std::int64_t rows, columns, k;
  bool add;
  bool far;  // c does not lie in the second cache
};

/// The lanes of one instruction set.
template <class T>
struct Lanes {
  std::int64_t width;  // of a panel: two packs
  void (*tile)(const Tile<T>&);
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

}  // namespace ebb::gemm
