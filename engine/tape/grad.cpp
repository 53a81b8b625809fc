#include <ebb/engine/tape/grad.h>
#include <ebb/engine/tape/structural.h>
#include <ebb/engine/tape/sweep.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ebb {

// --- the sweep -------------------------------------------------------------------------------------------------------

Sweep::Sweep(Tape& tape, const SweepOptions& options, Location where)
    : tape_(tape),
      keep_(options.keep.value_or(tape.keep_)),
      unused_(options.unused),
      where_(where),
      scratch_([&]() -> SweepScratch& {
        if (tape.depth_ == tape.scratch_.size()) tape.scratch_.push_back(std::make_unique<SweepScratch>());
        return *tape.scratch_[tape.depth_++];
      }()),
      start_(static_cast<NodeId>(tape.size())),
      outer_origin_(tape.origin_),
      outer_window_(tape.window_),
      outer_sweep_(tape.sweep_) {
  // A sweep inside a rule is part of the sweep that runs the rule.
  if (outer_origin_ == kNoNode) tape.sweep_ = ++tape.sweeps_;
}

Sweep::~Sweep() {
  --tape_.depth_;
  tape_.origin_ = outer_origin_;
  tape_.window_ = outer_window_;
  tape_.sweep_ = outer_sweep_;
}

SweepCell* Sweep::cell(NodeId id) {
  if (id >= low_) {
    return id - low_ + 1 < scratch_.cells.size() ? &scratch_.cells[id - low_ + 1] : nullptr;
  }
  return id == below_ ? &scratch_.cells[0] : nullptr;
}

void Sweep::mark_active(NodeId y, std::span<const NodeId> wrt) {
  for (NodeId id : wrt) {
    if (SweepCell* c = cell(id)) c->active = c->wanted = true;
  }
  for (NodeId id = low_; id <= y; ++id) {
    const Node& node = tape_.node(id);
    SweepCell& c = *cell(id);
    for (std::size_t i = 0; i < node.inputs && !c.active; ++i) {
      const SweepCell* in = cell(tape_.input(node, i));
      c.active = in && in->active && node.row->vjp[i].differentiable();
    }
    // A cotangent of integers would be cut to integers on its way.
    if (c.active && !is_floating(node.value.dtype())) c.active = false;
  }
}

void Sweep::pin(NodeId node, int by) {
  if (keep_ || node < start_) return;
  if (scratch_.pins.size() <= node - start_) scratch_.pins.resize(node - start_ + 1);
  scratch_.pins[node - start_] += static_cast<std::uint32_t>(by);
}

// Values that no pending cotangent needs go as soon as the rule that recorded them is done.
void Sweep::release_from(NodeId first) {
  if (keep_) return;
  for (NodeId id = std::max(first, start_); id < tape_.size(); ++id) {
    const std::size_t i = id - start_;
    if (i >= scratch_.pins.size() || scratch_.pins[i] == 0) tape_.release(id);
  }
}

void Sweep::note_name(NameKind kind, NodeId node, NodeId of, NodeId origin, std::uint32_t index) {
  if (!tape_.node(of).named) return;
  NameEntry entry;
  entry.node = node;
  entry.of = of;
  entry.position = static_cast<NodeId>(tape_.size());
  entry.origin = origin;
  entry.sweep = tape_.sweep_;
  entry.index = index;
  entry.kind = kind;
  tape_.names_.push_back(entry);
  tape_.nodes_[node].named = true;
}

Var Sweep::fit(Var cotangent, NodeId input) {
  const Shape& target = tape_.node(input).value.shape();
  const NodeId id = tape_.resolve(cotangent);
  if (tape_.node(id).value.dtype() != tape_.node(input).value.dtype()) {
    throw UsageError(fmt::format("{}: a derivative rule gave a cotangent {} for an input {}. ({})",
                                 tape_.node(tape_.origin_).row->name, describe(tape_.node(id).value),
                                 describe(tape_.node(input).value), to_string(where_)));
  }
  const Shape& shape = tape_.node(id).value.shape();
  if (shape == target) return cotangent;
  if (broadcasts_to(shape, target)) return broadcast_to(cotangent, target);
  return sum_to(cotangent, target);
}

