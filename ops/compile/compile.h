// compile(f): a function of Vars as a program that gives the same results faster.
//
// The function is called once per set of argument types, on a tape that only records; what it recorded is optimised,
// scheduled and planned, and later calls run that. A whole training step, optimizer and all, is such a function.
#pragma once

#include <ebb/engine/program/call.h>
#include <ebb/engine/program/compiler.h>
#include <ebb/ops/compile/rewrites.h>

#include <array>
#include <concepts>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace ebb {

struct CompileOptions {
  Setting setting = Setting::relaxed;
  Backend backend = Backend::generated;
  std::vector<std::string> arguments{};  ///< what they are called in errors and dumps; arg0, arg1 and so on if left out
};

namespace detail {

// What a traced function may return, as Vars, and what a compiled one returns in its place.
template <class R>
struct Results;
template <>
struct Results<void> {
  static void back(Tensors&&) {}
  static void recorded(Vars&&) {}
};
template <>
struct Results<Var> {
  static Vars flat(const Var& var) { return {var}; }
  static Tensor back(Tensors&& results) { return std::move(results[0]); }
  static Var recorded(Vars&& vars) { return vars[0]; }
};
template <>
struct Results<Vars> {
  static Vars flat(const Vars& vars) { return vars; }
  static Tensors back(Tensors&& results) { return std::move(results); }
  static Vars recorded(Vars&& vars) { return std::move(vars); }
};
template <>
struct Results<std::vector<Var>> {
  static Vars flat(const std::vector<Var>& vars) { return {vars.begin(), vars.end()}; }
  static std::vector<Tensor> back(Tensors&& results) { return {results.begin(), results.end()}; }
  static std::vector<Var> recorded(Vars&& vars) { return {vars.begin(), vars.end()}; }
};
template <std::size_t N>
struct Results<std::array<Var, N>> {
  static Vars flat(const std::array<Var, N>& vars) { return {vars.begin(), vars.end()}; }
  static std::array<Tensor, N> back(Tensors&& results) {
    std::array<Tensor, N> out;
    for (std::size_t i = 0; i < N; ++i) out[i] = std::move(results[i]);
    return out;
  }
  static std::array<Var, N> recorded(Vars&& vars) {
    std::array<Var, N> out;
    for (std::size_t i = 0; i < N; ++i) out[i] = vars[i];
    return out;
  }
};
template <class... V>
requires(std::is_same_v<V, Var>&&...) struct Results<std::tuple<V...>> {
  static Vars flat(const std::tuple<V...>& vars) {
    return std::apply([](const auto&... var) { return Vars{var...}; }, vars);
  }
  static auto back(Tensors&& results) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) { return std::make_tuple(std::move(results[I])...); }
    (std::index_sequence_for<V...>());
  }
  static std::tuple<V...> recorded(Vars&& vars) {
    return [&]<std::size_t... I>(std::index_sequence<I...>) { return std::tuple<V...>(vars[I]...); }
    (std::index_sequence_for<V...>());
  }
};
template <>
struct Results<std::pair<Var, Var>> {
  static Vars flat(const std::pair<Var, Var>& vars) { return {vars.first, vars.second}; }
  static std::pair<Tensor, Tensor> back(Tensors&& results) { return {std::move(results[0]), std::move(results[1])}; }
  static std::pair<Var, Var> recorded(Vars&& vars) { return {vars[0], vars[1]}; }
};

/// Calls `f` with the tape first if it takes one.
template <class F, class... V>
decltype(auto) call(F& f, Tape& tape, const V&... vars) {
  if constexpr (std::is_invocable_v<F&, Tape&, const V&...>) {
    return f(tape, vars...);
  } else {
    return f(vars...);
  }
}

template <class R, class F>
Vars flat_result(F&& f) {
  if constexpr (std::is_void_v<R>) {
    f();
    return {};
  } else {
    return Results<R>::flat(f());
  }
}

template <class>
using VarOf = Var;

}  // namespace detail

/// A compiled function; see compile().
template <class F>
class Compiled {
 public:
  Compiled(F f, const CompileOptions& options) : f_(std::make_shared<F>(std::move(f))), options_(options) {}

