// The step of a sum, for packs and for symbols alike.
//
// Reductions that add are compiled once per instruction set (reduce.h), and their rows also say what they do on symbols,
// from which code can be generated: both use this. Nothing here leaves a symbol behind that bears no set's name.
#pragma once

#include <ebb/engine/lanes/math.h>
#include <ebb/engine/tape/row.h>

namespace ebb {
namespace lane {

struct Adds {
  template <class T>
  static consteval T init() {
    return T(0);
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    return acc + x;
  }
};

}  // namespace lane

/// The fold of a reduction with one accumulator, from its `init` and `step`.
template <class R>
constexpr Fold fold_of() {
  return {1, [](std::size_t, const lane::Symbol& x) { return lane::lit(x, R::template init<double>()); },
          [](std::size_t, std::span<const lane::Symbol> accumulators, const lane::Symbol& x) {
            return R::step(accumulators[0], x);
          }};
}

}  // namespace ebb
