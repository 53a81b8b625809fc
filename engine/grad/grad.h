// Derivatives as recorded nodes: grad, pullback, and what follows from them, jvp and hvp.
//
// pullback walks the tape downwards once (sweep.h). At each node that the result depends on, the row's rules record the
// cotangents of its inputs; those are summed back over broadcast axes and added. Nothing is accumulated in a hidden
// place: what comes back are Vars like any other, which can be named, drawn, compiled and differentiated again.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <optional>
#include <span>
#include <vector>

namespace ebb {

/// What a sweep gives for an input that the result does not depend on.
enum class Unused : std::uint8_t { zeros, none, error };

struct SweepOptions {
  /// Keep the values that the sweep records. By default they are kept, except inside tape.step().
  std::optional<bool> keep = std::nullopt;
  /// With `none`, the Var of an unused input is empty (`!var.alive()`).
  Unused unused = Unused::zeros;
};

/// Several Vars as one argument: `{a, b}`, Vars, a vector or a span; not kept beyond the call.
class VarList {
 public:
  VarList(std::initializer_list<Var> list, Location where = Location::current()) : where_(where) {
    list_ = std::span(list.begin(), list.size());
  }
  VarList(std::span<const Var> list, Location where = Location::current()) : list_(list), where_(where) {}
  VarList(const Vars& list, Location where = Location::current()) : list_(list), where_(where) {}
  VarList(const std::vector<Var>& list, Location where = Location::current()) : list_(list), where_(where) {}

  std::span<const Var> list() const { return list_; }
  std::size_t size() const { return list_.size(); }
  const Location& where() const { return where_; }

 private:
  std::span<const Var> list_;
  Location where_;
};

/// What derivatives are taken with respect to: Vars, or States by the leaves that they were read as.
class Wrt {
 public:
  Wrt(std::initializer_list<Var> list) { vars_ = std::span(list.begin(), list.size()); }
  Wrt(std::span<const Var> list) : vars_(list) {}
  Wrt(const Vars& list) : vars_(list) {}
  Wrt(const std::vector<Var>& list) : vars_(list) {}
  Wrt(std::initializer_list<State> list) { states_ = std::span(list.begin(), list.size()); }
  Wrt(std::span<const State> list) : states_(list) {}
  Wrt(const std::vector<State>& list) : states_(list) {}

  std::size_t size() const { return vars_.size() + states_.size(); }
  /// The Vars. A State that the tape has never read is read now: it is an input that nothing depends on.
  Vars on(Tape& tape, Location where) const;

 private:
  std::span<const Var> vars_;
  std::span<const State> states_;
};

/// The gradient of a scalar.
///
/// Shapes    y [] or of one element, x [...] -> x.shape, for each x.
/// Throws    UsageError if y is not a scalar, if an x is not a leaf or node of y's tape, or if y depends on an x only
///           through an input that has no derivative (the reason is in the message). DTypeError if an x is not
///           floating.
/// Example   Var dx = grad(mean(square(x)), x);
Var grad(const Operand& y, const Var& x, const SweepOptions& options = {});
Vars grad(const Operand& y, std::span<const Var> x, const SweepOptions& options = {});
Vars grad(const Operand& y, std::initializer_list<Var> x, const SweepOptions& options = {});
Var grad(const Operand& y, const State& x, const SweepOptions& options = {});
Vars grad(const Operand& y, std::span<const State> x, const SweepOptions& options = {});
Vars grad(const Operand& y, const std::vector<State>& x, const SweepOptions& options = {});

/// The pullback of `cotangent` from y to each x: the transposed Jacobian times the cotangent.
///
/// Shapes    y [...], cotangent y.shape (or one that broadcasts to it), x [...] -> x.shape, for each x.
/// Throws    as grad; ShapeError if the cotangent does not fit y.
Var pullback(const Operand& y, const Operand& cotangent, const Var& x, const SweepOptions& options = {});
Vars pullback(const Operand& y, const Operand& cotangent, std::span<const Var> x, const SweepOptions& options = {});
Vars pullback(const Operand& y, const Operand& cotangent, std::initializer_list<Var> x,
              const SweepOptions& options = {});

/// The pullback of several results at once, in one sweep: the sum of pullback(y_i, cotangent_i, x).
///
/// Throws    as above; UsageError unless there is one cotangent per y, and at least one y.
/// Example   Vars d = pullback({mean, variance}, {dmean, dvariance}, {x});
Vars pullback(const VarList& y, const VarList& cotangents, const Wrt& x, const SweepOptions& options = {});

/// Forward mode, the Jacobian times a tangent: how y changes as x moves along the tangent.
///
/// A pullback is linear in its cotangent, so this is the pullback of the pullback, and there are no further rules. It
/// costs two sweeps, whatever the sizes, and is recorded like any gradient: it can be differentiated again.
/// Shapes    y [...], x [...], tangent x.shape (or one that broadcasts to it) -> y.shape, for each y.
/// Throws    as pullback; UsageError unless there is one tangent per x.
/// Example   Var dy = jvp(tanh(x), x, 1.0);   // elementwise: the derivative itself
Var jvp(const Operand& y, const Var& x, const Operand& tangent, const SweepOptions& options = {});
Var jvp(const Operand& y, const State& x, const Operand& tangent, const SweepOptions& options = {});
Vars jvp(const VarList& y, const Wrt& x, const VarList& tangents, const SweepOptions& options = {});

/// The Hessian of a scalar times a vector: the pullback of the gradient. Two sweeps, whatever the sizes.
///
/// With several inputs the Hessian is that of all of them together, and so are the vectors.
/// Shapes    y [] or of one element, x [...], v x.shape (or one that broadcasts to it) -> x.shape, for each x.
/// Throws    as grad; ShapeError or DTypeError if a v does not fit; UsageError unless there is one v per x.
/// Example   Vars hv = hvp(loss, net.parameters(), v);
Var hvp(const Operand& y, const Var& x, const Operand& v, const SweepOptions& options = {});
Var hvp(const Operand& y, const State& x, const Operand& v, const SweepOptions& options = {});
Vars hvp(const Operand& y, const Wrt& x, const VarList& v, const SweepOptions& options = {});

/// For rules of fused rows: the pullback through what `staged(in)` records, to input g.i only. Nothing recorded before
/// is differentiated.
template <class F>
Var local_pullback(const Vjp& g, F&& staged);

/// The pullback restricted to the nodes from `floor` on.
Var pullback_above(const Var& y, const Var& cotangent, const Var& x, NodeId floor);

template <class F>
Var local_pullback(const Vjp& g, F&& staged) {
  const NodeId floor = g.tape.window();
  const Var y = staged(g.in);
  return pullback_above(y, g.ct, g.in[g.i], floor);
}

}  // namespace ebb
