// Jacobians and Hessians: as many sweeps as there are rows, at the memory of one.
//
// A row of a Jacobian is a pullback, a row of a Hessian the pullback of the gradient. Each is recorded, read and taken
// back before the next begins, so a large Hessian costs no more memory than one Hessian-vector product, beside its own
// elements. Where y has many more elements than x the Jacobian is built by columns instead, in forward mode.
#pragma once

#include <ebb/engine/grad/grad.h>

#include <vector>

namespace ebb {

struct JacobianOptions {
  /// Record every row, so that the result can be differentiated again; the graph then holds all the sweeps. Without it
  /// the result has values alone, and a gradient asked for through it is an error. Traces always record.
  bool keep = false;
  /// What stands for an input that y does not depend on.
  Unused unused = Unused::zeros;
};

/// The Jacobian of y with respect to each x: element [i..., j...] is the derivative of y[i...] by x[j...].
///
/// Shapes    y [...], x [...] -> y.shape + x.shape, for each y and x.
/// Gradient  with {.keep = true} that of the recorded rows; otherwise asking for it is a UsageError.
/// Throws    as pullback; ShapeError if y and x have more than 8 axes together.
/// Example   Var j = jacobian(matmul(w, x), x);   // f64[3], by f64[4] -> f64[3, 4]
Var jacobian(const Operand& y, const Var& x, const JacobianOptions& options = {});
Var jacobian(const Operand& y, const State& x, const JacobianOptions& options = {});
Vars jacobian(const Operand& y, const Wrt& x, const JacobianOptions& options = {});
std::vector<Vars> jacobian(const VarList& y, const Wrt& x, const JacobianOptions& options = {});

/// The Hessian of a scalar. With several inputs [i][k] is the block of x_i and x_k.
///
/// Shapes    y [] or of one element, x [...] -> x.shape + x.shape; the block x_i.shape + x_k.shape.
/// Gradient  with {.keep = true} that of the recorded rows; otherwise asking for it is a UsageError.
/// Throws    as grad; ShapeError if two inputs have more than 8 axes together.
/// Example   Var h = hessian(sum(exp(x)), x);   // by f64[3] -> f64[3, 3]
Var hessian(const Operand& y, const Var& x, const JacobianOptions& options = {});
Var hessian(const Operand& y, const State& x, const JacobianOptions& options = {});
std::vector<Vars> hessian(const Operand& y, const Wrt& x, const JacobianOptions& options = {});

std::span<const Row* const> derivative_rows();

}  // namespace ebb
