#include <ebb/ops/linalg/gemm.h>

#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ebb::gemm {
namespace {

constexpr std::int64_t kSmall = 1 << 20;       // multiplications below which a product is one thread's work
constexpr std::int64_t kShare = 1 << 16;       // multiplications worth handing to a thread
constexpr std::int64_t kCall = 500;            // what a product costs beside them
constexpr std::int64_t kDepth = 384;           // of k at a time: a panel of b stays in the first cache
constexpr std::int64_t kRowBytes = 512 << 10;  // of a at a time, which every panel of b meets
constexpr std::int64_t kPanelBytes = 3 << 19;  // of panels of b at a time, in the second cache
constexpr std::int64_t kFewRows = 28;          // so few rows do not pay for packing b

template <class T>
const Lanes<T>& lanes_in_force() {
  switch (active_isa()) {
    case Isa::avx512:
      return avx512::lanes<T>();
    case Isa::avx2:
      return avx2::lanes<T>();
    default:
      return base::lanes<T>();
  }
}

std::int64_t pieces(std::int64_t n, std::int64_t most) { return (n + most - 1) / most; }
std::int64_t cut(std::int64_t n, std::int64_t i, std::int64_t of) { return n * i / of; }

template <class T>
T* elements(const Buffer& buffer) {
  return reinterpret_cast<T*>(buffer.data());
}

// A panel's line is 32, 64 or 128 bytes long: said so, a copy is a few instructions.
void copy_line(void* to, const void* from, std::size_t bytes) {
  switch (bytes) {
    case 128:
      std::memcpy(to, from, 128);
      break;
    case 64:
      std::memcpy(to, from, 64);
      break;
    default:
      std::memcpy(to, from, bytes);
  }
}

// Turns `N` lines of N elements, `step` apart, into lines `width` apart.
template <class T, std::size_t N = 16 / sizeof(T)>
void turn(const T* from, std::int64_t step, T* to, std::int64_t width) {
  using Pack [[gnu::vector_size(16)]] = T;
  Pack x[N];
  for (std::size_t i = 0; i < N; ++i) std::memcpy(&x[i], from + static_cast<std::int64_t>(i) * step, sizeof(Pack));
  const auto put = [&](std::int64_t line, const Pack& y) { std::memcpy(to + line * width, &y, sizeof(Pack)); };
  if constexpr (N == 4) {
    const Pack a = __builtin_shufflevector(x[0], x[1], 0, 4, 1, 5), b = __builtin_shufflevector(x[2], x[3], 0, 4, 1, 5);
    const Pack c = __builtin_shufflevector(x[0], x[1], 2, 6, 3, 7), d = __builtin_shufflevector(x[2], x[3], 2, 6, 3, 7);
    put(0, __builtin_shufflevector(a, b, 0, 1, 4, 5));
    put(1, __builtin_shufflevector(a, b, 2, 3, 6, 7));
    put(2, __builtin_shufflevector(c, d, 0, 1, 4, 5));
    put(3, __builtin_shufflevector(c, d, 2, 3, 6, 7));
  } else {
    put(0, __builtin_shufflevector(x[0], x[1], 0, 2));
    put(1, __builtin_shufflevector(x[0], x[1], 1, 3));
  }
}

// A panel of b: columns from `column` on, [depth, width] from k = from on. What is past b's end is left as it was.
template <class T>
void pack_panel(const Product& p, const T* b, std::int64_t from, std::int64_t depth, std::int64_t column,
                std::int64_t width, T* to) {
  const std::int64_t columns = std::min(width, p.n - column);
  if (!p.transpose_b) {
    const T* line = b + from * p.n + column;
    for (std::int64_t k = 0; k < depth; ++k, line += p.n, to += width) {
      copy_line(to, line, static_cast<std::size_t>(columns) * sizeof(T));
    }
    return;
  }
  constexpr auto kTurn = static_cast<std::int64_t>(16 / sizeof(T));
  constexpr std::int64_t kTile = 16;  // of k: a line of the cache is read whole
  for (std::int64_t k = 0; k < depth; k += kTile) {
    const std::int64_t end = std::min(depth, k + kTile);
    for (std::int64_t j = 0; j < columns; j += kTurn) {
      const T* const line = b + (column + j) * p.k + from;
      std::int64_t i = k;
      if (j + kTurn <= columns) {
        for (; i + kTurn <= end; i += kTurn) turn(line + i, p.k, to + i * width + j, width);
      }
      for (; i < end; ++i) {
        for (std::int64_t c = 0; c < std::min(kTurn, columns - j); ++c) to[i * width + j + c] = line[c * p.k + i];
      }
    }
  }
}

// All of a and c where they lie, `depth` of k from `from` on; b is still to be said.
template <class T>
Tile<T> whole(const Product& p, const T* a, std::int64_t from, std::int64_t depth, T* out) {
  Tile<T> t{};
  t.a = a + (p.transpose_a ? from * p.m : from);
  t.a_row = p.transpose_a ? 1 : p.k;
  t.a_k = p.transpose_a ? p.m : 1;
  t.c = out;
  t.c_row = p.n;
  t.rows = p.m;
  t.columns = p.n;
  t.k = depth;
  t.add = from > 0;
  return t;
}

// One product by one thread, where the operands lie; but a transposed b is turned, in `scratch`.
template <class T>
void run_small(const Lanes<T>& lanes, const Product& p, const T* a, const T* b, T* out, T* scratch) {
  for (std::int64_t from = 0; from < p.k; from += kDepth) {
    const std::int64_t depth = std::min(kDepth, p.k - from);
    if (p.transpose_b) {
      for (std::int64_t j = 0; j < p.n; j += lanes.width) {
        pack_panel(p, b, from, depth, j, lanes.width, scratch + j * depth);
      }
    }
    Tile<T> t = whole(p, a, from, depth, out);
    t.b = p.transpose_b ? scratch : b + from * p.n;
    t.b_k = p.transpose_b ? lanes.width : p.n;
    t.b_panel = p.transpose_b ? lanes.width * depth : lanes.width;
    lanes.tile(t);
  }
}

// One product by all threads: b is packed once for all, then each takes a run of (rows, panel) pairs.
template <class T>
void run_large(const Lanes<T>& lanes, const Product& p, const T* a, const T* b, T* out) {
  const std::int64_t width = lanes.width;
  const std::int64_t depths = pieces(p.k, kDepth);
  const auto size = static_cast<std::int64_t>(sizeof(T));
  const std::int64_t panels = pieces(p.n, width);
  const std::int64_t groups = pieces(panels, std::max<std::int64_t>(1, kPanelBytes / (kDepth * width * size)));
  const std::int64_t blocks = pieces(p.m, kRowBytes / (kDepth * size));
  const std::int64_t most_panels = pieces(panels, groups);
  const bool direct = !p.transpose_b && p.m <= kFewRows;
  const Buffer packed = direct ? Buffer() : Buffer(static_cast<std::size_t>(most_panels * width * kDepth * size));
  for (std::int64_t g = 0; g < groups; ++g) {
    const std::int64_t first = cut(panels, g, groups);
    const std::int64_t count = cut(panels, g + 1, groups) - first;
    for (std::int64_t d = 0; d < depths; ++d) {
      const std::int64_t from = cut(p.k, d, depths);
      const std::int64_t depth = cut(p.k, d + 1, depths) - from;
      T* const panels_of_b = elements<T>(packed);
      parallel_for(direct ? 0 : count, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t j = begin; j < end; ++j) {
          pack_panel(p, b, from, depth, (first + j) * width, width, panels_of_b + j * width * depth);
        }
      });
      parallel_for(blocks * count, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t at = begin; at < end;) {
          const std::int64_t block = at / count;
          const std::int64_t stop = std::min(end, (block + 1) * count);
          const std::int64_t row = cut(p.m, block, blocks);
          const std::int64_t rows = cut(p.m, block + 1, blocks) - row;
          const std::int64_t column = (first + at % count) * width;
          Tile<T> t = whole(p, a, from, depth, out);
          t.a += row * t.a_row;
          t.b = direct ? b + from * p.n + column : panels_of_b + at % count * width * depth;
          t.b_k = direct ? p.n : width;
          t.b_panel = direct ? width : width * depth;
          t.c += row * p.n + column;
          t.rows = rows;
          t.columns = std::min((stop - at) * width, p.n - column);
          t.far = p.m * p.n * size > kPanelBytes / 2;
          lanes.tile(t);
          at = stop;
        }
      });
    }
  }
}

