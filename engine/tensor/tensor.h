// A tensor: a shape, a dtype and a contiguous buffer, row-major.
//
// There are no strides and no autodiff in here. Copies share the buffer; asking to write into a shared one copies it
// first, so a tensor that a tape holds can never change under it. A tensor without a buffer still has a shape and a
// dtype: that is what a node has whose value is not (or no longer) there.
#pragma once

#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/tensor/dtype.h>
#include <ebb/engine/tensor/shape.h>

#include <cstddef>
#include <initializer_list>
#include <iosfwd>
#include <span>
#include <string>

namespace ebb {

class Tensor {
 public:
  /// No elements, no buffer: shape [0], f32.
  Tensor() : shape_{0} {}

  /// A shape and a dtype without a buffer.
  static Tensor abstract(const Shape& shape, DType dtype) { return Tensor(shape, dtype, Buffer()); }

  /// The elements that lie `offset` bytes into `memory`, whose lifetime they share. Whoever plans memory writes through
  /// `memory`; mutable_raw() copies.
  static Tensor view(const Shape& shape, DType dtype, const Buffer& memory, std::size_t offset) {
    return Tensor(shape, dtype, Buffer(memory, offset));
  }

  /// Elements are not initialised.
  static Tensor empty(const Shape& shape, DType dtype);
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return full(shape, 0, dtype); }
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32);

  /// Copies `values`, row-major. Throws ShapeError if their number is not the shape's.
  template <class T>
  static Tensor from(const Shape& shape, std::span<const T> values);
  template <class T>
  static Tensor of(const Shape& shape, std::initializer_list<T> values) {
    return from(shape, std::span<const T>(values.begin(), values.size()));
  }

  /// Copies foreign memory: the element at index i is data[i . strides].
  ///
  /// Shapes    strides has one entry per axis, in elements; 0 repeats, and a negative one walks back from `data`, which
  ///           is the element at index 0.
  /// Throws    ShapeError if there is not one stride per axis, UsageError if data is null and there are elements.
  /// Example   Tensor::from_strided({3, 2}, columns, {1, 3});   // a column-major 3 x 2 matrix of floats
  template <class T>
  static Tensor from_strided(const Shape& shape, const T* data, std::span<const std::int64_t> strides);
  template <class T>
  static Tensor from_strided(const Shape& shape, const T* data, std::initializer_list<std::int64_t> strides) {
    return from_strided(shape, data, std::span<const std::int64_t>(strides.begin(), strides.size()));
  }

  const Shape& shape() const { return shape_; }
  DType dtype() const { return dtype_; }
  int rank() const { return shape_.rank(); }
  std::int64_t numel() const { return shape_.numel(); }
  std::size_t bytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype_); }

  /// False for a tensor that has a shape but no elements in memory.
  bool has_buffer() const { return static_cast<bool>(buffer_); }
  bool shares_buffer_with(const Tensor& other) const { return has_buffer() && buffer_ == other.buffer_; }

  /// How many tensors hold its memory.
  std::uint32_t holders() const { return buffer_.holders(); }

  const std::byte* raw() const { return buffer_.data(); }
  /// The elements' memory for writing; copies first if the buffer is shared.
  std::byte* mutable_raw();
  /// The elements' memory for whoever computes them: allocates where there is none, and never copies.
  std::byte* result_raw();

  /// The elements, row-major, without a copy. The span is good while a Tensor holds this buffer. Throws DTypeError if T
  /// is not the dtype's type.
  template <class T>
  std::span<const T> data() const {
    check_dtype(dtype_of<T>);
    return {reinterpret_cast<const T*>(raw()), static_cast<std::size_t>(has_buffer() ? numel() : 0)};
  }
  /// The same for writing. It first gives this Tensor a buffer of its own, if copies share it: they keep their values.
  /// A copy made afterwards shares what the span writes to, so ask anew after each copy.
  template <class T>
  std::span<T> mutable_data() {
    check_dtype(dtype_of<T>);
    return {reinterpret_cast<T*>(mutable_raw()), static_cast<std::size_t>(numel())};
  }

  /// Element `i` in row-major order, as a double.
  double at(std::int64_t i) const;

  /// The only element. Throws ShapeError if there are several.
  double item() const;

  /// The same elements under another shape; shares the buffer. Throws ShapeError if the counts differ.
  Tensor reshaped(const Shape& shape) const;

  /// The elements converted; to bool by `!= 0`, to i64 towards zero, NaN to 0, what is too large to the nearest.
  Tensor to(DType dtype) const;

  /// A copy with a buffer of its own.
  Tensor clone() const;

  /// Frees the buffer and keeps shape and dtype.
  void drop_buffer() { buffer_ = Buffer(); }

 private:
  Tensor(const Shape& shape, DType dtype, Buffer buffer) : buffer_(std::move(buffer)), shape_(shape), dtype_(dtype) {}
  void check_dtype(DType asked) const;

  Buffer buffer_;
  Shape shape_;
  DType dtype_ = DType::f32;
};

/// True if shape, dtype and every byte are equal.
bool identical(const Tensor& a, const Tensor& b);

/// `f32[32, 10]`.
std::string describe(const Tensor& tensor);

/// The elements as nested rows with `digits` significant digits; long axes are abbreviated in the middle.
std::string to_string(const Tensor& tensor, int digits = 6);
std::ostream& operator<<(std::ostream& out, const Tensor& tensor);

}  // namespace ebb
