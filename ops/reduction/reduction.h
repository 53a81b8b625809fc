// Reductions over any axes. sum is structural (engine/tape/structural.h); softmax and its kin are compositions.
#pragma once

#include <ebb/engine/tape/structural.h>

namespace ebb {

/// The mean over axes.
///
/// Shapes    x [...], axes dropped, or kept with size 1 if `keepdim`.
/// Gradient  dx = ct / n, repeated along the axes.
/// Throws    ShapeError for an axis outside of x or named twice; DTypeError unless floating.
/// Error     64 ulp relative to mean(|x|).
Var mean(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// The largest element over axes; NaN if there is one.
///
/// Gradient  dx = ct at the largest element, in equal shares where several are.
/// Throws    as mean; ShapeError if an axis has no elements.
Var max(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// log(sum(exp(x))) over axes, without overflow; -inf where every element is.
///
/// Gradient  dx = softmax(x) ct
Var logsumexp(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// x - logsumexp(x) along one axis.
Var log_softmax(const Operand& x, int axis = -1);

/// exp(log_softmax(x)) along one axis.
Var softmax(const Operand& x, int axis = -1);

std::span<const Row* const> reduction_rows();

}  // namespace ebb
