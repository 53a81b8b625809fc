// Running one reduction by itself, over any set of axes.
#pragma once

#include <ebb/engine/tape/row.h>

namespace ebb {

/// Reduces `x` over `axes` (counted from the front) into `out`, which has its shape and dtype and gets its buffer here.
void run_reduction(const Row& row, const Tensor& x, const IntList& axes, Tensor& out);

/// The reducer of a row for a dtype on the instruction set in force; null if the row does not take the dtype.
const Reducer* reducer_of(const Row& row, DType dtype);

}  // namespace ebb
