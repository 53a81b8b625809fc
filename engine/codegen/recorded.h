// Recorded packs: the type on which an elementwise lambda writes down, operation by operation, what it does to packs.
//
// A symbol says what an op means, 1 / (1 + exp(-x)); a recorded pack says what its lanes do, with exp's reduction and
// polynomial spelled out. It has the operators of packs and a Machine, so the functions of lanes/pack_math.h run on it
// as they stand: generated code has the bits of the lanes because both are instances of one text. A lambda that does
// what cannot be recorded, a call of the C library for a huge angle, says so.
#pragma once

#include <ebb/engine/codegen/formula.h>
#include <ebb/engine/lanes/op.h>
#include <ebb/engine/lanes/pack_math.h>

#include <bit>
#include <concepts>
#include <type_traits>
#include <utility>

namespace ebb::codegen {

/// While it lives, this thread's recorded packs write to `formula`.
class Recording {
 public:
  explicit Recording(Formula& formula);
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording();

  static Id note(const Value& value);
  /// What follows cannot be recorded.
  static void refuse();
  bool refused() const { return refused_; }

 private:
  Formula& formula_;
  Recording* outer_;
  bool refused_ = false;
};

/// Packs of T: floats, the unsigned integers that are their bits, or truth values.
template <class T>
class Recorded {
 public:
  using value_type = T;
  using batch_bool_type = Recorded<bool>;
  static constexpr bool kReal = std::is_floating_point_v<T>, kTruth = std::is_same_v<T, bool>;

  Recorded() = default;
  explicit Recorded(T value) {
    if constexpr (kTruth) {
      id_ = Recording::note({Op::always});
      if (!value) id_ = Recording::note({Op::exclusive, {id_, id_}});
    } else if constexpr (sizeof(T) == 4) {
      id_ = Recording::note({Op::literal, {}, std::bit_cast<std::uint32_t>(value)});
    } else {
      id_ = Recording::note({Op::literal, {}, std::bit_cast<std::uint64_t>(value)});
    }
  }
  static Recorded of(Id id) { return Recorded(id, {}); }
  Id id() const { return id_; }

  friend Recorded operator+(const Recorded& a, const Recorded& b) {
    return two(kReal ? Op::add : Op::add_integers, a, b);
  }
  friend Recorded operator-(const Recorded& a, const Recorded& b) { return of_reals(Op::subtract, a, b); }
  friend Recorded operator*(const Recorded& a, const Recorded& b) { return of_reals(Op::multiply, a, b); }
  friend Recorded operator/(const Recorded& a, const Recorded& b) { return of_reals(Op::divide, a, b); }
  friend Recorded operator-(const Recorded& a) { return a ^ Recorded(T(-0.0)); }
  friend Recorded operator&(const Recorded& a, const Recorded& b) { return two(kTruth ? Op::both : Op::bit_and, a, b); }
  friend Recorded operator|(const Recorded& a, const Recorded& b) {
    return two(kTruth ? Op::either : Op::bit_or, a, b);
  }
  friend Recorded operator^(const Recorded& a, const Recorded& b) {
    return two(kTruth ? Op::exclusive : Op::bit_xor, a, b);
  }
  friend Recorded operator!(const Recorded& a) { return a ^ Recorded(true); }
  friend Recorded operator<<(const Recorded& a, int places) { return shifted(Op::shift_left, a, places); }
  friend Recorded operator>>(const Recorded& a, int places) { return shifted(Op::shift_right, a, places); }

  friend Recorded<bool> operator<(const Recorded& a, const Recorded& b) { return compared(Op::less, a, b); }
  friend Recorded<bool> operator<=(const Recorded& a, const Recorded& b) { return compared(Op::less_equal, a, b); }
  friend Recorded<bool> operator>(const Recorded& a, const Recorded& b) { return compared(Op::greater, a, b); }
  friend Recorded<bool> operator>=(const Recorded& a, const Recorded& b) { return compared(Op::greater_equal, a, b); }
  friend Recorded<bool> operator==(const Recorded& a, const Recorded& b) { return compared(Op::equal, a, b); }
  friend Recorded select(const Recorded<bool>& c, const Recorded& a, const Recorded& b) {
    return of(Recording::note({Op::select, {c.id(), a.id(), b.id()}}));
  }