void Sweep::accumulate(NodeId input, Var contribution, NodeId from) {
  SweepCell& c = *cell(input);
  const NodeId id = contribution.id();
  note_name(NameKind::contribution, id, input, from, ++c.contributions);
  if (c.cotangent == kNoNode) {
    c.cotangent = id;
    pin(id, 1);
    return;
  }
  const NodeId before = c.cotangent;
  const NodeId origin = tape_.origin_;
  if (outer_origin_ == kNoNode) tape_.origin_ = input;
  const NodeId sum = add(tape_.var(before), contribution).id();
  tape_.origin_ = origin;
  tape_.nodes_[sum].accumulation = outer_origin_ == kNoNode;
  note_name(NameKind::cotangent, sum, input, input, c.contributions);
  c.cotangent = sum;
  pin(sum, 1);
  pin(before, -1);
  if (!keep_ && before >= start_ && scratch_.pins[before - start_] == 0) tape_.release(before);
}

Var Sweep::hooked(NodeId id, Var cotangent) {
  // By number, not by place: a hook may remove itself or others, or add one, which then waits for the next sweep.
  const std::uint64_t newest = tape_.hook_count_;
  std::uint64_t done = 0;
  for (;;) {
    const auto next = std::ranges::find_if(tape_.hooks_, [&](const Tape::HookEntry& hook) {
      return hook.node == id && hook.id > done && hook.id <= newest;
    });
    if (next == tape_.hooks_.end()) break;
    done = next->id;
    const auto function = next->function;  // a copy: the hook may remove itself
    const NodeId window = std::exchange(tape_.window_, kNoNode);
    const Var replaced = function(cotangent);
    tape_.window_ = window;
    const NodeId before = cotangent.id();
    const NodeId after = tape_.resolve(replaced);
    if (tape_.node(after).value.shape() != tape_.node(before).value.shape() ||
        tape_.node(after).value.dtype() != tape_.node(before).value.dtype()) {
      throw ShapeError(fmt::format("hook: the cotangent of {} is {}, the hook returned {}. ({})", tape_.name_of(id),
                                   describe(tape_.node(before).value), describe(tape_.node(after).value),
                                   to_string(tape_.node(id).where)));
    }
    pin(after, 1);
    pin(before, -1);
    cotangent = replaced;
  }
  return cotangent;
}

void Sweep::visit(NodeId id) {
  SweepCell& c = *cell(id);
  const NodeId window = static_cast<NodeId>(tape_.size());
  tape_.origin_ = outer_origin_ == kNoNode ? id : outer_origin_;
  tape_.window_ = window;
  Var cotangent = tape_.var(c.cotangent);
  if (!tape_.hooks_.empty()) {
    cotangent = hooked(id, cotangent);
    c.cotangent = cotangent.id();
  }
  const Node& node = tape_.node(id);
  std::array<Var, 8> few;
  Vars many;
  Var* in = few.data();
  if (node.inputs > few.size()) {
    many.resize(node.inputs);
    in = many.data();
  }
  for (std::size_t i = 0; i < node.inputs; ++i) in[i] = tape_.var(tape_.input(node, i));
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId input = tape_.input(node, i);
    const SweepCell* target = cell(input);
    const VjpRule& rule = node.row->vjp[i];
    if (!target || !target->active || !rule.differentiable()) continue;
    const Vjp g{tape_, cotangent, tape_.var(id), {in, node.inputs}, Attrs(node.attrs), i};
    accumulate(input, fit(rule(g), input), id);
  }
  if (!c.wanted) {
    pin(c.cotangent, -1);
    if (!keep_ && c.cotangent >= start_ && c.cotangent < window && scratch_.pins[c.cotangent - start_] == 0) {
      tape_.release(c.cotangent);
    }
  }
  release_from(window);
}

