// Order: argsort is a row; what has values is a gather at its places, and so has a derivative.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

struct SortOptions {
  bool descending = false;
};

/// The places of x's elements in sorted order along an axis, as i64. Stable: equal elements, as 0 and -0 are, keep
/// their order, in a descending sort too. NaN comes last, either way.
///
/// Shapes    x [...] -> the same.
/// Gradient  none.
/// Throws    ShapeError for an axis outside of x, and for a scalar; DTypeError for bool.
/// Example   argsort(x);   // [3, 1, 2] -> [1, 2, 0]
Var argsort(const Operand& x, int axis = -1, const SortOptions& options = {});

/// x in sorted order along an axis; see argsort.
///
/// Gradient  each element's ct goes back to where it came from.
Var sort(const Operand& x, int axis = -1, const SortOptions& options = {});

struct TopK {
  Var values;
  Var indices;  ///< i64, along the axis
};
struct TopKOptions {
  bool largest = true;
};

/// The k largest elements along an axis, in descending order, and their places; or the smallest, in ascending order.
/// NaN comes last.
///
/// Shapes    x [..., n, ...] -> two of [..., k, ...].
/// Gradient  each value's ct goes back to where it came from.
/// Throws    as argsort; ShapeError unless 0 <= k <= n.
/// Example   top_k(logits, 5).indices;   // f32[32, 10] -> i64[32, 5]
TopK top_k(const Operand& x, std::int64_t k, int axis = -1, const TopKOptions& options = {});

std::span<const Row* const> sorting_rows();

}  // namespace ebb
