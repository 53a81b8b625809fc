// gradcheck: whether derivative rules are right, by comparing them with differences of values.
//
// The check is made in f64 on random projections: for random cotangents u and directions v, <pullback(f(x), u), v> must
// be the slope of <u, f(x + t v)>, whatever the shapes. The second order does the same for x -> pullback(f(x), u). A
// check can pass and prove nothing: where the slope is what is left of terms that cancel, a wrong rule has as small a
// slope. Such a check is refused, input by input, since a second input with a good slope would hide it in their total.
#pragma once

#include <ebb/engine/tape/state.h>
#include <ebb/engine/tape/tape.h>

#include <functional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace ebb {

struct GradcheckOptions {
  int order = 2;                           ///< 1, or 2 for the derivative's derivative too
  std::uint64_t seed = 0;                  ///< of the projections
  int directions = 3;                      ///< random directions per input and order
  double tolerance = 1e-6;                 ///< allowed difference, relative to the larger of the two slopes
  std::vector<State> states = {};          ///< put back before every run of f, and at the end
  std::vector<std::string> names = {};     ///< of the inputs, for the report; "input 0" otherwise
  std::vector<std::size_t> constant = {};  ///< inputs whose slope is known to vanish: not refused, but it must vanish
};

enum class GradcheckVerdict : std::uint8_t {
  right,
  wrong,       ///< the slopes differ
  vacuous,     ///< nothing is proved: a wrong rule would pass
  unresolved,  ///< values are too rough or not finite: no step size gives a slope to compare with
};
std::string_view name(GradcheckVerdict verdict);

/// One order and one input.
struct GradcheckEntry {
  int order = 1;
  std::size_t input = 0;
  std::string name;  ///< `input 0 f64[4, 5]`
  GradcheckVerdict verdict = GradcheckVerdict::right;
  // Of the worst direction:
  double analytic = 0;     ///< the slope from the rules
  double numeric = 0;      ///< the slope from differences, at the best step
  double uncertainty = 0;  ///< how far `numeric` may be off: rounding and curvature at that step
  double step = 0;         ///< the best step, in units of the direction
  double terms = 0;        ///< how large the terms are that the slope is the sum of
  /// Where the verdict is `wrong`: the worst element of the input, and the derivative by it.
  std::string element;
  double element_analytic = 0;
  double element_numeric = 0;
  std::string text;  ///< the line of the report
};

/// The line of the report.
std::string describe(const GradcheckEntry& entry);

struct GradcheckReport {
  std::vector<GradcheckEntry> entries;

  bool passed() const;
  /// One line per entry; what failed says what to do.
  std::string text() const;
};

/// A function under test, on the Vars of a fresh tape.
using GradcheckFunction = std::function<Vars(std::span<const Var>)>;

/// Checks the derivatives of f at the inputs.
///
/// f is called many times, each time on a tape of its own, with one leaf per input: as f(a, b, ...) of so many Vars, or
/// as f(std::span<const Var>). It returns a Var or Vars of any shape and must be a function: no hidden state but that
/// in `states`. Inputs of floating dtype are cast to f64 and differentiated, others are passed as they are. Nothing is
/// committed.
/// Throws    UsageError if f does not take so many Vars, has no floating output, or gives two results for one input;
///           whatever f throws. States are put back in any case.
/// Example   gradcheck([](Var x, Var w) { return tanh(x * w); }, {x, w}).text()
GradcheckReport gradcheck_function(const GradcheckFunction& f, const std::vector<Tensor>& inputs,
                                   const GradcheckOptions& options = {});
template <class F>
GradcheckReport gradcheck(F f, const std::vector<Tensor>& inputs, const GradcheckOptions& options = {});

/// The same; throws Error with the text of the report unless all of it passed.
template <class F>
void check_gradients(F f, const std::vector<Tensor>& inputs, const GradcheckOptions& options = {});

// --- implementation of the templates ---------------------------------------------------------------------------------

namespace detail {

inline Vars as_vars(Var var) { return Vars{var}; }
inline Vars as_vars(Vars vars) { return vars; }

template <class F, std::size_t... I>
constexpr bool takes(std::index_sequence<I...>) {
  return std::is_invocable_v<F&, decltype(static_cast<void>(I), std::declval<const Var&>())...>;
}
template <class F, std::size_t... I>
Vars apply_vars(F& f, std::span<const Var> x, std::index_sequence<I...>) {
  return as_vars(f(x[I]...));
}
// As many Vars as there are inputs, if f takes so many; `done` says so.
template <class F, std::size_t N>
bool try_apply(F& f, std::span<const Var> x, Vars& out) {
  if constexpr (takes<F>(std::make_index_sequence<N>())) {
    if (x.size() == N) {
      out = apply_vars(f, x, std::make_index_sequence<N>());
      return true;
    }
  }
  return false;
}
template <class F, std::size_t... N>
bool try_all(F& f, std::span<const Var> x, Vars& out, std::index_sequence<N...>) {
  return (try_apply<F, N + 1>(f, x, out) || ...);
}

}  // namespace detail

template <class F>
GradcheckReport gradcheck(F f, const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  return gradcheck_function(
      [&f](std::span<const Var> x) {
        Vars out;
        if (detail::try_all(f, x, out, std::make_index_sequence<8>())) return out;
        if constexpr (!detail::takes<F>(std::make_index_sequence<1>()) &&
                      std::is_invocable_v<F&, std::span<const Var>>) {
          return detail::as_vars(f(x));
        } else {
          throw UsageError("gradcheck: f does not take " + std::to_string(x.size()) + " Vars, one per input.");
        }
      },
      inputs, options);
}

template <class F>
void check_gradients(F f, const std::vector<Tensor>& inputs, const GradcheckOptions& options) {
  const GradcheckReport report = gradcheck(std::move(f), inputs, options);
  if (!report.passed()) throw Error(report.text());
}

}  // namespace ebb
