// Reading and adding at indices along one axis. The two rows are each other's derivative, so the family is closed.
//
// Indices in a tensor count from 0 and do not wrap: a negative one is data gone wrong, and an error. Only positions
// that are written in the program (slice, select) may count from the end.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// out[i][j] = x[index[i][j]][j] for axis 0, and so on for the others.
///
/// Shapes    x [...], index i64 of x's rank, no longer than x on the other axes -> index.shape.
/// Gradient  dx = scatter_add(0, index, ct); none for index.
/// Throws    ShapeError if the ranks differ, index is too long or the axis is outside of x; DTypeError unless index is
///           i64; UsageError for an index below 0 or past the axis, which names it and its place.
/// Error     exact.
/// Example   gather(log_p, reshape(labels, {-1, 1}), 1);   // f32[32, 10], i64[32, 1] -> f32[32, 1]
Var gather(const Operand& x, const Operand& index, int axis);

/// x with src added at indices: out[index[i][j]][j] += src[i][j] for axis 0. Repeated indices add up, in the order of
/// src, so that the bits do not depend on the number of threads.
///
/// Shapes    x [...], index i64 and src of one shape, no longer than x on the other axes -> x.shape.
/// Gradient  dx = ct, dsrc = gather(ct, index); none for index.
/// Throws    as gather; ShapeError if index and src differ; DTypeError if x and src differ, or are bool.
/// Error     0.5 ulp of the partial sums per addition.
/// Example   scatter_add(counts, bins, ones, 0);   // f32[8], i64[100], f32[100] -> f32[8]
Var scatter_add(const Operand& x, const Operand& index, const Operand& src, int axis);

/// The slices of x at indices along an axis: rows of a table, which may repeat.
///
/// Shapes    x [...], index i64 of any shape -> x's sizes with index.shape in place of the axis.
/// Gradient  dx = ct, added up at the indices; none for index.
/// Throws    as gather.
/// Error     exact.
/// Example   index_select(table, words, 0);   // f32[5000, 64], i64[8, 20] -> f32[8, 20, 64]
Var index_select(const Operand& x, const Operand& index, int axis);

/// Zeros with ones at `labels`, along a new last axis: the rows that cross-entropy compares with.
///
/// Shapes    labels i64 [...] -> [..., classes].
/// Throws    DTypeError unless labels are i64 and dtype is of numbers; UsageError for a negative number of classes, and
///           as scatter_add for a label outside of [0, classes).
/// Example   one_hot(labels, 10);   // i64[32] -> f32[32, 10]
Var one_hot(const Operand& labels, std::int64_t classes, DType dtype = DType::f32);

std::span<const Row* const> gather_rows();

}  // namespace ebb
