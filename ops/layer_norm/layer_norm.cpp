#include <ebb/ops/layer_norm/layer_norm.h>

#include <ebb/ops/batch_norm/staged.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/reduction/reduction.h>
#include <fmt/format.h>

#include <cmath>

namespace ebb {
namespace {

// The trailing shape, or an error that names what does not fit it.
Shape check(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
            const LayerNormOptions& options) {
  static constexpr Row kLayerNorm = composition("layer_norm");
  std::array<Operand, 3> inputs{x, x, x};
  std::size_t n = 1;
  for (const std::optional<Var>& parameter : {gamma, beta}) {
    if (parameter) inputs[n++] = *parameter;
  }
  const Arguments call(kLayerNorm, std::span(inputs).first(n));
  call.require_floating(0);
  call.common_dtype();
  if (!(options.eps >= 0) || !std::isfinite(options.eps)) {
    call.fail_usage(fmt::format("eps must be >= 0 and finite, got {}", options.eps));
  }
  const Shape& shape = call.shape(0);
  if (options.normalized_ndim < 1 || options.normalized_ndim > shape.rank()) {
    call.fail_shape(fmt::format("normalized_ndim is {}, x has {} axes", options.normalized_ndim, shape.rank()));
  }
  const Shape trailing(shape.sizes().last(static_cast<std::size_t>(options.normalized_ndim)));
  for (std::size_t i = 1; i < n; ++i) {
    if (call.shape(i) == trailing) continue;
    call.fail_shape(fmt::format("{} must be {}, the trailing axes of x, not {}", i == 1 && gamma ? "gamma" : "beta",
                                to_string(trailing), to_string(call.shape(i))));
  }
  return trailing;
}

}  // namespace

Var layer_norm(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
               const LayerNormOptions& options) {
  Tape& t = x.tape();
  const auto scope = t.scope("layer_norm", x.where());
  const Shape trailing = check(x, gamma, beta, options);
  IntList axes;
  for (int i = x.var().rank() - options.normalized_ndim; i < x.var().rank(); ++i) axes.push_back(i);
  const Var mu = t.name(mean(x, Axes(axes), true), "mu", "1");
  const Var xmu = t.name(x - mu, "xmu", "2");
  const Var sq = t.name(square(xmu), "sq", "3");
  const Var var = t.name(mean(sq, Axes(axes), true), "var", "4");
  return batch_norm_detail::normalise(xmu, var, gamma, beta, trailing, options.eps);
}

}  // namespace ebb
