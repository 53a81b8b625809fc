// Reductions over any axes. sum is structural (engine/row/structural.h); what needs two passes is a composition.
//
// All of them take their axes as a list, one axis, or none for all; negative axes count from the back; `keepdim` keeps
// reduced axes with size 1. Named alike in every error: an axis outside of x or named twice is a ShapeError.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// The mean over axes.
///
/// Shapes    x [...], axes dropped, or kept with size 1 if `keepdim`.
/// Gradient  dx = ct / n, repeated along the axes.
/// Throws    ShapeError for an axis outside of x or named twice; DTypeError unless floating.
/// Error     64 ulp relative to mean(|x|).
Var mean(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// The product over axes; 1 over nothing. Integers wrap around.
///
/// Gradient  dx = ct times the product of the others, without a division: right where x is 0, at every order.
/// Throws    ShapeError as mean; DTypeError for bool.
/// Error     n ulp relative to the result, where no partial product leaves the range of the dtype.
Var prod(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// Who gets the gradient of an extremum that several elements share.
enum class Ties : std::uint8_t {
  split,  ///< all of them, in equal shares
  first,  ///< the first in row-major order, the one that argmax gives
};

/// The largest element over axes; NaN if there is one.
///
/// Gradient  dx = ct at the largest element; see Ties where several are.
/// Throws    ShapeError as mean, and if an axis has no elements; DTypeError for bool.
/// Error     exact.
Var max(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false, Ties ties = Ties::split);

/// The smallest element over axes; NaN if there is one. Otherwise as max.
Var min(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false, Ties ties = Ties::split);

/// The place of the first largest element, as i64: its position in row-major order among the reduced axes. The first
/// NaN counts as the largest.
///
/// Shapes    x [...], axes dropped, or kept with size 1 if `keepdim`.
/// Gradient  none.
/// Throws    as max.
/// Example   argmax(logits, 1);   // f32[32, 10] -> i64[32]
Var argmax(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// The place of the first smallest element; the first NaN counts as the smallest. Otherwise as argmax.
Var argmin(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// True if one element is; false over nothing. x is bool, no gradient.
Var any(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// True if every element is; true over nothing. x is bool, no gradient.
Var all(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

struct VarianceOptions {
  double correction = 1;  ///< divide by n - correction: 1 is unbiased, 0 the biased variance that batch norm divides by
  bool keepdim = false;
};

/// The variance over axes: sum((x - mean(x))^2) / (n - correction), in two passes.
///
/// Gradient  dx = 2 (x - mean(x)) ct / (n - correction)
/// Throws    as mean; ShapeError unless n > correction; UsageError unless the correction is finite.
/// Error     128 ulp, and what the rounding of the mean adds: its square.
/// Example   var(x, 0, {.correction = 0});   // f32[32, 10] -> f32[10]
Var var(const Operand& x, const Axes& axes = kAllAxes, const VarianceOptions& options = {});

/// The square root of var. Its gradient is 0 where it is 0: constant data have no slope of their own.
Var std(const Operand& x, const Axes& axes = kAllAxes, const VarianceOptions& options = {});

/// The Euclidean norm over axes: sqrt(sum(x^2)).
///
/// Gradient  dx = x / norm(x) ct; 0 where the norm is 0.
/// Throws    as mean.
/// Error     34 ulp. The squares overflow from 1.8e19 on in f32, 1.3e154 in f64.
Var norm(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// log(sum(exp(x))) over axes, without overflow; -inf where every element is.
///
/// Gradient  dx = softmax(x) ct; 0 where x is -inf, NaN where every element is.
/// Throws    as max.
Var logsumexp(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// x - logsumexp(x) over axes; the largest element is taken off first, so that large elements lose nothing.
///
/// Gradient  dx = ct - softmax(x) sum(ct)
/// Throws    as max.
Var log_softmax(const Operand& x, const Axes& axes = -1);

/// exp(x) / sum(exp(x)) over axes, without overflow; 0 where x is -inf, NaN where every element is.
///
/// Gradient  dx = y (ct - sum(y ct)) for the result y.
/// Throws    as max.
Var softmax(const Operand& x, const Axes& axes = -1);

std::span<const Row* const> reduction_rows();

}  // namespace ebb
