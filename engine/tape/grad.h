// The reverse sweep: derivatives as recorded nodes.
//
// pullback walks the tape downwards once. At each node that the result depends on, the row's rules record the
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
  std::optional<bool> keep;
  /// With `none`, the Var of an unused input is empty (`!var.alive()`).
  Unused unused = Unused::zeros;
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
