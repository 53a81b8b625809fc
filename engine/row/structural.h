// The rows that the engine itself records, and the functions that record them.
//
// A sweep adds contributions (add), sums them back over broadcast axes (sum), repeats them along axes (broadcast_to)
// and drops or adds axes of size 1 (reshape). Leaves and constants begin every graph, and detach ends a gradient. All
// other rows live in ops/.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <span>

namespace ebb {

/// Axes to reduce over: a list, one axis, or all of them. Negative axes count from the back.
class Axes {
 public:
  Axes() : all_(true) {}
  Axes(std::int64_t axis) : list_{axis} {}
  Axes(int axis) : list_{axis} {}
  Axes(std::initializer_list<std::int64_t> axes) : list_(axes) {}
  explicit Axes(const IntList& axes) : list_(axes) {}

  /// Counted from the front, sorted, each once. Throws ShapeError for an axis outside of `rank` or named twice.
  IntList resolve(int rank) const;

 private:
  IntList list_;
  bool all_ = false;
};
inline const Axes kAllAxes{};

/// a + b, elementwise.
///
/// Shapes    a, b broadcast.
/// Gradient  da = ct, db = ct, each summed to its input's shape.
/// Throws    ShapeError if the shapes do not broadcast; DTypeError if the dtypes differ.
/// Error     0.5 ulp.
/// Example   add(x, 1.0);   // f32[4], literal -> f32[4]
Var add(const Operand& a, const Operand& b);
inline Var operator+(const Operand& a, const Operand& b) { return add(a, b); }

/// The sum over axes. Accumulates blocks in double: the error does not grow with the length.
///
/// Shapes    x [...], axes dropped, or kept with size 1 if `keepdim`.
/// Gradient  dx = ct, repeated along the axes.
/// Throws    ShapeError for an axis outside of x or named twice; DTypeError for bool.
/// Error     64 ulp relative to sum(|x|).
/// Example   sum(x, 0);   // f32[32, 10] -> f32[10]
Var sum(const Operand& x, const Axes& axes = kAllAxes, bool keepdim = false);

/// The sum over those axes that broadcasting `shape` to x's shape would repeat; x itself if there are none.
Var sum_to(const Operand& x, const Shape& shape);

/// x repeated along the axes where its shape has size 1 or none. Costs nothing until someone needs it in full.
///
/// Gradient  dx = ct, summed to x's shape.
/// Throws    ShapeError if x does not broadcast to `shape`.
Var broadcast_to(const Operand& x, const Shape& shape);

/// The same elements, row-major, under another shape; shares the buffer. One size may be -1: it follows from the
/// others.
///
/// Gradient  dx = reshape(ct, x.shape).
/// Throws    ShapeError if the numbers of elements differ.
Var reshape(const Operand& x, const IntList& shape);
Var reshape(const Operand& x, const Shape& shape);
inline Var reshape(const Operand& x, std::initializer_list<std::int64_t> shape) { return reshape(x, IntList(shape)); }

/// x as a constant: no gradient flows through.
Var detach(const Operand& x);

/// The type rule of reductions: attributes `axes` (resolved) and `keepdim`.
TensorType reduction_type(const Call& call);
/// The shape after reducing `axes` (resolved).
Shape reduced_shape(const Shape& shape, const IntList& axes, bool keepdim);
/// The axes counted from the front, or the ShapeError of `row` called with x.
IntList resolved_axes(const Row& row, const Operand& x, const Axes& axes);
/// Records a reduction row; the attributes are made from the arguments, and `more` follows them.
Var reduce(const Row& row, const Operand& x, const Axes& axes, bool keepdim, std::span<const Attr> more = {});
/// A cotangent of a reduction, with the reduced axes back in place as size 1.
Var with_reduced_axes(const Vjp& g, const Var& v);

extern const Row kLeaf;
extern const Row kConstant;
extern const Row& kAdd;
extern const Row kSum;
extern const Row kBroadcastTo;
extern const Row kReshape;
extern const Row kDetach;

/// The rows above.
std::span<const Row* const> structural_rows();

}  // namespace ebb
