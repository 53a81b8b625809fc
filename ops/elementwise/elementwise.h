// Elementwise ops: functions of the elements at one place, with broadcasting.
//
// All of them take Vars or literals; a literal takes the dtype of the tensor beside it. Shapes broadcast as in NumPy; a
// gradient is summed back to its input's shape. Mixing dtypes is a DTypeError that names cast.
#pragma once

#include <ebb/engine/tape/structural.h>

namespace ebb {

/// -x
Var neg(const Operand& x);
/// x * x.              Gradient  dx = 2 x ct
Var square(const Operand& x);
/// The square root.    Gradient  dx = 0.5 / sqrt(x) * ct; infinite at 0.
Var sqrt(const Operand& x);
/// 1 / x.              Gradient  dx = -1 / x^2 * ct
Var reciprocal(const Operand& x);
/// e^x.                Error 2 ulp.
Var exp(const Operand& x);
/// The natural logarithm; -inf at 0, NaN below.   Error 2 ulp.
Var log(const Operand& x);
/// Error 4 ulp.        Gradient  dx = (1 - tanh(x)^2) ct
Var tanh(const Operand& x);
/// 1 / (1 + e^-x).     Error 4 ulp.   Gradient  dx = s (1 - s) ct
Var sigmoid(const Operand& x);
/// max(x, 0); NaN stays NaN.   Gradient  dx = ct where x > 0, else 0.
Var relu(const Operand& x);

/// a - b
Var sub(const Operand& a, const Operand& b);
/// a * b
Var mul(const Operand& a, const Operand& b);
/// a / b
Var div(const Operand& a, const Operand& b);

/// Comparisons, of bool dtype; false where an operand is NaN (not_equal: true). No gradient.
Var less(const Operand& a, const Operand& b);
Var less_equal(const Operand& a, const Operand& b);
Var greater(const Operand& a, const Operand& b);
Var greater_equal(const Operand& a, const Operand& b);
Var equal(const Operand& a, const Operand& b);
Var not_equal(const Operand& a, const Operand& b);

/// a where the condition holds, else b. The branch that is not taken gets the gradient 0, whatever its value.
///
/// Shapes    condition (bool), a, b broadcast.
Var where(const Operand& condition, const Operand& a, const Operand& b);

/// The elements in another dtype; to bool by `!= 0`, to i64 towards zero.
///
/// Gradient  dx = cast(ct, x.dtype); none through i64 or bool.
Var cast(const Operand& x, DType dtype);

inline Var operator-(const Operand& x) { return neg(x); }
inline Var operator-(const Operand& a, const Operand& b) { return sub(a, b); }
inline Var operator*(const Operand& a, const Operand& b) { return mul(a, b); }
inline Var operator/(const Operand& a, const Operand& b) { return div(a, b); }
inline Var operator<(const Operand& a, const Operand& b) { return less(a, b); }
inline Var operator<=(const Operand& a, const Operand& b) { return less_equal(a, b); }
inline Var operator>(const Operand& a, const Operand& b) { return greater(a, b); }
inline Var operator>=(const Operand& a, const Operand& b) { return greater_equal(a, b); }

std::span<const Row* const> elementwise_rows();

}  // namespace ebb
