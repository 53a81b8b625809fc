// Cutting out and putting back: slice, pad and concat. Slice and pad are each other's derivative.
#pragma once

#include <ebb/engine/row/structural.h>

#include <initializer_list>
#include <span>

namespace ebb {

/// Elements starts, starts + steps, ... before stops, along each axis.
///
/// Shapes    x [...], one start, stop and step per axis (no steps: all 1) -> ceil((stop - start) / step) along each.
///           Negative starts and stops count from the end; both are clipped to the axis, as in Python.
/// Gradient  dx = ct, with zeros where the slice skipped (a pad).
/// Throws    ShapeError unless there is one start, stop and step per axis, and for a step below 1.
/// Error     exact.
/// Example   slice(x, {0, -2}, {4, 99}, {2, 1});   // f32[8, 10] -> f32[2, 2]
Var slice(const Operand& x, const IntList& starts, const IntList& stops, const IntList& steps = {});

/// The elements `start` to `stop` along one axis, all of the others.
Var slice_axis(const Operand& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step = 1);

/// What stands around x.
enum class PadMode : std::uint8_t {
  constant,   ///< a value
  reflect,    ///< x mirrored at its first and last element, which are not repeated: c b | a b c | b a
  replicate,  ///< the first and the last element: a a | a b c | c c
};

struct PadOptions {
  PadMode mode = PadMode::constant;
  double value = 0;
  IntList interior = {};  ///< how many elements to put between two of x, along each axis; empty: none
};

/// x between `low` elements before and `high` after, along each axis.
///
/// Shapes    x [...] -> low + size + (size - 1) interior + high along each axis.
/// Gradient  dx = slice of ct; with mode reflect or replicate the elements around are added to those they repeat.
/// Throws    ShapeError unless there is one low and high (and interior, if any) per axis, if one is negative, or if an
///           axis has not enough elements to reflect or replicate; UsageError for interior with these modes; DTypeError
///           for a value that x's dtype does not hold.
/// Error     exact.
/// Example   pad(x, {0, 1}, {0, 1});   // f32[3, 4] -> f32[3, 6]
Var pad(const Operand& x, const IntList& low, const IntList& high, const PadOptions& options = {});

/// The inputs one after the other along an axis.
///
/// Shapes    x_i [...] alike but for the axis -> the sum of their sizes there.
/// Gradient  dx_i = slice of ct
/// Throws    ShapeError if other axes differ or there are no inputs; DTypeError if dtypes differ.
/// Error     exact.
/// Example   concat({a, b}, 0);   // f32[2, 3], f32[4, 3] -> f32[6, 3]
Var concat(std::span<const Operand> inputs, int axis);
Var concat(std::initializer_list<Operand> inputs, int axis);

std::span<const Row* const> slice_rows();

}  // namespace ebb
