// The steps of a reduction, as structs of templates: what the accumulator begins with, takes in and gives in the end.
//
// As with the lambdas of elementwise ops, the same steps run on packs, where they are compiled once per instruction
// set, and on symbols, where they print themselves. There no set is defined, and the namespace's name is as it stands.
#pragma once

#include <ebb/engine/lanes/math.h>

namespace ebb {

/// A reduction in symbols: `step` of the accumulator `acc` and an element `a`, `finish` of `acc` and the count `n`. The
/// numbers of the names are 0, 1 and 2.
struct Fold {
  double init = 0;
  lane::Symbol step, finish;
};

template <class R>
Fold fold_of() {
  const lane::Symbol acc = lane::Symbol::name("acc", 0);
  return {R::template init<double>(), R::step(acc, lane::Symbol::name("a", 1)),
          R::finish(acc, lane::Symbol::name("n", 2))};
}

namespace EBB_ISA {

/// The sum; other reductions that add derive from it.
struct Sum {
  template <class T>
  static constexpr T init() {
    return T(0);
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    return acc + x;
  }
  template <class C>
  static C merge(C a, C b) {
    return a + b;
  }
  template <class C, class N>
  static C finish(C cell, N) {
    return cell;
  }
};

}  // namespace EBB_ISA
}  // namespace ebb
