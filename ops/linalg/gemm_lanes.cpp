// The arithmetic of a matrix product, once per instruction set: a block of the result is held in registers while its
// row of a and its panel of b pass by.
//
// A block is as many rows as registers allow, by two packs: each element of a that is loaded serves two additions, each
// pack of b a whole column of the block. The order of additions to one element is that of k, whatever the block's size.
#include <ebb/engine/lanes/pack.h>
#include <ebb/ops/linalg/gemm.h>

#include <type_traits>
#include <utility>

namespace ebb::gemm::EBB_ISA {
namespace {

using ebb::EBB_ISA::kWidth;
using ebb::EBB_ISA::Pack;

#if defined(EBB_ISA_avx512) && defined(__x86_64__)
constexpr int kRows = 14;  // two packs of each, of 32 registers
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
constexpr int kRows = 6;  // of 16
#else
constexpr int kRows = 4;
#endif

// x * y + z, rounded once where the set can. (xsimd knows no such instruction for AVX-512.)
template <class T>
[[gnu::always_inline]] inline Pack<T> multiply_add(const Pack<T>& x, const Pack<T>& y, const Pack<T>& z) {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
  if constexpr (sizeof(T) == 4) {
    return _mm512_fmadd_ps(x, y, z);
  } else {
    return _mm512_fmadd_pd(x, y, z);
  }
#else
  return xsimd::fma(x, y, z);
#endif
}

// The first `n` elements of a pack in memory, without touching those after them; the others are 0.
template <class T>
class Part {
 public:
  explicit Part(std::int64_t n) : n_(n) {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
    mask_ = static_cast<Mask>((1U << n) - 1);
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
    alignas(32) Lane lanes[kWidth<T>];
    for (std::int64_t i = 0; i < kWidth<T>; ++i) lanes[i] = i < n ? -1 : 0;
    mask_ = _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
#endif
  }

  [[gnu::always_inline]] Pack<T> load(const T* from) const {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
    if constexpr (sizeof(T) == 4) {
      return _mm512_maskz_loadu_ps(mask_, from);
    } else {
      return _mm512_maskz_loadu_pd(mask_, from);
    }
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
    if constexpr (sizeof(T) == 4) {
      return _mm256_maskload_ps(from, mask_);
    } else {
      return _mm256_maskload_pd(from, mask_);
    }
#else
    alignas(64) T whole[kWidth<T>] = {};
    for (std::int64_t i = 0; i < n_; ++i) whole[i] = from[i];
    return Pack<T>::load_aligned(whole);
#endif
  }

  [[gnu::always_inline]] void store(T* to, const Pack<T>& x) const {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
    if constexpr (sizeof(T) == 4) {
      _mm512_mask_storeu_ps(to, mask_, x);
    } else {
      _mm512_mask_storeu_pd(to, mask_, x);
    }
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
    if constexpr (sizeof(T) == 4) {
      _mm256_maskstore_ps(to, mask_, x);
    } else {
      _mm256_maskstore_pd(to, mask_, x);
    }
#else
    alignas(64) T whole[kWidth<T>];
    x.store_aligned(whole);
    for (std::int64_t i = 0; i < n_; ++i) to[i] = whole[i];
#endif
  }

 private:
  [[maybe_unused]] std::int64_t n_;
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
  using Mask = std::conditional_t<sizeof(T) == 4, __mmask16, __mmask8>;
  Mask mask_;
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
  using Lane = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;
  __m256i mask_;
#endif
};

// A whole pack, in the same words.
template <class T>
struct Whole {
  [[gnu::always_inline]] Pack<T> load(const T* from) const { return Pack<T>::load_unaligned(from); }
  [[gnu::always_inline]] void store(T* to, const Pack<T>& x) const { x.store_unaligned(to); }
};

// R rows against V packs of columns, of which `last` says how much of the last one there is.
template <class T, int R, int V, class Last, int... I>
[[gnu::always_inline]] inline void run_block(const Tile<T>& at, const Last& last, std::integer_sequence<int, I...>) {
  using P = Pack<T>;
  constexpr std::int64_t kW = kWidth<T>;
  P sum[R * V] = {((void)I, P(T(0)))...};
  // Every third row has a pointer; the two after it are reached by an index.
  constexpr int kPointers = (R + 2) / 3;
  const T* a[kPointers];
  for (int i = 0; i < kPointers; ++i) a[i] = at.a + 3 * i * at.a_row;
  const T* b = at.b;
  for (std::int64_t k = 0; k < at.k; ++k) {
    const P b_last = last.load(b + (V - 1) * kW);
    const P b_first = V > 1 ? P::load_unaligned(b) : b_last;
    ((sum[I] = multiply_add<T>(P(a[I / V / 3][I / V % 3 * at.a_row]), I % V < V - 1 ? b_first : b_last, sum[I])), ...);
    for (int i = 0; i < kPointers; ++i) a[i] += at.a_k;
    b += at.b_k;
  }
  const auto put = [&](const auto& part, T* to, const P& x) { part.store(to, at.add ? part.load(to) + x : x); };
  const auto store = [&](int i, const P& x) {
    T* const to = at.c + i / V * at.c_row + i % V * kW;
    i % V < V - 1 ? put(Whole<T>(), to, x) : put(last, to, x);
  };
  (store(I, sum[I]), ...);
}

template <class T, int R, int V, bool kWhole>
void block(const Tile<T>& at) {
  constexpr auto kEach = std::make_integer_sequence<int, R * V>();
  if constexpr (kWhole) {
    run_block<T, R, V>(at, Whole<T>(), kEach);
  } else {
    run_block<T, R, V>(at, Part<T>(at.columns - (V - 1) * kWidth<T>), kEach);
  }
}

// All rows of a tile of at most V packs of columns, in blocks of nearly the same height.
template <class T, int V, bool kWhole, int... R>
void panel(Tile<T> t, std::integer_sequence<int, R...>) {
  static constexpr void (*kBlocks[])(const Tile<T>&) = {block<T, R + 1, V, kWhole>...};
  const std::int64_t rows = t.rows;
  const std::int64_t blocks = (rows + kRows - 1) / kRows;
  for (std::int64_t i = 0; i < blocks; ++i) {
    t.rows = rows * (i + 1) / blocks - rows * i / blocks;
    if (t.far) {  // fetched while the block is computed
      for (std::int64_t r = 0; r < t.rows; ++r) {
        for (int v = 0; v < V; ++v) __builtin_prefetch(t.c + r * t.c_row + v * kWidth<T>, 0, 2);
      }
    }
    kBlocks[t.rows - 1](t);
    t.a += t.rows * t.a_row;
    t.c += t.rows * t.c_row;
  }
}

template <class T>
void tile(const Tile<T>& whole) {
  constexpr auto kHeights = std::make_integer_sequence<int, kRows>();
  constexpr std::int64_t kW = kWidth<T>;
  Tile<T> t = whole;
  for (std::int64_t rest = whole.columns; rest > 0; rest -= 2 * kW, t.b += t.b_panel, t.c += 2 * kW) {
    t.columns = rest;
    if (rest >= 2 * kW) {
      panel<T, 2, true>(t, kHeights);
    } else {
      rest > kW ? panel<T, 2, false>(t, kHeights) : panel<T, 1, false>(t, kHeights);
    }
  }
}

template <class T>
constexpr Lanes<T> kLanes{2 * kWidth<T>, tile<T>};

}  // namespace

template <class T>
const Lanes<T>& lanes() {
  return kLanes<T>;
}
template const Lanes<float>& lanes<float>();
template const Lanes<double>& lanes<double>();

}  // namespace ebb::gemm::EBB_ISA
