// One-pass moments: the mean in two parts and the squared deviations, which share one accumulator.
//
// A mean far from zero does not fit in one number of its dtype; what x - mean loses by that is often all the digits
// that are left. The compiler puts these rows in the place of mean(x) and mean(square(x - mean(x))).
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// The mean over axes, rounded; with mean_low(x) it has twice the digits.
///
/// Gradient  dx = ct / n, repeated along the axes.
/// Error     64 ulp relative to mean(|x|); with the low part, 64 ulp relative to mean(|x - mean(x)|).
Var mean_high(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// mean(x) - mean_high(x). No gradient flows through it: all of the mean's is that of mean_high.
Var mean_low(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// sum(square(x - mean(x))), in one pass.
///
/// Gradient  dx = 2 (x - mean(x)) ct.
/// Error     64 ulp.
Var squared_deviations(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

extern const Row kMeanHigh, kMeanLow, kSquaredDeviations;
std::span<const Row* const> moment_rows();

}  // namespace ebb
