// The element types, and the one switch that turns a run-time dtype into a C++ type.
//
// There is no promotion between tensors: an op takes one dtype, and mixing two is an error that names `cast`. bool is
// stored as one byte, 0 or 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

namespace ebb {

enum class DType : std::uint8_t { f32, f64, i64, boolean };
inline constexpr int kDTypeCount = 4;

constexpr std::string_view name(DType dtype) {
  constexpr std::string_view kNames[] = {"f32", "f64", "i64", "bool"};
  return kNames[static_cast<int>(dtype)];
}

constexpr std::size_t size_of(DType dtype) {
  constexpr std::size_t kSizes[] = {4, 8, 8, 1};
  return kSizes[static_cast<int>(dtype)];
}

constexpr bool is_floating(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> : std::integral_constant<DType, DType::f32> {};
template <>
struct DTypeOf<double> : std::integral_constant<DType, DType::f64> {};
template <>
struct DTypeOf<std::int64_t> : std::integral_constant<DType, DType::i64> {};
template <>
struct DTypeOf<bool> : std::integral_constant<DType, DType::boolean> {};

/// The dtype that holds elements of the C++ type T.
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Calls `f(std::type_identity<T>{})` with the C++ type of `dtype`.
template <class F>
decltype(auto) with_type(DType dtype, F&& f) {
  switch (dtype) {
    case DType::f32:
      return std::forward<F>(f)(std::type_identity<float>{});
    case DType::f64:
      return std::forward<F>(f)(std::type_identity<double>{});
    case DType::i64:
      return std::forward<F>(f)(std::type_identity<std::int64_t>{});
    case DType::boolean:
      break;
  }
  return std::forward<F>(f)(std::type_identity<bool>{});
}

}  // namespace ebb
