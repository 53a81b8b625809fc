// Everyday rearrangements, each a few recorded rows: their derivatives, of any order, follow from those.
//
// A position that is written in the program (an axis, the index of select) may count from the back, as in Python. Axes
// of size 1 come and go without a copy.
#pragma once

#include <ebb/engine/row/structural.h>

#include <initializer_list>
#include <span>

namespace ebb {

/// x without an axis of size 1.
///
/// Throws    ShapeError if the axis has another size.
Var squeeze(const Operand& x, int axis);

/// x with a new axis of size 1, which is number `axis` of the result.
Var unsqueeze(const Operand& x, int axis);

/// x with the axes from `first` to `last` made one.
Var flatten(const Operand& x, int first = 0, int last = -1);

/// The slice of x at one index of an axis, without that axis.
///
/// Throws    ShapeError for an axis outside of x; UsageError for an index outside of the axis.
/// Example   select(x, 0, -1);   // the last row: f32[8, 10] -> f32[10]
Var select(const Operand& x, int axis, std::int64_t index);

/// Inputs of one shape, one after the other along a new axis.
///
/// Throws    ShapeError if shapes differ or there are no inputs; DTypeError if dtypes differ.
/// Example   stack({a, b}, 0);   // f32[3], f32[3] -> f32[2, 3]
Var stack(std::span<const Operand> inputs, int axis = 0);
Var stack(std::initializer_list<Operand> inputs, int axis = 0);

/// x cut along an axis into pieces of the given sizes, which concat puts together again.
///
/// Throws    ShapeError unless the sizes add up to the axis.
Vars split(const Operand& x, std::span<const std::int64_t> sizes, int axis = 0);
Vars split(const Operand& x, std::initializer_list<std::int64_t> sizes, int axis = 0);

/// x cut along an axis into so many pieces, as equal as can be: the first ones are one longer where it must be.
Vars chunk(const Operand& x, std::int64_t pieces, int axis = 0);

/// Copies of x side by side: reps[i] of them along axis i. Missing reps, and missing axes, are leading ones.
///
/// Example   tile(x, {2, 3});   // f32[2, 3] -> f32[4, 9]
Var tile(const Operand& x, const IntList& reps);

/// Each element `times` times, one after the other along an axis.
///
/// Example   repeat(x, 2, 0);   // [1, 2] -> [1, 1, 2, 2]
Var repeat(const Operand& x, std::int64_t times, int axis);

/// x moved along axes, by shifts[i] places along axes[i]; what leaves at the end comes back at the beginning.
///
/// Example   roll(x, {1}, {0});   // [1, 2, 3] -> [3, 1, 2]
Var roll(const Operand& x, const IntList& shifts, const IntList& axes);

/// The lower triangle of the last two axes, 0 above: elements [i, j] with j - i <= diagonal.
///
/// Throws    ShapeError if x has fewer than two axes; DTypeError for bool.
Var tril(const Operand& x, std::int64_t diagonal = 0);

/// The upper triangle of the last two axes, 0 below: elements [i, j] with j - i >= diagonal.
///
/// Throws    as tril.
Var triu(const Operand& x, std::int64_t diagonal = 0);

}  // namespace ebb
