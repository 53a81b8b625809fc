#include <ebb/engine/grad/grad.h>
#include <ebb/engine/row/structural.h>
#include <ebb/engine/grad/sweep.h>
#include <fmt/format.h>

namespace ebb {
namespace {

using Ids = CachedVector<NodeId>;
using Seeds = CachedVector<SweepSeed>;

std::string describe_node(const Tape& tape, NodeId id) {
  const std::string name = tape.name_of(id);
  const std::string number = fmt::format("%{}", id);
  return fmt::format("{} ({} {})", describe(tape.node(id).value), number,
                     name == number ? std::string(tape.node(id).row->name) : fmt::format("\"{}\"", name));
}

Vars sweep(Tape& tape, std::span<const SweepSeed> seeds, std::span<const NodeId> wrt, NodeId floor,
           const SweepOptions& options, Location where) {
  for (NodeId id : wrt) {
    if (!is_floating(tape.node(id).value.dtype())) {
      throw DTypeError(fmt::format("grad: only floating tensors have gradients, got {}. ({})", describe_node(tape, id),
                                   to_string(where)));
    }
  }
  Vars out;
  out.reserve(wrt.size());
  Sweep(tape, options, where).run(seeds, wrt, floor, out);
  return out;
}

Ids ids_of(Tape& tape, std::span<const Var> vars) {
  Ids ids;
  ids.reserve(vars.size());
  for (const Var& var : vars) {
    if (&var.tape() != &tape) tape.name(var, "");  // throws: another tape
    ids.push_back(var.id());
  }
  return ids;
}

// The node that differentiation by a State means.
Ids ids_of(Tape& tape, std::span<const State> states, Location where) {
  Ids ids;
  ids.reserve(states.size());
  for (const State& state : states) {
    const std::optional<Var> leaf = tape.leaf_of(state);
    // A State that this tape never read is an unused input; reading it now gives the sweep something to say so about.
    ids.push_back(leaf ? leaf->id() : tape.read(state, where).id());
  }
  return ids;
}

void check_scalar(const Tape& tape, NodeId y, std::string_view op, Location where) {
  const Tensor& value = tape.node(y).value;
  if (value.numel() != 1) {
    throw UsageError(fmt::format(
        "{}: y must be a scalar to be differentiated, got {}. Reduce it first, or use {}. ({})", op,
        describe_node(tape, y), op == "grad" ? "pullback(y, cotangent, wrt)" : "jacobian(y, wrt)", to_string(where)));
  }
  if (!is_floating(value.dtype())) {
    throw DTypeError(fmt::format("{}: y must be floating, got {}. ({})", op, describe_node(tape, y), to_string(where)));
  }
}

// A cotangent of `of`, or a vector beside it: of its dtype, repeated to its shape.
NodeId fitted(Tape& tape, std::string_view op, std::string_view role, NodeId of, const Var& given, Location where) {
  const NodeId id = ids_of(tape, std::span(&given, 1))[0];
  const Tensor& value = tape.node(of).value;
  const Tensor& tensor = tape.node(id).value;
  const auto text = [&] {
    return fmt::format("{}: the {} of {} cannot be {}. ({})", op, role, describe_node(tape, of),
                       describe_node(tape, id), to_string(where));
  };
  if (tensor.dtype() != value.dtype()) throw DTypeError(text());
  if (!broadcasts_to(tensor.shape(), value.shape())) throw ShapeError(text());
  return broadcast_to(given, value.shape()).id();
}
NodeId fitted(Tape& tape, std::string_view op, std::string_view role, NodeId of, const Operand& given, Location where) {
  const Var var = given.is_literal() ? tape.constant(given.literal(), tape.node(of).value.dtype()) : given.var();
  return fitted(tape, op, role, of, var, where);
}

void check_count(std::string_view op, std::string_view role, std::size_t given, std::size_t wanted,
                 std::string_view wanted_of, Location where) {
  if (given == wanted) return;
  throw UsageError(fmt::format("{}: {} {}{} for {} {}. Give one for each, of its shape and dtype. ({})", op, given,
                               role, given == 1 ? "" : "s", wanted, wanted_of, to_string(where)));
}

Ids fitted(Tape& tape, std::string_view op, std::string_view role, std::span<const NodeId> of,
           std::span<const Var> given, Location where) {
  Ids ids;
  for (std::size_t i = 0; i < of.size(); ++i) ids.push_back(fitted(tape, op, role, of[i], given[i], where));
  return ids;
}

// Of those nodes that are there: a sweep asked with Unused::none leaves some out.
Seeds seeds_of(std::span<const Var> nodes, std::span<const NodeId> vectors) {
  Seeds seeds;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (nodes[i].alive()) seeds.push_back({nodes[i].id(), vectors[i]});
  }
  return seeds;
}

Var zeros_like(Tape& tape, NodeId id) {
  const Tensor& tensor = tape.node(id).value;
  return broadcast_to(tape.constant(0, tensor.dtype()), tensor.shape());
}

// What the first of two sweeps is asked for: the second reads its values.
SweepOptions for_first(const SweepOptions& options) {
  return {.keep = true, .unused = options.unused == Unused::error ? Unused::error : Unused::none};
}

Vars grad_ids(const Operand& y, std::span<const NodeId> wrt, const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId id = y.var().id();
  check_scalar(tape, id, "grad", y.where());
  return detail::all_or_nothing(tape, [&] {
    const SweepSeed seed{id, fitted(tape, "grad", "cotangent", id, Operand(1.0), y.where())};
    return sweep(tape, std::span(&seed, 1), wrt, 0, options, y.where());
  });
}

// The second sweep starts from all gradients at once.
Vars hvp_ids(const Operand& y, std::span<const NodeId> wrt, std::span<const NodeId> vectors,
             const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId start = static_cast<NodeId>(tape.size());
  const Vars gradients = grad_ids(y, wrt, for_first(options));
  const NodeId end = static_cast<NodeId>(tape.size());
  const Seeds seeds = seeds_of(gradients, vectors);
  Vars out(wrt.size());
  if (!seeds.empty()) out = sweep(tape, seeds, wrt, 0, {.keep = options.keep, .unused = Unused::none}, y.where());
  for (std::size_t i = 0; i < wrt.size(); ++i) {
    // The Hessian of a linear function is 0; an unused input is another matter.
    const bool used = gradients[i].alive();
    if (!out[i].alive() && (used || options.unused == Unused::zeros)) out[i] = zeros_like(tape, wrt[i]);
  }
  if (!options.keep.value_or(tape.keeps())) Sweep::release(tape, start, end, out);
  return out;
}

// The first sweep starts from a cotangent of zeros, whose value nobody reads: what counts is the graph of how the
// pullback depends on it. It is a leaf of its own, since a shared zero may stand elsewhere in that graph.
Vars jvp_ids(Tape& tape, std::span<const NodeId> y, std::span<const NodeId> wrt, std::span<const NodeId> tangents,
             const SweepOptions& options, Location where) {
  const NodeId start = static_cast<NodeId>(tape.size());
  Seeds first;
  Ids cotangents;
  for (const NodeId id : y) {
    const DType dtype = tape.node(id).value.dtype();
    if (!is_floating(dtype)) {
      throw DTypeError(fmt::format("jvp: y must be floating, got {}. ({})", describe_node(tape, id), to_string(where)));
    }
    const Var zero = tape.leaf(Tensor::zeros({}, dtype), {}, where);
    cotangents.push_back(broadcast_to(zero, tape.node(id).value.shape()).id());
    first.push_back({id, cotangents.back()});
  }
  const Vars pulled = sweep(tape, first, wrt, 0, for_first(options), where);
  const NodeId end = static_cast<NodeId>(tape.size());
  const Seeds second = seeds_of(pulled, tangents);
  Vars out(y.size());
  if (!second.empty()) {
    out = sweep(tape, second, cotangents, 0, {.keep = options.keep, .unused = Unused::none}, where);
  }
  for (std::size_t i = 0; i < y.size(); ++i) {
    if (out[i].alive() || options.unused == Unused::none) continue;
    if (options.unused == Unused::error) {
      throw UsageError(
          fmt::format("jvp: {} depends on no input that was given. Leave it out, or ask for zeros with "
                      "{{.unused = Unused::zeros}}. ({})",
                      describe_node(tape, y[i]), to_string(where)));
    }
    out[i] = zeros_like(tape, y[i]);
  }
  if (!options.keep.value_or(tape.keeps())) Sweep::release(tape, start, end, out);
  return out;
}

}  // namespace

