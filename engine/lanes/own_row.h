// Ops of your own: from a lambda and a rule, written outside of the library, to a row like its own.
//
// The library compiles its lanes once per instruction set. A file that includes this header compiles the lanes of its
// own ops once, for whatever set its compiler flags allow, by the same templates; the row then names them for every
// set. Needs xsimd's headers.
#pragma once

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/engine/lanes/map.h>
#include <ebb/engine/lanes/reduce.h>

namespace ebb {
namespace detail {

template <class Make>
inline constexpr auto kOwnOps = std::tuple{Make{}()};
template <class Make>
inline constexpr auto kOwnLanes = EBB_ISA::lane_tables<kOwnOps<Make>>();
template <class R, bool integers>
inline constexpr auto kOwnReducer = EBB_ISA::reducer_table<R, integers>();

}  // namespace detail

/// The row of an elementwise op, from a lambda that makes its entry: name, traits, lambda and rules, as in
/// ops/elementwise/elementwise_ops.h. Rules are generic lambdas of the Vjp (`g.ct`, `g.in[0]`, `g.out`).
///
/// The row must live as long as any tape that it is recorded on: keep it in a constant.
/// Example   const Row kSoftsign = own_row([] { return lane::unary("softsign", {.ulp = 2}, ...); });
///           Var softsign(const Operand& x) { return x.tape().record(kSoftsign, {x}); }
template <class Make>
constexpr Row own_row(Make) {
  const LaneTable* const lanes = &detail::kOwnLanes<Make>[0];
  return make_row<detail::kOwnOps<Make>, 0>({lanes, lanes, lanes});
}

/// The lanes of a reduction of your own, for Row::reducer. R gives `init` (a number), `step(acc, x)` on packs,
/// `merge(a, b)` on cells, `finish(cell, count)`; deriving from lane::Sum gives what adding needs.
///
/// Example   const Row kPower{.name = "power", .kind = Kind::reduction, .type = reduction_type, .vjp = ...,
///                            .reducer = own_reducer<Power>(), .examples = reduction_examples};
template <class R, bool integers = false>
constexpr PerIsa<ReducerTable> own_reducer() {
  const ReducerTable* const table = &detail::kOwnReducer<R, integers>;
  return {table, table, table};
}

namespace lane {
using EBB_ISA::Sum;
}

}  // namespace ebb
