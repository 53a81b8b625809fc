// A large product is cut into tiles of rows, and the tiles that one thread has are one single-threaded BLAS call from
// Ebb's pool: the BLAS never starts threads of its own. Any number of threads gives the same bits, since a BLAS
// computes a row alike however many there are, as long as they begin at a multiple of what its kernels take together
// and are enough work for it not to choose another kernel. Every call packs b anew, so tiles are tall. Where a product
// is too small for the BLAS to pack b, it reads a transposed one in columns: then b is transposed first.
#include <ebb/ops/linalg/gemm.h>

#include <cblas.h>
#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/tensor/strided.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <type_traits>

namespace ebb::gemm {
namespace {

constexpr std::int64_t kTileRows = 96;
constexpr std::int64_t kTileGrain = 24;        // rows: kernels take 2, 4, 6, 8, 12 or 24 together
constexpr std::int64_t kTileWork = 2'000'000;  // multiplications: twice what a BLAS calls small
constexpr std::int64_t kMaxTiles = 16;
constexpr std::int64_t kTiny = 1024;              // multiplications below which a call costs more than they do
constexpr std::int64_t kThreadWork = 256 * 1024;  // multiplications worth a thread's while; a tiny product's are slower
constexpr std::int64_t kTinyStart = 2000;
constexpr std::int64_t kTinyFactor = 24;
constexpr std::int64_t kTransposeFrom = 100'000;  // multiplications for which b is transposed first
constexpr std::int64_t kTransposeTo = 1'000'000;
constexpr std::int64_t kTransposeRows = 16;

bool transposes_first(const Product& p, std::size_t size) {
  const std::int64_t work = p.m * p.n * p.k;
  return p.transpose_b && !p.transpose_a && size == 4 && p.m >= kTransposeRows && work >= kTransposeFrom &&
         work <= kTransposeTo;
}

// b [n, k] as [k, n], until the thread's next one.
template <class T>
const T* transposed(const Product& p, const T* b) {
  thread_local CachedVector<T> memory;
  const auto size = static_cast<std::size_t>(p.n * p.k);
  if (memory.size() < size) memory.resize(size);
  copy_strided({p.k, p.n}, dtype_of<T>, reinterpret_cast<const std::byte*>(b), {1, p.k},
               reinterpret_cast<std::byte*>(memory.data()), {p.n, 1});
  return memory.data();
}

// Rows [row, row + rows) of one product.
template <class T>
void blas(Product p, std::int64_t row, std::int64_t rows, const T* a, const T* b, T* out) {
  if (transposes_first(p, sizeof(T))) {
    b = transposed(p, b);
    p.transpose_b = false;
  }
  const CBLAS_TRANSPOSE ta = p.transpose_a ? CblasTrans : CblasNoTrans;
  const CBLAS_TRANSPOSE tb = p.transpose_b ? CblasTrans : CblasNoTrans;
  const T* const from = a + (p.transpose_a ? row : row * p.k);
  const auto as_int = [](std::int64_t x) { return static_cast<blasint>(x); };
  const blasint lda = as_int(p.transpose_a ? p.m : p.k);
  const blasint ldb = as_int(p.transpose_b ? p.k : p.n);
  T* const to = out + row * p.n;
  if constexpr (std::is_same_v<T, float>) {
    cblas_sgemm(CblasRowMajor, ta, tb, as_int(rows), as_int(p.n), as_int(p.k), 1, from, lda, b, ldb, 0, to,
                as_int(p.n));
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, as_int(rows), as_int(p.n), as_int(p.k), 1, from, lda, b, ldb, 0, to,
                as_int(p.n));
  }
}

// Of a width that the compiler knows, a row of results stays in registers.
template <std::int64_t n, class T>
void tiny_rows(const Product& p, std::int64_t a_row, std::int64_t a_k, const T* a, const T* b, T* out) {
  for (std::int64_t i = 0; i < p.m; ++i) {
    T row[n] = {};
    for (std::int64_t k = 0; k < p.k; ++k) {
      const T x = a[i * a_row + k * a_k];
      for (std::int64_t j = 0; j < n; ++j) row[j] += x * b[k * n + j];
    }
    std::copy_n(row, n, out + i * n);
  }
}

template <class T>
void tiny(const Product& p, const T* a, const T* b, T* out) {
  const std::int64_t a_row = p.transpose_a ? 1 : p.k;
  const std::int64_t a_k = p.transpose_a ? p.m : 1;
  if (p.n == 4 && !p.transpose_b) return tiny_rows<4>(p, a_row, a_k, a, b, out);
  std::fill_n(out, p.m * p.n, T(0));
  for (std::int64_t i = 0; i < p.m; ++i) {
    T* const to = out + i * p.n;
    for (std::int64_t k = 0; k < p.k; ++k) {
      const T x = a[i * a_row + k * a_k];
      if (p.transpose_b) {
        for (std::int64_t j = 0; j < p.n; ++j) to[j] += x * b[j * p.k + k];
      } else {
        for (std::int64_t j = 0; j < p.n; ++j) to[j] += x * b[k * p.n + j];
      }
    }
  }
}

template <class T>
void run_any(const Product& p, const Batch& batch, const T* a, const T* b, T* out) {
  // The BLAS would otherwise start threads under ours. The setting is the process's, and others may have changed it.
  if (openblas_get_num_threads() != 1) openblas_set_num_threads(1);
  const std::int64_t work = p.m * p.n * p.k;
  const std::int64_t most = std::min({p.m / kTileRows, work / kTileWork, kMaxTiles});
  const std::int64_t tiles = most < 2 ? 1 : most / 2 * 2;  // even, for two threads to share them
  const auto bound = [&](std::int64_t tile) {
    return tile == tiles ? p.m : (p.m * tile / tiles + kTileGrain / 2) / kTileGrain * kTileGrain;
  };
  const std::int64_t cost = work <= kTiny ? kTinyStart + kTinyFactor * work : work / tiles;
  const std::int64_t group = std::max<std::int64_t>(1, kThreadWork / cost);
  const std::int64_t units = batch.count * tiles;
  parallel_for((units + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t stop = std::min(units, end * group);
    for (std::int64_t unit = begin * group, next; unit < stop; unit = next) {
      const std::int64_t i = unit / tiles;
      next = std::min(stop, (i + 1) * tiles);
      if (work <= kTiny) {
        tiny(p, a + batch.a[i], b + batch.b[i], out + i * p.m * p.n);
        continue;
      }
      const std::int64_t first = bound(unit - i * tiles);
      const std::int64_t last = bound(next - i * tiles);
      blas(p, first, last - first, a + batch.a[i], b + batch.b[i], out + i * p.m * p.n);
    }
  });
}

}  // namespace

void run(const Product& p, const Batch& batch, const float* a, const float* b, float* out) {
  run_any(p, batch, a, b, out);
}
void run(const Product& p, const Batch& batch, const double* a, const double* b, double* out) {
  run_any(p, batch, a, b, out);
}

}  // namespace ebb::gemm