  /// Runs on tensors; States that the function updates have their new values when it returns.
  ///
  /// Throws    what the function throws when it is traced; UsageError if it reads a value then, or if it is running
  ///           already; what a kernel throws for values it refuses, with every State as it was.
  template <std::same_as<Tensor>... T>
  auto operator()(const T&... arguments) {
    using R = decltype(detail::call(*f_, std::declval<Tape&>(), std::declval<detail::VarOf<T>>()...));
    const std::array<Tensor, sizeof...(T)> list{arguments...};
    return detail::Results<R>::back(compiler<sizeof...(T)>().run(list));
  }
  /// On an eager tape: the results are recorded as calls, which have derivatives of any order, and updates are noted.
  /// On a tape that traces the function itself is recorded, and becomes part of the outer program.
  template <std::same_as<Var>... V>
  requires(sizeof...(V) > 0) auto operator()(const V&... arguments) {
    const std::array<Var, sizeof...(V)> list{arguments...};
    using R = decltype(detail::call(*f_, list[0].tape(), arguments...));
    Tape& tape = list[0].tape();
    if (tape.mode() == Tape::Mode::trace) return detail::call(*f_, tape, arguments...);
    std::array<TensorType, sizeof...(V)> types{TensorType{arguments.shape(), arguments.dtype()}...};
    return detail::Results<R>::recorded(
        record_call(compiler<sizeof...(V)>(list).program_for(types), tape, list, Location{}));
  }
  /// The same for a function of a span of Vars.
  auto operator()(std::span<const Tensor> arguments) requires std::is_invocable_v<F&, std::span<const Var>> {
    using R = std::invoke_result_t<F&, std::span<const Var>>;
    if (!compiler_) {
      compiler_ = std::make_unique<Compiler>(
          [f = f_](Tape&, std::span<const Var> vars) { return detail::flat_result<R>([&] { return (*f)(vars); }); },
          all_passes(), options_.setting, options_.backend, options_.arguments);
      compiler_->set_anomaly(anomaly_);
    }
    return detail::Results<R>::back(compiler_->run(arguments));
  }

  /// In anomaly mode a call runs node by node and throws at the first value that is not finite, with every State as it
  /// was.
  void set_anomaly(bool on) {
    anomaly_ = on;
    if (compiler_) compiler_->set_anomaly(on);
  }

  /// How often the function was traced, and why: a line for each time.
  std::size_t traces() const { return compiler_ ? compiler_->traces() : 0; }
  std::vector<std::string> reasons() const { return compiler_ ? compiler_->reasons() : std::vector<std::string>(); }
  /// The tape of a trace that failed, for a dump, which ends with the call that was refused; null once the function has
  /// run. It lasts until the next call.
  ///
  /// Example   try { step(x, w); } catch (const Error&) { std::cerr << dump(*step.failed_trace()); throw; }
  const Tape* failed_trace() const { return compiler_ ? compiler_->failed() : nullptr; }
  /// The program that ran last. Throws UsageError if none has.
  Program& program() const {
    if (!compiler_) throw UsageError("compile: the function has not run yet, so there is no program.");
    return compiler_->last();
  }

 private:
  /// `called` are the Vars that the first call is for, if it is for Vars: the arguments are called as they are.
  template <std::size_t N>
  Compiler& compiler(std::span<const Var> called = {}) {
    if (compiler_ && arity_ == N) return *compiler_;
    std::vector<std::string> names = options_.arguments;
    for (const Var& var : options_.arguments.empty() ? called : std::span<const Var>()) {
      names.push_back(var.name().starts_with('%') ? "arg" + std::to_string(names.size()) : var.name());
    }
    arity_ = N;
    compiler_ = std::make_unique<Compiler>(
        [f = f_](Tape& tape, std::span<const Var> vars) {
          return [&]<std::size_t... I>(std::index_sequence<I...>) {
            using R = decltype(detail::call(*f, tape, vars[I]...));
            return detail::flat_result<R>([&]() -> decltype(auto) { return detail::call(*f, tape, vars[I]...); });
          }
          (std::make_index_sequence<N>());
        },
        all_passes(), options_.setting, options_.backend, std::move(names));
    compiler_->set_anomaly(anomaly_);
    return *compiler_;
  }

  std::shared_ptr<F> f_;
  CompileOptions options_;
  std::size_t arity_ = 0;
  bool anomaly_ = false;
  std::unique_ptr<Compiler> compiler_;
};

/// A function of Vars as a program that gives the same results faster.
///
/// `f` takes Vars, or the tape and then Vars, and returns a Var, several (Vars, vector, array, pair, tuple), or
/// nothing. It is called once per set of argument types, while nothing has a value: a branch on a value is an error,
/// `where` selects instead; loops unroll; other C++ values become constants. It may read and update States.
///
/// Settings  exact: the bits of eager mode. relaxed, the default: algebra too.
/// Example   auto step = compile([&](Var x, Var y) { ...; sgd.step(grad(loss, sgd.parameters())); return loss; });
///           for (const auto& b : batches) std::cout << step(b.x, b.y);
template <class F>
Compiled<F> compile(F f, const CompileOptions& options = {}) {
  return Compiled<F>(std::move(f), options);
}

}  // namespace ebb
