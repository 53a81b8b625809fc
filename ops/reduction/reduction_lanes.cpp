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

// A NaN wins: it is not equal to itself. (xsimd's != is false for it from AVX2 on.)
struct Max {
  template <class T>
  static constexpr T init() {
    return std::numeric_limits<T>::has_infinity ? -std::numeric_limits<T>::infinity()
                                                : std::numeric_limits<T>::lowest();
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    return select((x > acc) | !(x == x), x, acc);
  }
  template <class C>
  static C merge(C a, C b) {
    return b > a || b != b ? b : a;
  }
  template <class C>
  static C finish(C cell, std::int64_t) {
    return cell;
  }
};

extern const std::array<ReducerTable, 2> kReducers;
const std::array<ReducerTable, 2> kReducers{reducer_table<Mean, false>(), reducer_table<Max, true>()};

}  // namespace ebb::EBB_ISA
