// Views of a Tensor's memory as Eigen's maps, without a copy.
//
// For programs that have Eigen: Ebb itself never includes this file, and does not ask for Eigen. The maps keep the
// rules of data<T>() and mutable_data<T>(): they are good while a Tensor holds the buffer, a map for writing first
// gives the Tensor a buffer of its own, and a copy of the Tensor made afterwards shares what the map writes to.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/tensor/tensor.h>

#include <Eigen/Core>

namespace ebb {

template <class T>
using EigenMatrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
template <class T>
using EigenArray = Eigen::Array<T, Eigen::Dynamic, 1>;

namespace detail {

inline void check_viewable(const Tensor& tensor, bool matrix) {
  if (matrix && tensor.rank() != 2) {
    throw ShapeError("eigen_matrix: expected 2 axes, got " + describe(tensor) +
                     ". Reshape it first, or use eigen_array.");
  }
  if (!tensor.has_buffer() && tensor.numel() > 0) {
    throw UsageError("eigen: the tensor " + describe(tensor) + " has no values.");
  }
}

}  // namespace detail

/// The elements of a tensor with two axes, as a row-major matrix.
///
/// Throws    ShapeError if there are not two axes, DTypeError if T is not the dtype's type.
/// Example   const auto product = (eigen_matrix<float>(a) * eigen_matrix<float>(b)).eval();
template <class T>
Eigen::Map<const EigenMatrix<T>> eigen_matrix(const Tensor& tensor) {
  detail::check_viewable(tensor, true);
  return {tensor.data<T>().data(), tensor.shape()[0], tensor.shape()[1]};
}
/// The same for writing.
template <class T>
Eigen::Map<EigenMatrix<T>> mutable_eigen_matrix(Tensor& tensor) {
  detail::check_viewable(tensor, true);
  return {tensor.mutable_data<T>().data(), tensor.shape()[0], tensor.shape()[1]};
}

/// All elements in row-major order, as one array. Throws DTypeError if T is not the dtype's type.
template <class T>
Eigen::Map<const EigenArray<T>> eigen_array(const Tensor& tensor) {
  detail::check_viewable(tensor, false);
  return {tensor.data<T>().data(), tensor.numel()};
}
/// The same for writing.
template <class T>
Eigen::Map<EigenArray<T>> mutable_eigen_array(Tensor& tensor) {
  detail::check_viewable(tensor, false);
  return {tensor.mutable_data<T>().data(), tensor.numel()};
}

}  // namespace ebb
