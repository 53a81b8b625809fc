// Scans: running sums, products and recurrences along one axis.
//
// The family is closed under differentiation without a division: the derivative of a running sum is one from the other
// end, and that of a running product is a linear recurrence from the other end, whose derivative is one again. So zeros
// are exact at every order.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

struct ScanOptions {
  bool reverse = false;  ///< from the end of the axis to its beginning
};

/// The running sum along an axis: out[i] = x[0] + ... + x[i]. Carried in double; integers wrap around.
///
/// Shapes    x [...] -> the same.
/// Gradient  dx = cumsum(ct) from the other end
/// Throws    ShapeError for an axis outside of x, and for a scalar; DTypeError for bool.
/// Error     1 ulp of f32 relative to the running sum of |x|; i ulp of f64 at element i.
/// Example   cumsum(x, 0);   // [1, 2, 3] -> [1, 3, 6]
Var cumsum(const Operand& x, int axis, const ScanOptions& options = {});

/// The running product along an axis: out[i] = x[0] * ... * x[i]. Carried in double; integers wrap around.
///
/// Shapes    x [...] -> the same.
/// Gradient  dx = the product before x times linear_recurrence(x after, ct) from the other end; right where x is 0
/// Throws    as cumsum.
/// Error     1 ulp of f32 relative to the result; i ulp of f64 at element i.
/// Example   cumprod(x, 0);   // [1, 2, 3] -> [1, 2, 6]
Var cumprod(const Operand& x, int axis, const ScanOptions& options = {});

/// out[i] = a[i] * out[i - 1] + b[i] along an axis, from out[-1] = 0: exponential averages, linear filters.
///
/// Shapes    a, b broadcast.
/// Gradient  db = linear_recurrence(a after, ct) from the other end, da = db * out before
/// Throws    ShapeError if the shapes do not broadcast, for an axis outside of them, and for scalars; DTypeError if the
///           dtypes differ, and for bool.
/// Error     1 ulp of f32 relative to the same recurrence of |a| and |b|; 2 i ulp of f64 at element i.
/// Example   linear_recurrence(a, b, 0);   // [_, 2, 3], [1, 1, 1] -> [1, 3, 10]
Var linear_recurrence(const Operand& a, const Operand& b, int axis, const ScanOptions& options = {});

/// x moved one place along an axis, towards its end: out[i] = x[i - 1], and `fill` where there is none. With `reverse`
/// towards its beginning: out[i] = x[i + 1].
Var shift(const Operand& x, int axis, double fill, const ScanOptions& options = {});

std::span<const Row* const> scan_rows();

}  // namespace ebb