Vars Wrt::on(Tape& tape, Location where) const {
  Vars vars;
  vars.reserve(size());
  for (const NodeId id : ids_of(tape, vars_)) vars.push_back(tape.var(id));
  for (const NodeId id : ids_of(tape, states_, where)) vars.push_back(tape.var(id));
  return vars;
}

// --- grad ------------------------------------------------------------------------------------------------------------

Vars grad(const Operand& y, std::span<const Var> x, const SweepOptions& options) {
  return grad_ids(y, ids_of(y.tape(), x), options);
}
Vars grad(const Operand& y, std::initializer_list<Var> x, const SweepOptions& options) {
  return grad(y, std::span(x.begin(), x.size()), options);
}
Var grad(const Operand& y, const Var& x, const SweepOptions& options) { return grad(y, std::span(&x, 1), options)[0]; }
Vars grad(const Operand& y, std::span<const State> x, const SweepOptions& options) {
  return grad_ids(y, ids_of(y.tape(), x, y.where()), options);
}
Vars grad(const Operand& y, const std::vector<State>& x, const SweepOptions& options) {
  return grad(y, std::span<const State>(x), options);
}
Var grad(const Operand& y, const State& x, const SweepOptions& options) {
  return grad(y, std::span(&x, 1), options)[0];
}

