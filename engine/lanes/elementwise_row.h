// From an entry of an op tuple to a row: its lanes, its formula, its oracle, its rules and its type rule.
#pragma once

#include <ebb/engine/codegen/recorded.h>
#include <ebb/engine/lanes/op.h>
#include <ebb/engine/row/row.h>

#include <array>
#include <utility>

namespace ebb {
namespace detail {

template <class F, class X, std::size_t... I>
auto call_lambda(const F& f, const X* x, std::index_sequence<I...>) {
  return f(x[I]...);
}

/// The oracle calls a select's condition with a bool.
template <class O>
long double oracle_of(const O& op, const long double* x) {
  if constexpr (O::kForm == 2) {
    return op.f(x[0] != 0, x[1], x[2]);
  } else {
    return static_cast<long double>(call_lambda(op.f, x, std::make_index_sequence<O::kArity>()));
  }
}

template <class R>
constexpr VjpRule rule_of(const R& rule) {
  if constexpr (std::is_same_v<R, lane::NoGrad>) {
    return kNoGrad(rule.reason);
  } else {
    return VjpRule(static_cast<VjpRule::Function>(rule));
  }
}

template <class... R>
constexpr VjpRules rules_of(const std::tuple<R...>& rules) {
  return std::apply([](const R&... rule) { return VjpRules(rule_of(rule)...); }, rules);
}

TensorType elementwise_type(const Call& call, Signature signature, lane::Takes takes);

}  // namespace detail

/// Entry `i` of a family's tables, which its lanes.cpp makes once per instruction set.
template <class Table, std::size_t N>
constexpr PerIsa<Table> per_isa(const std::array<Table, N>& base, const std::array<Table, N>& avx2,
                                const std::array<Table, N>& avx512, std::size_t i) {
  return {&base[i], &avx2[i], &avx512[i]};
}

/// The row of entry I of the op tuple `kOps`.
template <const auto& kOps, std::size_t I>
constexpr Row make_row(PerIsa<LaneTable> lanes) {
  using O = std::remove_cvref_t<decltype(std::get<I>(kOps))>;
  const lane::Traits& traits = std::get<I>(kOps).traits;
  return Row{
      .name = std::get<I>(kOps).name,
      .kind = Kind::elementwise,
      .arity = O::kArity,
      .type =
          [](const Call& call) {
            return detail::elementwise_type(call, Signature{O::kForm}, std::get<I>(kOps).traits.takes);
          },
      .vjp = detail::rules_of(std::get<I>(kOps).rules),
      .signature = Signature{O::kForm},
      .lanes = lanes,
      .domain = {traits.lo, traits.hi, traits.kink, traits.margin},
      .ulp = traits.ulp,
      .facts = {traits.commutative, traits.linear},
      .expression =
          [](std::span<const lane::Symbol> inputs) {
            return lane::Symbol(
                detail::call_lambda(std::get<I>(kOps).f, inputs.data(), std::make_index_sequence<O::kArity>()));
          },
      .oracle = [](const long double* x) { return detail::oracle_of(std::get<I>(kOps), x); },
  };
}

/// The same, for generated code too: of the library's own ops, whose lanes are compiled to the bits of what they
/// record.
template <const auto& kOps, std::size_t I>
constexpr Row make_recorded_row(PerIsa<LaneTable> lanes) {
  Row row = make_row<kOps, I>(lanes);
  row.record = codegen::record<kOps, I>;
  return row;
}

/// The rows of a whole tuple.
template <const auto& kOps, class LanesAt, std::size_t... I>
constexpr auto make_rows(LanesAt lanes_at, std::index_sequence<I...>) {
  return std::array{make_recorded_row<kOps, I>(lanes_at(I))...};
}

template <std::size_t N>
constexpr std::size_t index_of(const std::array<Row, N>& rows, std::string_view name) {
  for (std::size_t i = 0; i < N; ++i) {
    if (rows[i].name == name) return i;
  }
  throw "no row of this name";  // at compile time: an error where the name is used
}

}  // namespace ebb
