// A cache line of numbers as one value, for code that is compiled once per instruction set.
//
// Everything lives in the namespace EBB_ISA and is either inlined or tagged by it, so nothing
// compiled for a newer CPU can be picked by the linker for an older one. A line is one, two or four
// registers; loops over lines therefore make the same partial sums on every set, and every access
// that is aligned touches exactly one cache line. Tails run the same code on a masked line:
// `Some{n}` in place of `Full{}`.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ebb::fused::EBB_ISA {

#if defined(__AVX512F__)
inline constexpr int kRegisterBytes = 64;
#elif defined(__AVX2__)
inline constexpr int kRegisterBytes = 32;
#else
inline constexpr int kRegisterBytes = 16;
#endif
inline constexpr int kParts = 64 / kRegisterBytes;

template <class T>
struct Line {
  static constexpr int kLanes = 64 / static_cast<int>(sizeof(T));
  static constexpr int kPartLanes = kRegisterBytes / static_cast<int>(sizeof(T));
  typedef T Register __attribute__((vector_size(kRegisterBytes)));
  Register part[kParts];
};

struct Full {};
/// The first n lanes of a line, 0 < n < kLanes.
struct Some {
  int n;
};

/// Calls f(0), f(1), ... for each register of a line; written out, because GCC leaves short loops
/// rolled at -O2.
template <class F>
[[gnu::always_inline]] inline void each(F f) {
  f(0);
  if constexpr (kParts > 1) f(1);
  if constexpr (kParts > 2) {
    f(2);
    f(3);
  }
}

template <class T>
[[gnu::always_inline]] inline Line<T> all(T value) {
  Line<T> r;
  each([&](int i) { r.part[i] = value - typename Line<T>::Register{}; });
  return r;
}

template <class T>
[[gnu::always_inline]] inline Line<T> operator+(Line<T> a, Line<T> b) {
  each([&](int i) { a.part[i] += b.part[i]; });
  return a;
}

template <class T>
[[gnu::always_inline]] inline Line<T> operator-(Line<T> a, Line<T> b) {
  each([&](int i) { a.part[i] -= b.part[i]; });
  return a;
}

template <class T>
[[gnu::always_inline]] inline Line<T> operator*(Line<T> a, Line<T> b) {
  each([&](int i) { a.part[i] *= b.part[i]; });
  return a;
}

template <class T>
[[gnu::always_inline]] inline Line<T> smaller(Line<T> a, Line<T> b) {
  each([&](int i) { a.part[i] = a.part[i] < b.part[i] ? a.part[i] : b.part[i]; });
  return a;
}

template <class T>
[[gnu::always_inline]] inline Line<T> larger(Line<T> a, Line<T> b) {
  each([&](int i) { a.part[i] = a.part[i] > b.part[i] ? a.part[i] : b.part[i]; });
  return a;
}

/// a * b + c, rounded once where the set has the instruction.
template <class T>
[[gnu::always_inline]] inline Line<T> mul_add(Line<T> a, Line<T> b, Line<T> c) {
  each([&](int i) {
#if defined(__AVX512F__)
    if constexpr (sizeof(T) == 4) {
      c.part[i] = _mm512_fmadd_ps(a.part[i], b.part[i], c.part[i]);
    } else {
      c.part[i] = _mm512_fmadd_pd(a.part[i], b.part[i], c.part[i]);
    }
#elif defined(__AVX2__)
    if constexpr (sizeof(T) == 4) {
      c.part[i] = _mm256_fmadd_ps(a.part[i], b.part[i], c.part[i]);
    } else {
      c.part[i] = _mm256_fmadd_pd(a.part[i], b.part[i], c.part[i]);
    }
#else
    c.part[i] = a.part[i] * b.part[i] + c.part[i];
#endif
  });
  return c;
}

template <class T>
[[gnu::always_inline]] inline Line<T> load(const T* p, Full = {}) {
  Line<T> r;
  each([&](int i) { __builtin_memcpy(&r.part[i], p + i * Line<T>::kPartLanes, kRegisterBytes); });
  return r;
}

