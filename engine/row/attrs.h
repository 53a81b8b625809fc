// Attributes: the constants of a node (axes, a scalar, a flag), as one small variant.
//
// Every op's attributes have the same form, so that hashing, comparing, printing, writing JSON and reading golden cases
// are one loop each. They live in place, without the heap, since a training step records them anew each time.
#pragma once

#include <ebb/engine/tensor/dtype.h>
#include <ebb/engine/tensor/shape.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ebb {

class Tape;

/// Up to 16 integers in place: axes, a shape, pairs of paddings.
class IntList {
 public:
  static constexpr std::size_t kCapacity = 2 * kMaxRank;

  IntList() = default;
  IntList(std::initializer_list<std::int64_t> values) : IntList(std::span(values.begin(), values.size())) {}
  explicit IntList(std::span<const std::int64_t> values);
  explicit IntList(const Shape& shape) : IntList(shape.sizes()) {}

  void push_back(std::int64_t value);
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  std::int64_t operator[](std::size_t i) const { return values_[i]; }
  std::int64_t& operator[](std::size_t i) { return values_[i]; }
  const std::int64_t* begin() const { return values_.data(); }
  const std::int64_t* end() const { return values_.data() + size_; }
  bool contains(std::int64_t value) const;
  Shape shape() const { return Shape(std::span(begin(), size_)); }
  bool operator==(const IntList& other) const;

 private:
  std::array<std::int64_t, kCapacity> values_{};
  std::size_t size_ = 0;
};

/// A recorded function as an attribute.
using Body = std::shared_ptr<const Tape>;

/// One named constant. Names and words are string literals: they are not copied.
struct Attr {
  std::string_view name;
  std::variant<std::int64_t, double, bool, std::string_view, IntList, Body> value;

  bool operator==(const Attr&) const = default;
};

/// The attributes of one node, read by name. Asking for an absent one is a mistake of the row's author and throws.
class Attrs {
 public:
  Attrs() = default;
  Attrs(std::span<const Attr> list) : list_(list) {}

  std::int64_t integer(std::string_view name) const { return get<std::int64_t>(name); }
  double real(std::string_view name) const { return get<double>(name); }
  bool flag(std::string_view name) const { return get<bool>(name); }
  std::string_view word(std::string_view name) const { return get<std::string_view>(name); }
  const IntList& list(std::string_view name) const { return get<IntList>(name); }
  const Body& body(std::string_view name) const { return get<Body>(name); }

  std::span<const Attr> all() const { return list_; }
  bool operator==(const Attrs& other) const;

 private:
  template <class T>
  const T& get(std::string_view name) const;

  std::span<const Attr> list_;
};

/// The same attributes, with `dtype` for every floating dtype among them.
std::vector<Attr> with_floating(std::span<const Attr> attrs, DType dtype);

/// `axes=[0], keepdim=false`.
std::string to_string(const Attrs& attrs);

}  // namespace ebb
