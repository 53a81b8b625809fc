// Elementwise ops: functions of the elements at one place, with broadcasting.
//
// All of them take Vars or literals; a literal takes the dtype of the tensor beside it. Shapes broadcast as in NumPy; a
// gradient is summed back to its input's shape. Mixing dtypes is a DTypeError that names cast. A function that is an op
// of its own is one line here and one entry in elementwise_ops.h or math_ops.h; the others are compositions.
#pragma once

#include <ebb/engine/row/structural.h>

#include <algorithm>
#include <optional>

namespace ebb {

namespace detail {

/// A row's name as a template argument.
template <std::size_t N>
struct Name {
  constexpr Name(const char (&literal)[N]) { std::copy_n(literal, N, text); }
  char text[N];
};

/// The elementwise row of this name. Throws std::logic_error if there is none.
const Row& elementwise_row(std::string_view name);

template <Name kName, class... More>
Var elementwise(const Operand& first, const More&... more) {
  static const Row& row = elementwise_row(kName.text);
  const Operand* any = &first;
  ((any = any->is_literal() ? &more : any), ...);
  return any->tape().record(row, {first, more...});
}

}  // namespace detail

/// -x
inline Var neg(const Operand& x) { return detail::elementwise<"neg">(x); }
/// The magnitude.      Gradient  dx = sign(x) ct; 0 at 0.
inline Var abs(const Operand& x) { return detail::elementwise<"abs">(x); }
/// 1, -1, or x itself if it is 0 or NaN.   Gradient 0.
inline Var sign(const Operand& x) { return detail::elementwise<"sign">(x); }
/// The integer below, above, nearest (halves to the even one), towards zero.   Gradient 0.
inline Var floor(const Operand& x) { return detail::elementwise<"floor">(x); }
inline Var ceil(const Operand& x) { return detail::elementwise<"ceil">(x); }
inline Var round(const Operand& x) { return detail::elementwise<"round">(x); }
inline Var trunc(const Operand& x) { return detail::elementwise<"trunc">(x); }
/// x * x.              Gradient  dx = 2 x ct
inline Var square(const Operand& x) { return detail::elementwise<"square">(x); }
/// The square root.    Gradient  dx = 0.5 / sqrt(x) * ct; infinite at 0.
inline Var sqrt(const Operand& x) { return detail::elementwise<"sqrt">(x); }
/// 1 / sqrt(x).        Error 1.5 ulp.   Gradient  dx = -0.5 / (x sqrt(x)) * ct
inline Var rsqrt(const Operand& x) { return detail::elementwise<"rsqrt">(x); }
/// 1 / x.              Gradient  dx = -1 / x^2 * ct
inline Var reciprocal(const Operand& x) { return detail::elementwise<"reciprocal">(x); }

// The functions of analysis hold their error bound over all numbers of f32, and below a normal number to within the
// smallest one; their bits are the same on every instruction set.

/// e^x.                Error 2 ulp.
inline Var exp(const Operand& x) { return detail::elementwise<"exp">(x); }
/// e^x - 1, exact near 0.   Error 2 ulp.
inline Var expm1(const Operand& x) { return detail::elementwise<"expm1">(x); }
/// The natural logarithm; -inf at 0, NaN below.   Error 2 ulp.
inline Var log(const Operand& x) { return detail::elementwise<"log">(x); }
/// log(1 + x), exact near 0.   Error 2 ulp.
inline Var log1p(const Operand& x) { return detail::elementwise<"log1p">(x); }
/// Of angles in radians.   Error 2 ulp, tan 4 ulp.
inline Var sin(const Operand& x) { return detail::elementwise<"sin">(x); }
inline Var cos(const Operand& x) { return detail::elementwise<"cos">(x); }
inline Var tan(const Operand& x) { return detail::elementwise<"tan">(x); }
/// Error 2 ulp.        Gradient  dx = ct / (1 + x^2)
inline Var atan(const Operand& x) { return detail::elementwise<"atan">(x); }
/// Error 4 ulp.
inline Var sinh(const Operand& x) { return detail::elementwise<"sinh">(x); }
inline Var cosh(const Operand& x) { return detail::elementwise<"cosh">(x); }
/// Error 4 ulp.        Gradient  dx = (1 - tanh(x)^2) ct
inline Var tanh(const Operand& x) { return detail::elementwise<"tanh">(x); }
/// 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x.   Error 4 ulp.
inline Var erf(const Operand& x) { return detail::elementwise<"erf">(x); }
/// The standard normal distribution's probability below x.   Error 8 ulp.   Gradient  dx = normal_pdf(x) ct
inline Var normal_cdf(const Operand& x) { return detail::elementwise<"normal_cdf">(x); }
/// Its density at x.                                         Error 8 ulp.   Gradient  dx = -x normal_pdf(x) ct
inline Var normal_pdf(const Operand& x) { return detail::elementwise<"normal_pdf">(x); }

/// max(x, 0); NaN stays NaN.   Gradient  dx = ct where x > 0, else 0.
inline Var relu(const Operand& x) { return detail::elementwise<"relu">(x); }
/// x where it is positive, else slope x.   Gradient  dx = ct where x > 0, else slope ct.
inline Var leaky_relu(const Operand& x, const Operand& negative_slope = 0.01) {
  return detail::elementwise<"leaky_relu">(x, negative_slope);
}
/// x where it is positive, else alpha (e^x - 1).   Error 3 ulp.   Gradient  dx = ct where x > 0, else alpha e^x ct.
inline Var elu(const Operand& x, const Operand& alpha = 1.0) { return detail::elementwise<"elu">(x, alpha); }
/// 1 / (1 + e^-x).     Error 4 ulp.   Gradient  dx = s (1 - s) ct
inline Var sigmoid(const Operand& x) { return detail::elementwise<"sigmoid">(x); }
/// x sigmoid(x).       Error 4 ulp.
inline Var silu(const Operand& x) { return detail::elementwise<"silu">(x); }
/// log(sigmoid(x)).    Error 4 ulp.
inline Var logsigmoid(const Operand& x) { return detail::elementwise<"logsigmoid">(x); }

struct SoftplusOptions {
  double beta = 1;
  double threshold = 20;  // where beta x exceeds it, the value is x and the slope 1
};
/// log(1 + e^(beta x)) / beta.   Gradient  dx = sigmoid(beta x) ct
///
/// Throws    UsageError if beta is not positive and finite, or the threshold NaN.
Var softplus(const Operand& x, const SoftplusOptions& options = {});

enum class Gelu : std::uint8_t {
  none,  ///< x times the normal distribution's probability below x; error 8 ulp
  tanh,  ///< x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
};
/// The Gaussian error linear unit.
Var gelu(const Operand& x, Gelu approximate = Gelu::none);

/// a - b
inline Var sub(const Operand& a, const Operand& b) { return detail::elementwise<"sub">(a, b); }
/// a * b
inline Var mul(const Operand& a, const Operand& b) { return detail::elementwise<"mul">(a, b); }
/// a / b
inline Var div(const Operand& a, const Operand& b) { return detail::elementwise<"div">(a, b); }
/// The larger, the smaller; NaN if either is NaN.   Gradient  to the one taken; half to each where they are equal.
inline Var maximum(const Operand& a, const Operand& b) { return detail::elementwise<"maximum">(a, b); }
inline Var minimum(const Operand& a, const Operand& b) { return detail::elementwise<"minimum">(a, b); }
/// x, or the bound where x is below or above it; NaN stays NaN.   Gradient  dx = ct where x is within its bound or at
/// it, else 0, and the bound's the other way round.
inline Var clamp_min(const Operand& x, const Operand& bound) { return detail::elementwise<"clamp_min">(x, bound); }
inline Var clamp_max(const Operand& x, const Operand& bound) { return detail::elementwise<"clamp_max">(x, bound); }

struct ClampOptions {
  std::optional<double> min = {}, max = {};
};
/// x within bounds, either of which may be absent.
///
/// Gradient  dx = ct where x is within the bounds or at one, else 0.
/// Throws    UsageError if there is no bound, if one is NaN, or if max is not at least min.
/// Example   clamp(x, {.min = 0, .max = 6});
Var clamp(const Operand& x, const ClampOptions& bounds);

/// x to the power y; NaN for negative x unless y is an integer. x^0 is 1, whatever x.
///
/// Gradient  dx = y x^(y-1) ct, dy = x^y log(x) ct; both 0 at 0^0, and dy is 0 wherever x is 0 and y is not negative.
/// Error     4 ulp.
Var pow(const Operand& x, const Operand& y);

/// Comparisons, of bool dtype; false where an operand is NaN (not_equal: true). No gradient.
inline Var less(const Operand& a, const Operand& b) { return detail::elementwise<"less">(a, b); }
inline Var less_equal(const Operand& a, const Operand& b) { return detail::elementwise<"less_equal">(a, b); }
inline Var greater(const Operand& a, const Operand& b) { return detail::elementwise<"greater">(a, b); }
inline Var greater_equal(const Operand& a, const Operand& b) { return detail::elementwise<"greater_equal">(a, b); }
inline Var equal(const Operand& a, const Operand& b) { return detail::elementwise<"equal">(a, b); }
inline Var not_equal(const Operand& a, const Operand& b) { return detail::elementwise<"not_equal">(a, b); }
/// Neither infinite nor NaN; NaN. Of bool dtype, no gradient.
inline Var isfinite(const Operand& x) { return detail::elementwise<"isfinite">(x); }
inline Var isnan(const Operand& x) { return detail::elementwise<"isnan">(x); }

/// Of bool Vars, to bool.
inline Var logical_and(const Operand& a, const Operand& b) { return detail::elementwise<"logical_and">(a, b); }
inline Var logical_or(const Operand& a, const Operand& b) { return detail::elementwise<"logical_or">(a, b); }
inline Var logical_not(const Operand& x) { return detail::elementwise<"logical_not">(x); }

/// a where the condition holds, else b. The branch that is not taken gets the gradient 0, whatever its value.
///
/// Shapes    condition (bool), a, b broadcast.
inline Var where(const Operand& condition, const Operand& a, const Operand& b) {
  return detail::elementwise<"where">(condition, a, b);
}

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
inline Var operator&(const Operand& a, const Operand& b) { return logical_and(a, b); }
inline Var operator|(const Operand& a, const Operand& b) { return logical_or(a, b); }
inline Var operator!(const Operand& x) { return logical_not(x); }

std::span<const Row* const> elementwise_rows();

}  // namespace ebb