template <class T>
[[gnu::always_inline]] inline void store(T* p, Line<T> v, Full = {}) {
  each([&](int i) { __builtin_memcpy(p + i * Line<T>::kPartLanes, &v.part[i], kRegisterBytes); });
}

/// Stores past the caches. p must be aligned to 64 bytes.
template <class T>
[[gnu::always_inline]] inline void stream(T* p, Line<T> v) {
#if defined(__x86_64__)
  each([&](int i) {
    if constexpr (kRegisterBytes == 16) {
      __m128i bits;
      __builtin_memcpy(&bits, &v.part[i], kRegisterBytes);
      _mm_stream_si128(reinterpret_cast<__m128i*>(p + i * Line<T>::kPartLanes), bits);
    }
#if defined(__AVX512F__)
    __m512i bits;
    __builtin_memcpy(&bits, &v.part[i], kRegisterBytes);
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p + i * Line<T>::kPartLanes), bits);
#elif defined(__AVX2__)
    __m256i bits;
    __builtin_memcpy(&bits, &v.part[i], kRegisterBytes);
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p + i * Line<T>::kPartLanes), bits);
#endif
  });
#else
  store(p, v);
#endif
}

/// Orders streamed stores before whatever tells another thread about them.
[[gnu::always_inline]] inline void stream_fence() {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

#if defined(__AVX2__) && !defined(__AVX512F__)
alignas(64) inline constexpr int kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

/// The mask of register `i` of which the line's first n lanes are set.
template <class T>
[[gnu::always_inline]] inline __m256i mask(int n, int i) {
  const int lanes = n - i * Line<T>::kPartLanes;
  const int words = (lanes < 0                     ? 0
                     : lanes > Line<T>::kPartLanes ? Line<T>::kPartLanes
                                                   : lanes) *
                    static_cast<int>(sizeof(T) / 4);
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + 8 - words));
}
#endif

/// The first lanes from p, the others from `rest`. Reads no byte beyond the n-th element.
template <class T>
[[gnu::always_inline]] inline Line<T> load(const T* p, Some some, Line<T> rest) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    rest.part[0] = _mm512_mask_loadu_ps(rest.part[0], static_cast<__mmask16>((1u << some.n) - 1), p);
  } else {
    rest.part[0] = _mm512_mask_loadu_pd(rest.part[0], static_cast<__mmask8>((1u << some.n) - 1), p);
  }
#elif defined(__AVX2__)
  each([&](int i) {
    const __m256i m = mask<T>(some.n, i);
    const T* from = p + i * Line<T>::kPartLanes;
    if constexpr (sizeof(T) == 4) {
      rest.part[i] = _mm256_blendv_ps(rest.part[i], _mm256_maskload_ps(from, m), _mm256_castsi256_ps(m));
    } else {
      rest.part[i] = _mm256_blendv_pd(rest.part[i], _mm256_maskload_pd(from, m), _mm256_castsi256_pd(m));
    }
  });
#else
  T lanes[Line<T>::kLanes];
  store(lanes, rest);
  for (int lane = 0; lane < some.n; ++lane) lanes[lane] = p[lane];
  rest = load(lanes);
#endif
  return rest;
}

template <class T>
[[gnu::always_inline]] inline Line<T> load(const T* p, Some some) {
  return load(p, some, Line<T>{});
}

template <class T>
[[gnu::always_inline]] inline Line<T> load(const T* p, Full, Line<T>) {
  return load(p);
}

/// Writes no byte beyond the n-th element.
template <class T>
[[gnu::always_inline]] inline void store(T* p, Line<T> v, Some some) {
#if defined(__AVX512F__)
  if constexpr (sizeof(T) == 4) {
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << some.n) - 1), v.part[0]);
  } else {
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << some.n) - 1), v.part[0]);
  }
#elif defined(__AVX2__)
  each([&](int i) {
    T* to = p + i * Line<T>::kPartLanes;
    if constexpr (sizeof(T) == 4) {
      _mm256_maskstore_ps(to, mask<T>(some.n, i), v.part[i]);
    } else {
      _mm256_maskstore_pd(to, mask<T>(some.n, i), v.part[i]);
    }
  });
#else
  T lanes[Line<T>::kLanes];
  store(lanes, v);
  for (int lane = 0; lane < some.n; ++lane) p[lane] = lanes[lane];
