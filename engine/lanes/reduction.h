// Running reductions over any set of axes.
//
// Axes that are kept or reduced alike are merged first, so every call is runs (the innermost axis is reduced) or columns
// (it is kept) under outer loops. Work is cut by the shape alone and combined in order: any number of threads gives the
// same bits.
#pragma once

#include <ebb/engine/tape/row.h>

namespace ebb {

/// Reduces `x` over `axes` (counted from the front) into `out`, which has its shape and dtype and gets its buffer here.
void run_reduction(const Row& row, const Tensor& x, const IntList& axes, Tensor& out);

/// The reducer of a row for a dtype on the instruction set in force; null if the row does not take the dtype.
const Reducer* reducer_of(const Row& row, DType dtype);

}  // namespace ebb
