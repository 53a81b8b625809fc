#include <ebb/engine/error.h>
#include <ebb/engine/tensor/strided.h>
#include <ebb/engine/tensor/tensor.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <ostream>

namespace ebb {

Tensor Tensor::empty(const Shape& shape, DType dtype) {
  Tensor tensor(shape, dtype, Buffer());
  tensor.result_raw();
  return tensor;
}

Tensor Tensor::full(const Shape& shape, double value, DType dtype) {
  Tensor tensor = empty(shape, dtype);
  with_type(dtype, [&]<class T>(std::type_identity<T>) {
    std::ranges::fill(tensor.mutable_data<T>(), static_cast<T>(value));
  });
  return tensor;
}

template <class T>
Tensor Tensor::from(const Shape& shape, std::span<const T> values) {
  if (static_cast<std::int64_t>(values.size()) != shape.numel()) {
    throw ShapeError(fmt::format("tensor: {} values do not fill shape {}, which holds {}", values.size(),
                                 to_string(shape), shape.numel()));
  }
  Tensor tensor = empty(shape, dtype_of<T>);
  std::ranges::copy(values, tensor.mutable_data<T>().begin());
  return tensor;
}
template Tensor Tensor::from(const Shape&, std::span<const float>);
template Tensor Tensor::from(const Shape&, std::span<const double>);
template Tensor Tensor::from(const Shape&, std::span<const std::int64_t>);
template Tensor Tensor::from(const Shape&, std::span<const bool>);

std::byte* Tensor::result_raw() {
  if (!has_buffer()) {
    const std::int64_t size = static_cast<std::int64_t>(size_of(dtype_));
    const std::int64_t elements = numel();
    if (elements > std::numeric_limits<std::int64_t>::max() / size) {
      throw ShapeError(fmt::format("tensor: {} holds more than 2^63 - 1 bytes", describe(*this)));
    }
    buffer_ = Buffer(static_cast<std::size_t>(elements * size));
  }
  return buffer_.data();
}

template <class T>
Tensor Tensor::from_strided(const Shape& shape, const T* data, std::span<const std::int64_t> strides) {
  if (static_cast<int>(strides.size()) != shape.rank()) {
    throw ShapeError(fmt::format("from_strided: {} strides for shape {}, which has {} axes", strides.size(),
                                 to_string(shape), shape.rank()));
  }
  Tensor tensor = empty(shape, dtype_of<T>);
  if (tensor.numel() == 0) return tensor;
  if (data == nullptr) {
    throw UsageError(
        fmt::format("from_strided: data is null, shape {} holds {} elements", to_string(shape), tensor.numel()));
  }
  Strides from{};
  std::ranges::copy(strides, from.begin());
  copy_strided(shape, tensor.dtype(), reinterpret_cast<const std::byte*>(data), from, tensor.mutable_raw(),
               strides_of(shape));
  return tensor;
}
template Tensor Tensor::from_strided(const Shape&, const float*, std::span<const std::int64_t>);
template Tensor Tensor::from_strided(const Shape&, const double*, std::span<const std::int64_t>);
template Tensor Tensor::from_strided(const Shape&, const std::int64_t*, std::span<const std::int64_t>);
template Tensor Tensor::from_strided(const Shape&, const bool*, std::span<const std::int64_t>);

std::byte* Tensor::mutable_raw() {
  if (!buffer_.unique()) *this = clone();
  return buffer_.data();
}

double Tensor::at(std::int64_t i) const {
  if (i < 0 || i >= numel()) {
    throw ShapeError(fmt::format("at: element {} is outside of {}, which holds {}", i, describe(*this), numel()));
  }
  if (!has_buffer()) throw UsageError(fmt::format("at: the tensor {} has no values.", describe(*this)));
  return with_type(dtype_, [&]<class T>(std::type_identity<T>) {
    return static_cast<double>(reinterpret_cast<const T*>(raw())[i]);
  });
}

double Tensor::item() const {
  if (numel() != 1) {
    throw ShapeError(
        fmt::format("item: expected one element, got {}. Reduce it first, or read the "
                    "elements with data<T>().",
                    describe(*this)));
  }
  return at(0);
}

Tensor Tensor::reshaped(const Shape& shape) const {
  if (shape.numel() != numel()) {
    throw ShapeError(fmt::format("reshape: {} has {} elements, shape {} holds {}", describe(*this), numel(),
                                 to_string(shape), shape.numel()));
  }
  Tensor result = *this;
  result.shape_ = shape;
  return result;
}

namespace {

// C++ leaves open what a number out of range becomes, and processors differ.
std::int64_t to_integer(double value) {
  if (std::isnan(value)) return 0;
  if (value >= 0x1p63) return std::numeric_limits<std::int64_t>::max();
  if (value < -0x1p63) return std::numeric_limits<std::int64_t>::min();
  return static_cast<std::int64_t>(value);
}

}  // namespace

Tensor Tensor::to(DType dtype) const {
  if (dtype == dtype_) return *this;
  Tensor result = empty(shape_, dtype);
  with_type(dtype_, [&]<class From>(std::type_identity<From>) {
    with_type(dtype, [&]<class To>(std::type_identity<To>) {
      std::ranges::transform(data<From>(), result.mutable_data<To>().begin(), [](From value) {
        if constexpr (std::is_same_v<To, bool>) {
          return value != From{};
        } else if constexpr (std::is_floating_point_v<From> && std::is_same_v<To, std::int64_t>) {
          return to_integer(static_cast<double>(value));
        } else {
          return static_cast<To>(value);
        }
      });
    });
  });
  return result;
}

Tensor Tensor::clone() const {
  Tensor copy = empty(shape_, dtype_);
  if (has_buffer() && bytes() > 0) std::memcpy(copy.buffer_.data(), raw(), bytes());
  return copy;
}

void Tensor::check_dtype(DType asked) const {
  if (asked != dtype_) {
    throw DTypeError(fmt::format("data: asked for {} elements of {}. Convert it first with to({}).", name(asked),
                                 describe(*this), name(asked)));
  }
}

bool identical(const Tensor& a, const Tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         (a.bytes() == 0 || std::memcmp(a.raw(), b.raw(), a.bytes()) == 0);
}

std::string describe(const Tensor& tensor) {
  return fmt::format("{}{}", name(tensor.dtype()), to_string(tensor.shape()));
}

namespace {

constexpr std::int64_t kShown = 8;  // an axis longer than this shows its first and last three

void print(const Tensor& tensor, int axis, std::int64_t first, int digits, std::string& out) {
  if (axis == tensor.rank()) {
    const double value = tensor.at(first);
    if (tensor.dtype() == DType::boolean) {
      out += value != 0 ? "true" : "false";
    } else if (tensor.dtype() == DType::i64) {
      out += fmt::format("{}", tensor.data<std::int64_t>()[static_cast<std::size_t>(first)]);
    } else {
      out += std::isnan(value) ? "nan" : fmt::format("{:.{}g}", value, digits);  // the sign of a NaN says nothing
    }
    return;
  }
  std::int64_t step = 1;
  for (int k = axis + 1; k < tensor.rank(); ++k) step *= tensor.shape()[k];
  const std::int64_t n = tensor.shape()[axis];
  const bool last = axis + 1 == tensor.rank();
  out += '[';
  for (std::int64_t i = 0; i < n; ++i) {
    if (i > 0) out += last ? ", " : ",\n" + std::string(static_cast<std::size_t>(axis) + 1, ' ');
    if (n > kShown && i == 3) {
      out += "...";
      i = n - 4;
      continue;
    }
    print(tensor, axis + 1, first + i * step, digits, out);
  }
  out += ']';
}

}  // namespace

std::string to_string(const Tensor& tensor, int digits) {
  if (!tensor.has_buffer()) return describe(tensor) + " without values";
  std::string out;
  print(tensor, 0, 0, digits, out);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Tensor& tensor) { return out << to_string(tensor); }

}  // namespace ebb
