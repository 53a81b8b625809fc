// The step of one-pass moments, for packs, scalars and symbols alike: sums of x - shift and of its square.
#pragma once

namespace ebb::lane {

struct Deviations {
  template <class A>
  [[gnu::always_inline]] static void step(const A& shift, A& sum, A& square, const A& x) {
    const A d = x - shift;
    sum = sum + d;
    square = square + d * d;
  }
};

}  // namespace ebb::lane