template <class T>
void run_as(Product p, Batch batch, const T* a, const T* b, T* out) {
  const Lanes<T>& lanes = lanes_in_force<T>();
  if (p.m == 1 && p.transpose_b) {  // out is a column, too: then no matrix must be turned
    std::swap(a, b);
    std::swap(batch.a, batch.b);
    std::swap(p.m, p.n);
    p.transpose_a = p.transpose_b = false;
  }
  const std::int64_t work = p.m * p.n * p.k;
  if (work > kSmall) {
    for (std::int64_t i = 0; i < batch.count; ++i) {
      run_large(lanes, p, a + batch.a[i], b + batch.b[i], out + i * p.m * p.n);
    }
    return;
  }
  const std::int64_t group = std::max<std::int64_t>(1, kShare / (work + kCall));
  const std::int64_t scratch_size = pieces(p.n, lanes.width) * lanes.width * std::min(p.k, kDepth);
  parallel_for(pieces(batch.count, group), [&](std::int64_t begin, std::int64_t end) {
    const Buffer scratch = p.transpose_b ? Buffer(static_cast<std::size_t>(scratch_size) * sizeof(T)) : Buffer();
    for (std::int64_t i = begin * group; i < std::min(batch.count, end * group); ++i) {
      run_small(lanes, p, a + batch.a[i], b + batch.b[i], out + i * p.m * p.n, elements<T>(scratch));
    }
  });
}

}  // namespace

void run(const Product& p, const Batch& batch, const float* a, const float* b, float* out) {
  run_as(p, batch, a, b, out);
}
void run(const Product& p, const Batch& batch, const double* a, const double* b, double* out) {
  run_as(p, batch, a, b, out);
}

}  // namespace ebb::gemm
