#include <ebb/engine/error.h>
#include <ebb/engine/tensor/shape.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ebb {

Shape::Shape(std::initializer_list<std::int64_t> sizes)
    : Shape(std::span<const std::int64_t>(sizes.begin(), sizes.size())) {}

Shape::Shape(std::span<const std::int64_t> sizes) {
  for (std::int64_t size : sizes) push_back(size);
}

void Shape::push_back(std::int64_t size) {
  if (rank_ == kMaxRank) {
    throw ShapeError(fmt::format("shape: more than {} axes are not supported", kMaxRank));
  }
  if (size < 0) throw ShapeError(fmt::format("shape: sizes must not be negative, got {}", size));
  sizes_[static_cast<std::size_t>(rank_++)] = size;
}

void Shape::fail_numel() const {
  throw ShapeError(fmt::format("shape: {} holds more than 2^63 - 1 elements", to_string(*this)));
}

std::string to_string(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

std::optional<Shape> broadcast(const Shape& a, const Shape& b) {
  Shape out = a.rank() >= b.rank() ? a : b;
  const Shape& small = a.rank() >= b.rank() ? b : a;
  const int shift = out.rank() - small.rank();
  for (int i = 0; i < small.rank(); ++i) {
    std::int64_t& size = out[i + shift];
    if (size == 1) {
      size = small[i];
    } else if (small[i] != 1 && small[i] != size) {
      return std::nullopt;
    }
  }
  return out;
}

Shape without_leading_ones(const Shape& shape) {
  const auto first = std::ranges::find_if(shape.sizes(), [](std::int64_t size) { return size != 1; });
  return Shape(shape.sizes().subspan(static_cast<std::size_t>(first - shape.sizes().begin())));
}

bool same_but_leading_ones(const Shape& a, const Shape& b) {
  return without_leading_ones(a) == without_leading_ones(b);
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  const int shift = to.rank() - from.rank();
  for (int i = 0; i < from.rank(); ++i) {
    if (from[i] != 1 && from[i] != to[i + shift]) return false;
  }
  return true;
}

}  // namespace ebb
