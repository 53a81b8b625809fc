#include <ebb/ops/batch_norm/batch_norm.h>

#include <ebb/ops/batch_norm/staged.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/slice.h>
#include <ebb/ops/reduction/reduction.h>
#include <fmt/format.h>

#include <array>
#include <cmath>

namespace ebb {

namespace batch_norm_detail {

Statistics::Statistics(const Shape& x, int axis) : channel_axis(axis < 0 ? axis + x.rank() : axis) {
  for (int i = 0; i < x.rank(); ++i) {
    if (i != channel_axis) axes.push_back(i);
  }
  keepdim = channel_axis != x.rank() - 1;
  channels = x[channel_axis];
  per_channel.push_back(channels);
  for (int i = channel_axis + 1; i < x.rank(); ++i) per_channel.push_back(1);
  count = 1;
  for (std::int64_t i : axes) count *= x[static_cast<int>(i)];
}

Statistics check(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
                 const BatchNormOptions& options) {
  static constexpr Row kBatchNorm = composition("batch_norm");
  std::array<Operand, 3> inputs{x, x, x};
  std::size_t n = 1;
  for (const std::optional<Var>& parameter : {gamma, beta}) {
    if (parameter) inputs[n++] = *parameter;
  }
  const Arguments call(kBatchNorm, std::span(inputs).first(n));
  const Shape& shape = call.shape(0);
  const DType dtype = call.dtype(0);
  if (!is_floating(dtype)) {
    call.fail_dtype(fmt::format("needs a floating type, got {}", name(dtype)), "Convert x with cast(x, DType::f32).");
  }
  if (!(options.eps >= 0) || !std::isfinite(options.eps)) {
    call.fail_usage(fmt::format("eps must be >= 0 and finite, got {}", options.eps));
  }
  if (shape.rank() < 2) call.fail_shape("needs a batch axis and a channel axis", "Reshape x to [N, C].");
  const int axis = call.axis(options.channel_axis);
  const Statistics s(shape, axis);
  if (s.channels == 0) call.fail_shape("num_features must be positive, got 0");
  for (std::size_t i = 1; i < n; ++i) {
    const std::string_view which = i == 1 && gamma ? "gamma" : "beta";
    if (call.dtype(i) != dtype) {
      call.fail_dtype(fmt::format("x is {} but {} is {}", name(dtype), which, name(call.dtype(i))),
                      fmt::format("Convert one with cast(x, DType::{}).", name(dtype)));
    }
    if (call.shape(i) != Shape{s.channels}) {
      // The usual mistake is the layout: say so where another axis would fit.
      std::string advice;
      for (int other : {shape.rank() - 1, 1}) {
        if (call.shape(i).rank() == 1 && other != axis && shape[other] == call.shape(i)[0]) {
          advice = fmt::format("Did you mean channel_axis = {}?", other == shape.rank() - 1 ? -1 : other);
        }
      }
      call.fail_shape(fmt::format("expected {} channels on axis {} of {}, got {}", call.shape(i).numel(), axis,
                                  to_string(shape), s.channels),
                      advice);
    }
  }
  if (s.count == 1 && options.single_value == SingleValue::error) {
    call.fail_shape(
        fmt::format("expected more than 1 value per channel when training, got shape {}: 1 value per channel",
                    to_string(shape)),
        "Use eval mode, a larger batch, or another single_value policy.");
  }
  if (s.count == 2) {
    note_once("batch_norm: 2 values per channel: normalised values are +-1, input gradient is O(eps)");
  }
  const double smallest = dtype == DType::f32 ? 1.2e-38 : 2.3e-308;
  if (options.eps > 0 && options.eps < smallest) {
    note_once(fmt::format("batch_norm: eps {} is 0 in {}: a channel without variance gives out = beta", options.eps,
                          name(dtype)));
  }
  return s;
}

Steps nine_steps(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
                 const BatchNormOptions& options) {
  Tape& t = x.tape();
  const Statistics s(x.var().shape(), options.channel_axis);
  const Var mu = t.name(mean(x, Axes(s.axes), s.keepdim), "mu", "1");
  const Var xmu = t.name(x - mu, "xmu", "2");
  const Var sq = t.name(square(xmu), "sq", "3");
  const Var var = t.name(mean(sq, Axes(s.axes), s.keepdim), "var", "4");
  return {normalise(xmu, var, gamma, beta, s.per_channel, options.eps), mu, var, Var()};
}

Var normalise(const Var& xmu, const Var& variance, const std::optional<Var>& gamma, const std::optional<Var>& beta,
              const Shape& parameter_shape, double eps) {
  Tape& t = xmu.tape();
  // Without eps a channel may have no deviation: its ivar is 0 by rule, in value and in derivative.
  const bool guard = eps == 0;
  const Var positive = guard ? variance > 0.0 : Var();
  const Var shifted = guard ? where(positive, variance, 1.0) : variance + eps;
  t.set_step(shifted, "5a");
  const Var sqrtvar = t.name(sqrt(shifted), "sqrtvar", "5b");
  const Var inverse = reciprocal(sqrtvar);
  const Var ivar = t.name(guard ? where(positive, inverse, 0.0) : inverse, "ivar", "6");
  Var out = t.name(xmu * ivar, "xhat", "7");
  const auto shaped_for = [&](const Var& parameter, std::string_view step) {
    const Var shaped = reshape(parameter, parameter_shape);
    if (!(shaped == parameter)) t.set_step(shaped, step);
    return shaped;
  };
  if (gamma) out = t.name(shaped_for(*gamma, "8") * out, "gammax", "8");
  if (beta) out = out + shaped_for(*beta, "9");
  return t.name(out, "out", beta ? "9" : std::string_view());
}

}  // namespace batch_norm_detail

namespace {

[[noreturn]] void fail_disagreement(const std::vector<Disagreement>& table, const Operand& x) {
  std::string text =
      fmt::format("batch_norm: the staged and the fused kernel disagree; got {}.{}\n  {:8} {:>12} {:>12}",
                  describe(x.var().value()), x.tape().place("batch_norm", x.where()), "", "difference", "bound");
  for (const Disagreement& row : table) {
    text +=
        fmt::format("\n  {:8} {:>12.3e} {:>12.3e}{}", row.name, row.difference, row.bound, row.agrees() ? "" : "  <-");
  }
  throw UsageError(text);
}

batch_norm_detail::Steps record(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
                                const BatchNormOptions& options) {
  batch_norm_detail::check(x, gamma, beta, options);
  Tape& tape = x.tape();
  if (options.kernel == BatchNormKernel::staged || tape.mode() == Tape::Mode::trace) {
    return batch_norm_detail::nine_steps(x, gamma, beta, options);
  }
  if (options.kernel == BatchNormKernel::both) {
    const auto value = [](const std::optional<Var>& var) {
      return var ? std::optional<Tensor>(var->value()) : std::nullopt;
    };
    const std::vector<Disagreement> table =
        compare_batch_norm_kernels(x.var().value(), value(gamma), value(beta), options);
    for (const Disagreement& row : table) {
      if (!row.agrees()) fail_disagreement(table, x);
    }
  }
  return batch_norm_detail::fused(x, gamma, beta, options);
}

}  // namespace

Var batch_norm(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
               const BatchNormOptions& options) {
  const auto scope = x.tape().scope("batch_norm", x.where());
  return record(x, gamma, beta, options).out;
}

BatchNormResult batch_norm_with_statistics(const Operand& x, const std::optional<Var>& gamma,
                                           const std::optional<Var>& beta, const BatchNormOptions& options) {
  const auto scope = x.tape().scope("batch_norm", x.where());
  const batch_norm_detail::Steps steps = record(x, gamma, beta, options);
  const auto statistic = [&](const Var& v, std::int64_t row) {
    const Var of_channel = v.alive() ? v : slice(steps.moments, {row, 0}, {row + 1, steps.moments.shape()[1]});
    return cast(reshape(detach(of_channel), Shape{of_channel.numel()}), x.var().dtype());
  };
  return {steps.out, statistic(steps.mean, 0), statistic(steps.variance, 1)};
}

Var batch_norm_eval(const Operand& x, const Var& mean, const Var& variance, const std::optional<Var>& gamma,
                    const std::optional<Var>& beta, const BatchNormOptions& options) {
  const auto scope = x.tape().scope("batch_norm", x.where());
  BatchNormOptions given = options;
  given.single_value = SingleValue::allow;  // the statistics are given: any number of values will do
  const batch_norm_detail::Statistics s = batch_norm_detail::check(x, gamma, beta, given);
  for (const Var& statistic : {mean, variance}) {
    if (statistic.shape() != Shape{s.channels}) {
      throw ShapeError(fmt::format("batch_norm: running {} should contain {} elements not {}; got {} {}.{}",
                                   statistic == mean ? "mean" : "variance", s.channels, statistic.numel(),
                                   describe(statistic.tape().node(statistic.id()).value), statistic.name(),
                                   x.tape().place("batch_norm", x.where())));
    }
  }
  const auto given_statistic = [&](const Var& v) { return reshape(cast(detach(v), x.var().dtype()), s.per_channel); };
  const Var centred = x - given_statistic(mean);
  return batch_norm_detail::normalise(x.tape().name(centred, "xmu", "2"), given_statistic(variance), gamma, beta,
                                      s.per_channel, options.eps);
}

}  // namespace ebb