#endif
}

/// The sum of all lanes, always in the same order: halves onto halves.
template <class T>
[[gnu::always_inline]] inline T total(Line<T> v) {
#if defined(__AVX512F__) || defined(__AVX2__)
  // Down to 16 bytes in halves, which the compiler turns into extractions, and on by intrinsics.
#if defined(__AVX512F__)
  typedef T Half __attribute__((vector_size(32)));
  Half low, high;
  if constexpr (sizeof(T) == 4) {
    low = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3, 4, 5, 6, 7);
    high = __builtin_shufflevector(v.part[0], v.part[0], 8, 9, 10, 11, 12, 13, 14, 15);
  } else {
    low = __builtin_shufflevector(v.part[0], v.part[0], 0, 1, 2, 3);
    high = __builtin_shufflevector(v.part[0], v.part[0], 4, 5, 6, 7);
  }
  const Half a = low + high;
#else
  const auto a = v.part[0] + v.part[1];
#endif
  if constexpr (sizeof(T) == 4) {
    const __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 c = _mm_add_ps(b, _mm_movehl_ps(b, b));
    return _mm_cvtss_f32(_mm_add_ss(c, _mm_movehdup_ps(c)));
  } else {
    const __m128d b = _mm_add_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    return _mm_cvtsd_f64(_mm_add_sd(b, _mm_unpackhi_pd(b, b)));
  }
#else
  T lanes[Line<T>::kLanes];
  store(lanes, v);
  for (int half = Line<T>::kLanes / 2; half > 0; half /= 2) {
    for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
  }
  return lanes[0];
#endif
}

/// Eight numbers of type T as doubles.
[[gnu::always_inline]] inline Line<double> widen(const double* p) { return load(p); }
[[gnu::always_inline]] inline Line<double> widen(const float* p) {
  typedef float Half __attribute__((vector_size(kRegisterBytes / 2)));
  Line<double> r;
  each([&](int i) {
    Half half;
    __builtin_memcpy(&half, p + i * Line<double>::kPartLanes, sizeof(half));
    r.part[i] = __builtin_convertvector(half, Line<double>::Register);
  });
  return r;
}

/// As many of eight as the edge of a line of doubles says; the others are zero.
template <class T>
[[gnu::always_inline]] inline Line<double> widen(const T* p, Full) {
  return widen(p);
}
template <class T>
[[gnu::always_inline]] inline Line<double> widen(const T* p, Some some) {
  T lanes[Line<T>::kLanes];
  store(lanes, load(p, some));
  return widen(lanes);
}

/// Eight doubles as numbers of type T.
[[gnu::always_inline]] inline void narrow(double* p, Line<double> v) { store(p, v); }
[[gnu::always_inline]] inline void narrow(float* p, Line<double> v) {
  typedef float Half __attribute__((vector_size(kRegisterBytes / 2)));
  each([&](int i) {
    const Half half = __builtin_convertvector(v.part[i], Half);
    __builtin_memcpy(p + i * Line<double>::kPartLanes, &half, sizeof(half));
  });
}

/// 1 / sqrt(v) to about 1e-10 (three steps) or 1e-16 (four), and 0 where v is 0: Newton's method
/// from the guess that halves the exponent. A square root and a division would cost three times as
/// much.
template <int steps>
[[gnu::always_inline]] inline Line<double> inverse_sqrt(Line<double> v) {
  typedef std::uint64_t Bits __attribute__((vector_size(kRegisterBytes)));
  Line<double> r;
  each([&](int i) {
    Bits bits;
    __builtin_memcpy(&bits, &v.part[i], kRegisterBytes);
    bits = 0x5FE6EB50C7B537A9u - (bits >> 1);
    __builtin_memcpy(&r.part[i], &bits, kRegisterBytes);
  });
  const Line<double> half = all(-0.5) * v;
  for (int step = 0; step < steps; ++step) r = r * mul_add(half * r, r, all(1.5));
  each([&](int i) { r.part[i] = v.part[i] != 0.0 ? r.part[i] : Line<double>::Register{}; });
  return r;
}

}  // namespace ebb::fused::EBB_ISA
