// The steps of the reductions, once per instruction set.
#include <ebb/engine/lanes/reduce.h>

#include <limits>

namespace ebb::EBB_ISA {

struct Mean : Sum {
  template <class C>
  static C finish(C cell, std::int64_t count) {
    return cell / static_cast<C>(count);
  }
};

struct Product {
  template <class T>
  static constexpr T init() {
    return T(1);
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    return wrapping(std::multiplies<>(), acc, x);
  }
  template <class C>
  static C merge(C a, C b) {
    return wrapping(std::multiplies<>(), a, b);
  }
  template <class C>
  static C finish(C cell, std::int64_t) {
    return cell;
  }
};

// A NaN wins: it is not equal to itself (xsimd's != is false for it from AVX2 on). Of a NaN and a number, the
// instruction takes its second operand: a NaN that is there stays, and one that comes is put in beside the chain.
template <bool kLargest>
struct Extremum {
  template <class T>
  static constexpr T init() {
    using Limits = std::numeric_limits<T>;
    if (kLargest) return Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
    return Limits::has_infinity ? Limits::infinity() : Limits::max();
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    if constexpr (std::is_floating_point_v<typename A::value_type>) {
      return select(x == x, kLargest ? max(x, acc) : min(x, acc), x);
    } else {
      return select(kLargest ? x > acc : x < acc, x, acc);
    }
  }
  template <class C>
  static C merge(C a, C b) {
    return (kLargest ? b > a : b < a) || b != b ? b : a;
  }
  template <class C>
  static C finish(C cell, std::int64_t) {
    return cell;
  }
};

extern const std::array<ReducerTable, 4> kReducers;
const std::array<ReducerTable, 4> kReducers{reducer_table<Mean, false>(), reducer_table<Extremum<true>, true>(),
                                            reducer_table<Extremum<false>, true>(), reducer_table<Product, true>()};

}  // namespace ebb::EBB_ISA
