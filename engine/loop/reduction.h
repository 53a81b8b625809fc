// Running one reduction: a block of it, or all by itself, over any set of axes.
#pragma once

#include <ebb/engine/loop/plan.h>
#include <ebb/engine/row/row.h>

namespace ebb {

/// Reduces `x` over `axes` (counted from the front) into `out`, which has its shape and dtype and gets its buffer here.
void run_reduction(const Row& row, const Tensor& x, const IntList& axes, Tensor& out);

/// The reducer of a row for a dtype on the instruction set in force; null if the row does not take the dtype.
const Reducer* reducer_of(const Row& row, DType dtype);

/// The cells of `carry` take in a block, whose first element is `x`; its rows and planes lie so many elements apart.
void reduce_block(const Reducer& reducer, const Cut& cut, const Block& block, const std::byte* x, std::int64_t size,
                  std::int64_t row_step, std::int64_t plane_step, std::int64_t* carry);

/// Merges the chunks of `carry` into the first.
void merge_chunks(const Reducer& reducer, const Cut& cut, std::int64_t* carry);

}  // namespace ebb