void Sweep::run(NodeId y, NodeId cotangent, std::span<const NodeId> wrt, NodeId floor, Vars& out) {
  low_ = floor;
  if (floor == 0) {
    low_ = y;
    for (NodeId id : wrt) low_ = std::min(low_, id);
  } else if (wrt[0] < floor) {
    below_ = wrt[0];
  }
  scratch_.cells.assign(y >= low_ ? y - low_ + 2 : 1, SweepCell{});
  scratch_.pins.assign(keep_ ? 0 : tape_.size() - start_, 0);
  mark_active(y, wrt);
  if (SweepCell* c = cell(y); c && c->active) {
    c->cotangent = cotangent;
    pin(cotangent, 1);
    if (outer_origin_ == kNoNode && tape_.node(cotangent).row != &kConstant && !tape_.node(cotangent).named) {
      note_name(NameKind::contribution, cotangent, y, kNoNode, ++c->contributions);
    } else {
      ++c->contributions;
    }
    for (NodeId id = y + 1; id-- > low_;) {
      const SweepCell& at = *cell(id);
      if (at.cotangent != kNoNode && at.active) visit(id);
    }
  }
  tape_.window_ = kNoNode;
  tape_.origin_ = outer_origin_;
  for (NodeId id : wrt) {
    const SweepCell* c = cell(id);
    out.push_back(c && c->cotangent != kNoNode ? tape_.var(c->cotangent) : unused(y, id));
  }
}

// Why y depends on `wrt` only through edges that have no derivative; empty if it does not depend on it, or if the user
// stopped the gradient.
std::string_view Sweep::blocked(NodeId y, NodeId wrt) const {
  if (wrt > y) return {};
  CachedVector<std::string_view> reason(static_cast<std::size_t>(y) + 1);
  CachedVector<char> reached(static_cast<std::size_t>(y) + 1);
  reached[wrt] = true;
  for (NodeId id = wrt + 1; id <= y; ++id) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      if (!reached[in]) continue;
      const VjpRule& rule = node.row->vjp[i];
      // A stop; or an edge that a derivative rule made: its author knew that there is no slope, as in relu's second
      // derivative, which is zero and no mistake.
      if (!rule.differentiable() && (rule.reason().empty() || node.sweep != 0)) continue;
      reached[id] = true;
      if (!reason[in].empty()) {
        reason[id] = reason[in];
      } else if (!rule.differentiable()) {
        reason[id] = rule.reason();
      } else if (!is_floating(node.value.dtype())) {
        reason[id] = "integers have no derivative";
      }
    }
  }
  return reason[y];
}

Var Sweep::unused(NodeId y, NodeId wrt) {
  const Tensor& tensor = tape_.node(wrt).value;
  if (const std::string_view reason = blocked(y, wrt); !reason.empty()) {
    throw UsageError(fmt::format("grad: {} {} depends on {} only through an op without a derivative: {}. ({})",
                                 tape_.node(y).row->name, tape_.name_of(y), tape_.name_of(wrt), reason,
                                 to_string(where_)));
  }
  if (unused_ == Unused::none) return Var();
  if (unused_ == Unused::error) {
    throw UsageError(fmt::format(
        "grad: {} {} does not depend on {} {}. Leave it out, or ask for zeros with "
        "{{.unused = Unused::zeros}}. ({})",
        tape_.node(y).row->name, tape_.name_of(y), tape_.name_of(wrt), describe(tensor), to_string(where_)));
  }
  return broadcast_to(tape_.constant(0, tensor.dtype()), tensor.shape());
}

// --- what users call -------------------------------------------------------------------------------------------------

