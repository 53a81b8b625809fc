// Packs of one instruction set: the types that lane kernels compute with.
//
// The library includes it only in files that it compiles once per instruction set. The arch is part of every type's
// name, so the linker can never take a function of one set for that of another. Outside of the library there is one
// set, `own`: what the compiler's flags allow.
#pragma once

#include <ebb/engine/lanes/pack_math.h>
#include <xsimd/xsimd.hpp>

#ifndef EBB_ISA
#define EBB_ISA own
#define EBB_ISA_own 1
#endif

#include <cstddef>
#include <cstdint>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ebb::EBB_ISA {

#if defined(EBB_ISA_avx512) && defined(__x86_64__)
using Arch = xsimd::avx512bw;
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
using Arch = xsimd::fma3<xsimd::avx2>;
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
using Arch = xsimd::sse2;
#else
using Arch = xsimd::default_arch;
#endif

template <class T>
using Pack = xsimd::batch<T, Arch>;
template <class T>
using Mask = xsimd::batch_bool<T, Arch>;
template <class T>
inline constexpr std::int64_t kWidth = static_cast<std::int64_t>(Pack<T>::size);

/// Stores around the cache; `to` is aligned to the pack.
template <class T>
inline void stream(T* to, const Pack<T>& pack) {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
  if constexpr (sizeof(T) == 4) {
    _mm512_stream_ps(reinterpret_cast<float*>(to), pack);
  } else {
    _mm512_stream_pd(reinterpret_cast<double*>(to), pack);
  }
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
  if constexpr (sizeof(T) == 4) {
    _mm256_stream_ps(reinterpret_cast<float*>(to), pack);
  } else {
    _mm256_stream_pd(reinterpret_cast<double*>(to), pack);
  }
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
  if constexpr (sizeof(T) == 4) {
    _mm_stream_ps(reinterpret_cast<float*>(to), pack);
  } else {
    _mm_stream_pd(reinterpret_cast<double*>(to), pack);
  }
#else
  pack.store_aligned(to);
#endif
}

/// A pack of floats as two of doubles, in order.
struct Wide {
  Pack<double> low, high;
};
inline Wide widened(const Pack<float>& x) {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
  return {_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))};
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
  return {_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1))};
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
  return {_mm_cvtps_pd(x), _mm_cvtps_pd(_mm_movehl_ps(x, x))};
#else
  alignas(64) float in[kWidth<float>];
  alignas(64) double out[kWidth<float>];
  x.store_aligned(in);
  for (std::int64_t i = 0; i < kWidth<float>; ++i) out[i] = in[i];
  return {Pack<double>::load_aligned(out), Pack<double>::load_aligned(out + kWidth<double>)};
#endif
}
inline Pack<float> narrowed(const Pack<double>& low, const Pack<double>& high) {
#if defined(EBB_ISA_avx512) && defined(__x86_64__)
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(low)), _mm512_cvtpd_ps(high), 1);
#elif defined(EBB_ISA_avx2) && defined(__x86_64__)
  return _mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low));
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
  return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
#else
  alignas(64) double in[kWidth<float>];
  alignas(64) float out[kWidth<float>];
  low.store_aligned(in);
  high.store_aligned(in + kWidth<double>);
  for (std::int64_t i = 0; i < kWidth<float>; ++i) out[i] = static_cast<float>(in[i]);
  return Pack<float>::load_aligned(out);
#endif
}

/// Streamed stores are not ordered with others; this makes them visible to the next thread.
inline void stream_fence(Arch) {
#if defined(__x86_64__)
  _mm_sfence();
#endif
}

}  // namespace ebb::EBB_ISA

namespace ebb::lane {

template <class T, class A>
struct Machine<xsimd::batch<T, A>> {
  using P = xsimd::batch<T, A>;
  using Bits = xsimd::batch<typename xsimd::as_unsigned_integer<T>::type, A>;
  using Wide = xsimd::batch<double, A>;

  static Bits bits(const P& x) { return xsimd::bitwise_cast<Bits>(x); }
  static P real(const Bits& x) { return xsimd::bitwise_cast<P>(x); }
  static P least(const P& a, const P& b) { return xsimd::min(a, b); }
  static P greatest(const P& a, const P& b) { return xsimd::max(a, b); }
  static P root(const P& x) { return xsimd::sqrt(x); }
  static auto widened(const P& x) { return EBB_ISA::widened(x); }
  static P narrowed(const Wide& low, const Wide& high) { return EBB_ISA::narrowed(low, high); }

  template <class F>
  static P or_by_library(const P& x, const P& y, T limit, F library) {
    if (!xsimd::any((x > P(limit)) | (x < P(-limit)))) return y;
    alignas(64) T in[P::size], out[P::size];
    x.store_aligned(in);
    y.store_aligned(out);
    for (std::size_t i = 0; i < P::size; ++i) {
      if (!(in[i] <= limit && in[i] >= -limit)) out[i] = library(in[i]);
    }
    return P::load_aligned(out);
  }
};

}  // namespace ebb::lane
