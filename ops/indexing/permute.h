// The order of axes, and the order along them.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// Axis i of the result is axis dims[i] of x.
///
/// Shapes    x [...] -> its sizes in the order of dims; negative dims count from the back.
/// Gradient  dx = ct, permuted back.
/// Throws    ShapeError unless dims names every axis once.
/// Error     exact.
/// Example   permute(x, {0, 2, 3, 1});   // f32[8, 3, 32, 32] -> f32[8, 32, 32, 3]
Var permute(const Operand& x, const IntList& dims);

/// x with two axes exchanged.
Var transpose(const Operand& x, int dim0, int dim1);

/// x read backwards along axes.
///
/// Shapes    x [...] -> x.shape; negative axes count from the back.
/// Gradient  dx = flip(ct)
/// Throws    ShapeError for an axis outside of x or named twice.
/// Error     exact.
/// Example   flip(x, {0, 1});   // half a turn
Var flip(const Operand& x, const IntList& axes);

std::span<const Row* const> permute_rows();

}  // namespace ebb