namespace {

std::string describe_node(const Tape& tape, NodeId id) {
  const std::string name = tape.name_of(id);
  const std::string number = fmt::format("%{}", id);
  return fmt::format("{} ({} {})", describe(tape.node(id).value), number,
                     name == number ? std::string(tape.node(id).row->name) : fmt::format("\"{}\"", name));
}

Vars sweep(Tape& tape, NodeId y, NodeId cotangent, std::span<const NodeId> wrt, NodeId floor,
           const SweepOptions& options, Location where) {
  for (NodeId id : wrt) {
    if (!is_floating(tape.node(id).value.dtype())) {
      throw DTypeError(fmt::format("grad: only floating tensors have gradients, got {}. ({})", describe_node(tape, id),
                                   to_string(where)));
    }
  }
  Vars out;
  out.reserve(wrt.size());
  Sweep(tape, options, where).run(y, cotangent, wrt, floor, out);
  return out;
}

// Takes back what a failing sweep has recorded.
template <class F>
Vars guarded(Tape& tape, F&& f) {
  const Tape::Mark mark = tape.mark();
  try {
    return f();
  } catch (...) {
    tape.rewind(mark);
    throw;
  }
}

CachedVector<NodeId> ids_of(Tape& tape, std::span<const Var> vars) {
  CachedVector<NodeId> ids;
  ids.reserve(vars.size());
  for (const Var& var : vars) {
    if (&var.tape() != &tape) tape.name(var, "");  // throws: another tape
    ids.push_back(var.id());
  }
  return ids;
}

Vars grad_ids(const Operand& y, std::span<const NodeId> wrt, const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId id = y.var().id();
  const Tensor& value = tape.node(id).value;
  if (value.numel() != 1) {
    throw UsageError(
        fmt::format("grad: y must be a scalar to be differentiated, got {}. Reduce it first, or use "
                    "pullback(y, cotangent, wrt). ({})",
                    describe_node(tape, id), to_string(y.where())));
  }
  if (!is_floating(value.dtype())) {
    throw DTypeError(
        fmt::format("grad: y must be floating, got {}. ({})", describe_node(tape, id), to_string(y.where())));
  }
  return guarded(tape, [&] {
    const Var one = broadcast_to(tape.constant(1, value.dtype()), value.shape());
    return sweep(tape, id, one.id(), wrt, 0, options, y.where());
  });
}

template <class States>
Vars grad_states(const Operand& y, const States& states, const SweepOptions& options) {
  Tape& tape = y.tape();
  CachedVector<NodeId> ids;
  for (const State& state : states) {
    const std::optional<Var> leaf = tape.leaf_of(state);
    // A State that this tape never read is an unused input; reading it now gives the sweep something to say so about.
    ids.push_back(leaf ? leaf->id() : tape.read(state, y.where()).id());
  }
  return grad_ids(y, ids, options);
}

}  // namespace

Vars grad(const Operand& y, std::span<const Var> x, const SweepOptions& options) {
  return grad_ids(y, ids_of(y.tape(), x), options);
}
Vars grad(const Operand& y, std::initializer_list<Var> x, const SweepOptions& options) {
  return grad(y, std::span(x.begin(), x.size()), options);
}
Var grad(const Operand& y, const Var& x, const SweepOptions& options) { return grad(y, std::span(&x, 1), options)[0]; }
Vars grad(const Operand& y, std::span<const State> x, const SweepOptions& options) {
  return grad_states(y, x, options);
}
Vars grad(const Operand& y, const std::vector<State>& x, const SweepOptions& options) {
  return grad_states(y, x, options);
}
Var grad(const Operand& y, const State& x, const SweepOptions& options) {
  return grad_states(y, std::span(&x, 1), options)[0];
}

Vars pullback(const Operand& y, const Operand& cotangent, std::span<const Var> x, const SweepOptions& options) {
  Tape& tape = y.tape();
  const NodeId id = y.var().id();
  const CachedVector<NodeId> wrt = ids_of(tape, x);
  return guarded(tape, [&] {
    const Tensor& value = tape.node(id).value;
    const Var given = cotangent.is_literal() ? tape.constant(cotangent.literal(), value.dtype()) : cotangent.var();
    const NodeId given_id = ids_of(tape, std::span(&given, 1))[0];
    const Tensor& ct = tape.node(given_id).value;
    const auto got = [&] {
      return fmt::format("the cotangent of {} cannot be {}. ({})", describe_node(tape, id),
                         describe_node(tape, given_id), to_string(y.where()));
    };
    if (ct.dtype() != value.dtype()) throw DTypeError("pullback: " + got());
    if (!broadcasts_to(ct.shape(), value.shape())) throw ShapeError("pullback: " + got());
    return sweep(tape, id, broadcast_to(given, value.shape()).id(), wrt, 0, options, y.where());
  });
}
Vars pullback(const Operand& y, const Operand& cotangent, std::initializer_list<Var> x, const SweepOptions& options) {
  return pullback(y, cotangent, std::span(x.begin(), x.size()), options);
}
Var pullback(const Operand& y, const Operand& cotangent, const Var& x, const SweepOptions& options) {
  return pullback(y, cotangent, std::span(&x, 1), options)[0];
}

Var pullback_above(const Var& y, const Var& cotangent, const Var& x, NodeId floor) {
  const NodeId wrt = x.id();
  return sweep(y.tape(), y.id(), cotangent.id(), std::span(&wrt, 1), floor, {.keep = true, .unused = {}}, {})[0];
}

}  // namespace ebb
