// Masks as bytes: what a comparison stores and a choice loads. The pack library goes lane by lane.
#pragma once

#include <ebb/engine/lanes/pack.h>

#include <cstring>

namespace ebb::EBB_ISA {

// Of an op from outside of the library any set may be in force: there the pack library's own functions serve.
#if defined(__x86_64__) && !defined(EBB_ISA_own)
inline __m128i as_integers(__m128 v) { return _mm_castps_si128(v); }
inline __m128i as_integers(__m128d v) { return _mm_castpd_si128(v); }
inline __m128i as_integers(__m128i v) { return v; }
#if defined(EBB_ISA_avx2)
inline __m256i as_integers(__m256 v) { return _mm256_castps_si256(v); }
inline __m256i as_integers(__m256d v) { return _mm256_castpd_si256(v); }
inline __m256i as_integers(__m256i v) { return v; }
#endif

// The kWidth<T> low bytes of a register.
template <class T>
inline void store_low(bool* to, __m128i bytes) {
  std::memcpy(to, &bytes, static_cast<std::size_t>(kWidth<T>));
}
template <class T>
inline __m128i load_low(const bool* from) {
  __m128i bytes = _mm_setzero_si128();
  std::memcpy(&bytes, from, static_cast<std::size_t>(kWidth<T>));
  return bytes;
}
#endif

/// Writes a mask as bytes 0 and 1.
template <class T>
inline void store_mask(const Mask<T>& mask, bool* to) {
#if defined(__x86_64__) && defined(EBB_ISA_avx512)
  store_low<T>(to, _mm_maskz_set1_epi8(mask.data, 1));
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
#if defined(EBB_ISA_avx2)
  const __m256i lanes = as_integers(mask.data);
  __m128i bytes = _mm_packs_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
#else
  const __m128i lanes = as_integers(mask.data);
  __m128i bytes = _mm_packs_epi32(lanes, lanes);
#endif
  bytes = _mm_packs_epi16(bytes, bytes);
  if constexpr (sizeof(T) == 8) bytes = _mm_packs_epi16(bytes, bytes);  // each was there twice
  store_low<T>(to, _mm_and_si128(bytes, _mm_set1_epi8(1)));
#else
  mask.store_unaligned(to);
#endif
}

/// Reads bytes 0 and 1 as a mask.
template <class T>
inline Mask<T> load_mask(const bool* from) {
#if defined(__x86_64__) && defined(EBB_ISA_avx512)
  const __m128i bytes = load_low<T>(from);
  return Mask<T>(static_cast<typename Mask<T>::register_type>(_mm_test_epi8_mask(bytes, bytes)));
#elif defined(__x86_64__) && !defined(EBB_ISA_own)
  const __m128i set = _mm_cmpgt_epi8(load_low<T>(from), _mm_setzero_si128());
#if defined(EBB_ISA_avx2)
  const __m256i lanes = sizeof(T) == 8 ? _mm256_cvtepi8_epi64(set) : _mm256_cvtepi8_epi32(set);
  if constexpr (std::is_same_v<T, float>) {
    return Mask<T>(_mm256_castsi256_ps(lanes));
  } else if constexpr (std::is_same_v<T, double>) {
    return Mask<T>(_mm256_castsi256_pd(lanes));
  } else {
    return Mask<T>(lanes);
  }
#else
  __m128i lanes = _mm_unpacklo_epi8(set, set);
  lanes = _mm_unpacklo_epi16(lanes, lanes);
  if constexpr (sizeof(T) == 8) lanes = _mm_unpacklo_epi32(lanes, lanes);
  if constexpr (std::is_same_v<T, float>) {
    return Mask<T>(_mm_castsi128_ps(lanes));
  } else if constexpr (std::is_same_v<T, double>) {
    return Mask<T>(_mm_castsi128_pd(lanes));
  } else {
    return Mask<T>(lanes);
  }
#endif
#else
  return Mask<T>::load_unaligned(from);
#endif
}

}  // namespace ebb::EBB_ISA
