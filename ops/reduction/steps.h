// The steps of the reductions that this folder adds to the sum; see engine/lanes/fold.h.
#pragma once

#include <ebb/engine/lanes/fold.h>

#include <limits>
#include <type_traits>

namespace ebb::EBB_ISA {

struct Mean : Sum {
  template <class C, class N>
  static C finish(C cell, N count) {
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
    return acc * x;
  }
  template <class C>
  static C merge(C a, C b) {
    return a * b;
  }
  template <class C, class N>
  static C finish(C cell, N) {
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
    if constexpr (lane::Printed<A>) {
      return select(either(kLargest ? x > acc : x < acc, x != x), x, acc);
    } else if constexpr (std::is_floating_point_v<typename A::value_type>) {
      return select(x == x, kLargest ? max(x, acc) : min(x, acc), x);
    } else {
      return select(kLargest ? x > acc : x < acc, x, acc);
    }
  }
  template <class C>
  static C merge(C a, C b) {
    return (kLargest ? b > a : b < a) || b != b ? b : a;
  }
  template <class C, class N>
  static C finish(C cell, N) {
    return cell;
  }
};

}  // namespace ebb::EBB_ISA