// --- pullback --------------------------------------------------------------------------------------------------------

Vars pullback(const Operand& y, const Operand& cotangent, std::span<const Var> x, const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId id = y.var().id();
  const Ids wrt = ids_of(tape, x);
  return detail::all_or_nothing(tape, [&] {
    const SweepSeed seed{id, fitted(tape, "pullback", "cotangent", id, cotangent, y.where())};
    return sweep(tape, std::span(&seed, 1), wrt, 0, options, y.where());
  });
}
Vars pullback(const Operand& y, const Operand& cotangent, std::initializer_list<Var> x, const SweepOptions& options) {
  return pullback(y, cotangent, std::span(x.begin(), x.size()), options);
}
Var pullback(const Operand& y, const Operand& cotangent, const Var& x, const SweepOptions& options) {
  return pullback(y, cotangent, std::span(&x, 1), options)[0];
}
Vars pullback(const VarList& y, const VarList& cotangents, const Wrt& x, const SweepOptions& options) {
  if (y.size() == 0) throw UsageError(fmt::format("pullback: no y was given. ({})", to_string(y.where())));
  Tape& tape = y.list()[0].tape();
  check_count("pullback", "cotangent", cotangents.size(), y.size(), "results", y.where());
  return detail::all_or_nothing(tape, [&] {
    const Ids wrt = ids_of(tape, x.on(tape, y.where()));
    const Ids given = fitted(tape, "pullback", "cotangent", ids_of(tape, y.list()), cotangents.list(), y.where());
    return sweep(tape, seeds_of(y.list(), given), wrt, 0, options, y.where());
  });
}

Var pullback_above(const Var& y, const Var& cotangent, const Var& x, NodeId floor) {
  const NodeId wrt = x.id();
  const SweepSeed seed{y.id(), cotangent.id()};
  return sweep(y.tape(), std::span(&seed, 1), std::span(&wrt, 1), floor, {.keep = true, .unused = {}}, {})[0];
}

// --- compositions ----------------------------------------------------------------------------------------------------

Var jvp(const Operand& y, const Var& x, const Operand& tangent, const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId id = y.var().id();
  const Ids wrt = ids_of(tape, std::span(&x, 1));
  return detail::all_or_nothing(tape, [&] {
    const NodeId along = fitted(tape, "jvp", "tangent", wrt[0], tangent, y.where());
    return jvp_ids(tape, std::span(&id, 1), wrt, std::span(&along, 1), options, y.where());
  })[0];
}
Var jvp(const Operand& y, const State& x, const Operand& tangent, const SweepOptions& options) {
  return jvp(y, Wrt(std::span(&x, 1)).on(y.tape(), y.where())[0], tangent, options);
}
Vars jvp(const VarList& y, const Wrt& x, const VarList& tangents, const SweepOptions& options) {
  if (y.size() == 0) throw UsageError(fmt::format("jvp: no y was given. ({})", to_string(y.where())));
  Tape& tape = y.list()[0].tape();
  check_count("jvp", "tangent", tangents.size(), x.size(), "inputs", y.where());
  return detail::all_or_nothing(tape, [&] {
    const Ids wrt = ids_of(tape, x.on(tape, y.where()));
    const Ids along = fitted(tape, "jvp", "tangent", wrt, tangents.list(), y.where());
    return jvp_ids(tape, ids_of(tape, y.list()), wrt, along, options, y.where());
  });
}

Var hvp(const Operand& y, const Var& x, const Operand& v, const SweepOptions& options) {
  Tape& tape = y.tape();
  check_scalar(tape, y.var().id(), "hvp", y.where());
  const Ids wrt = ids_of(tape, std::span(&x, 1));
  return detail::all_or_nothing(tape, [&] {
    const NodeId vector = fitted(tape, "hvp", "vector", wrt[0], v, y.where());
    return hvp_ids(y, wrt, std::span(&vector, 1), options);
  })[0];
}
Var hvp(const Operand& y, const State& x, const Operand& v, const SweepOptions& options) {
  return hvp(y, Wrt(std::span(&x, 1)).on(y.tape(), y.where())[0], v, options);
}
Vars hvp(const Operand& y, const Wrt& x, const VarList& v, const SweepOptions& options) {
  Tape& tape = y.tape();
  check_scalar(tape, y.var().id(), "hvp", y.where());
  check_count("hvp", "vector", v.size(), x.size(), "inputs", y.where());
  return detail::all_or_nothing(tape, [&] {
    const Ids wrt = ids_of(tape, x.on(tape, y.where()));
    return hvp_ids(y, wrt, fitted(tape, "hvp", "vector", wrt, v.list(), y.where()), options);
  });
}

}  // namespace ebb
