// Sizes along axes: a short list of integers that lives inside its owner.
//
// Shapes are made and compared at every recorded op, so they never touch the heap: at most kMaxRank sizes are held in
// place. Broadcasting is NumPy's: shapes are aligned at their last axes, and a size of 1 repeats.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>

namespace ebb {

inline constexpr int kMaxRank = 8;

class Shape {
 public:
  constexpr Shape() = default;
  Shape(std::initializer_list<std::int64_t> sizes);
  explicit Shape(std::span<const std::int64_t> sizes);

  int rank() const { return rank_; }
  std::int64_t operator[](int axis) const { return sizes_[static_cast<std::size_t>(axis)]; }
  std::int64_t& operator[](int axis) { return sizes_[static_cast<std::size_t>(axis)]; }
  const std::int64_t* begin() const { return sizes_.data(); }
  const std::int64_t* end() const { return sizes_.data() + rank_; }
  std::span<const std::int64_t> sizes() const { return {begin(), end()}; }

  /// The number of elements; 1 for rank 0. Throws ShapeError past 2^63 - 1.
  std::int64_t numel() const {
    std::int64_t n = 1;
    for (std::int64_t size : *this) {
      if (__builtin_mul_overflow(n, size, &n)) fail_numel();
    }
    return n;
  }

  /// Appends an axis. Throws ShapeError past kMaxRank.
  void push_back(std::int64_t size);

  bool operator==(const Shape& other) const {
    if (rank_ != other.rank_) return false;
    for (int i = 0; i < rank_; ++i) {
      if ((*this)[i] != other[i]) return false;
    }
    return true;
  }

 private:
  [[noreturn]] void fail_numel() const;

  std::array<std::int64_t, kMaxRank> sizes_{};
  int rank_ = 0;
};

/// An operand's steps along the axes of a walk, in elements; 0 where it is repeated.
using Strides = std::array<std::int64_t, kMaxRank>;

/// `[32, 10]`; `[]` for rank 0.
std::string to_string(const Shape& shape);

/// The shape that both broadcast to, or nothing if they do not.
std::optional<Shape> broadcast(const Shape& a, const Shape& b);

/// True if the shapes differ in leading axes of size 1 at most: they broadcast alike.
bool same_but_leading_ones(const Shape& a, const Shape& b);

/// The shape without its leading axes of size 1.
Shape without_leading_ones(const Shape& shape);

/// True if `from` broadcasts to exactly `to`.
bool broadcasts_to(const Shape& from, const Shape& to);

}  // namespace ebb
