// For kernels whose rows take floating dtypes alone.
#pragma once

#include <ebb/engine/tensor/dtype.h>

#include <type_traits>
#include <utility>

namespace ebb {

/// Calls f(std::type_identity<T>) with the C++ type of f32 or f64.
template <class F>
void with_floating(DType dtype, F&& f) {
  if (dtype == DType::f32) return std::forward<F>(f)(std::type_identity<float>{});
  std::forward<F>(f)(std::type_identity<double>{});
}

}  // namespace ebb