 private:
  Recorded(Id id, std::nullptr_t) : id_(id) {}
  static Recorded two(Op op, const Recorded& a, const Recorded& b) {
    return of(Recording::note({op, {a.id(), b.id()}}));
  }
  static Recorded of_reals(Op op, const Recorded& a, const Recorded& b) {
    static_assert(kReal);
    return two(op, a, b);
  }
  static Recorded shifted(Op op, const Recorded& a, int places) {
    static_assert(std::unsigned_integral<T> && !kTruth);
    return of(Recording::note({op, {a.id()}, static_cast<std::uint64_t>(places)}));
  }
  static Recorded<bool> compared(Op op, const Recorded& a, const Recorded& b) {
    static_assert(kReal);
    return Recorded<bool>::of(Recording::note({op, {a.id(), b.id()}}));
  }

  Id id_ = 0;
};

}  // namespace ebb::codegen

namespace ebb::lane {

template <class T>
struct Machine<codegen::Recorded<T>> {
  using P = codegen::Recorded<T>;
  using Bits = codegen::Recorded<std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>>;
  using Wide = codegen::Recorded<double>;

  static Bits bits(const P& x) { return Bits::of(x.id()); }
  static P real(const Bits& x) { return P::of(x.id()); }
  static P least(const P& a, const P& b) {
    return P::of(codegen::Recording::note({codegen::Op::least, {a.id(), b.id()}}));
  }
  static P greatest(const P& a, const P& b) {
    return P::of(codegen::Recording::note({codegen::Op::greatest, {a.id(), b.id()}}));
  }
  static P root(const P& x) { return P::of(codegen::Recording::note({codegen::Op::root, {x.id()}})); }
  static std::pair<Wide, Wide> widened(const P& x) {
    codegen::Recording::refuse();
    return {Wide::of(x.id()), Wide::of(x.id())};
  }
  static P narrowed(const Wide& low, const Wide&) { return P::of(low.id()); }
  template <class F>
  static P or_by_library(const P&, const P& y, T, F) {
    codegen::Recording::refuse();
    return y;
  }
};

}  // namespace ebb::lane

namespace ebb::codegen {

/// What entry I of the op tuple `kOps` does to operands of `dtype`; nothing if that cannot be recorded.
template <const auto& kOps, std::size_t I>
std::optional<Id> record(Formula& formula, DType dtype, std::span<const Id> operands) {
  using O = std::remove_cvref_t<decltype(std::get<I>(kOps))>;
  const auto on = [&]<class T, std::size_t... K>(std::type_identity<T>,
                                                 std::index_sequence<K...>) -> std::optional<Id> {
    const auto fits = [&](std::size_t k) {
      const bool truth = std::is_same_v<T, bool> || (O::kForm == 2 && k == 0);
      return formula[operands[k]].is_truth() == truth;
    };
    if (!(fits(K) && ...)) return std::nullopt;
    const Recording recording(formula);
    const Id id =
        std::get<I>(kOps).f(Recorded<std::conditional_t<O::kForm == 2 && K == 0, bool, T>>::of(operands[K])...).id();
    if (recording.refused()) return std::nullopt;
    return id;
  };
  constexpr auto kOperands = std::make_index_sequence<O::kArity>();
  constexpr lane::Takes takes = std::get<I>(kOps).traits.takes;
  if constexpr (takes != lane::Takes::booleans) {
    if (dtype == DType::f32 && formula.dtype() == dtype) return on(std::type_identity<float>(), kOperands);
    if (dtype == DType::f64 && formula.dtype() == dtype) return on(std::type_identity<double>(), kOperands);
  }
  if constexpr (takes == lane::Takes::booleans || takes == lane::Takes::all) {
    if (dtype == DType::boolean) return on(std::type_identity<bool>(), kOperands);
  }
  return std::nullopt;
}

}  // namespace ebb::codegen
