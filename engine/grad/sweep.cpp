// One reverse sweep: it walks ids downwards and records the rules of what it meets.
#include <ebb/engine/row/structural.h>
#include <ebb/engine/grad/sweep.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ebb {

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

void Sweep::release(Tape& tape, NodeId first, NodeId end, std::span<const Var> results) {
  CachedVector<NodeId> kept;
  for (const Var& var : results) {
    if (var.alive()) kept.push_back(var.id());
  }
  std::ranges::sort(kept);
  for (NodeId id = first; id < end; ++id) {
    if (!std::ranges::binary_search(kept, id)) tape.release(id);
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

void Sweep::seed(NodeId y, NodeId cotangent) {
  SweepCell* const c = cell(y);
  if (!c || !c->active) return;
  if (c->cotangent != kNoNode) {
    accumulate(y, tape_.var(cotangent), kNoNode);
    return;
  }
  c->cotangent = cotangent;
  pin(cotangent, 1);
  ++c->contributions;
  if (outer_origin_ == kNoNode && tape_.node(cotangent).row != &kConstant && !tape_.node(cotangent).named) {
    note_name(NameKind::contribution, cotangent, y, kNoNode, c->contributions);
  }
}

void Sweep::run(std::span<const SweepSeed> seeds, std::span<const NodeId> wrt, NodeId floor, Vars& out) {
  NodeId top = 0;
  for (const SweepSeed& s : seeds) top = std::max(top, s.y);
  low_ = floor;
  if (floor == 0) {
    low_ = top;
    for (NodeId id : wrt) low_ = std::min(low_, id);
  } else if (wrt[0] < floor) {
    below_ = wrt[0];
  }
  scratch_.cells.assign(top >= low_ ? top - low_ + 2 : 1, SweepCell{});
  scratch_.pins.assign(keep_ ? 0 : tape_.size() - start_, 0);
  mark_active(top, wrt);
  for (const SweepSeed& s : seeds) seed(s.y, s.cotangent);
  for (NodeId id = top + 1; id-- > low_;) {
    const SweepCell& at = *cell(id);
    if (at.cotangent != kNoNode && at.active) visit(id);
  }
  tape_.window_ = kNoNode;
  tape_.origin_ = outer_origin_;
  for (NodeId id : wrt) {
    const SweepCell* c = cell(id);
    out.push_back(c && c->cotangent != kNoNode ? tape_.var(c->cotangent) : unused(seeds, id));
  }
}

// Why y depends on `wrt` only through edges that have no derivative; empty if it does not depend on it, or if the user
// stopped the gradient.
std::string_view Sweep::blocked(NodeId y, NodeId wrt) const {
  if (wrt > y) return {};
  const std::size_t n = std::size_t{y} - wrt + 1;
  CachedVector<std::string_view> reason(n);
  CachedVector<char> reached(n);
  reached[0] = true;
  for (NodeId id = wrt + 1; id <= y; ++id) {
    const Node& node = tape_.node(id);
    const std::size_t at = id - wrt;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId input = tape_.input(node, i);
      if (input < wrt || !reached[input - wrt]) continue;
      const std::size_t in = input - wrt;
      const VjpRule& rule = node.row->vjp[i];
      // A stop; or an edge that a derivative rule made: its author knew that there is no slope, as in relu's second
      // derivative, which is zero and no mistake.
      if (!rule.differentiable() && (rule.reason().empty() || node.sweep != 0)) continue;
      reached[at] = true;
      if (!reason[in].empty()) {
        reason[at] = reason[in];
      } else if (!rule.differentiable()) {
        reason[at] = rule.reason();
      } else if (!is_floating(node.value.dtype())) {
        reason[at] = "integers have no derivative";
      }
    }
  }
  return reason[n - 1];
}

// Whether `wrt` is computed from at all. One walk serves all inputs: a thousand unused parameters cost one.
bool Sweep::depends(std::span<const SweepSeed> seeds, NodeId wrt) {
  if (ancestors_.empty()) {
    NodeId top = 0;
    for (const SweepSeed& s : seeds) top = std::max(top, s.y);
    ancestors_.resize(std::size_t{top} + 1);
    for (const SweepSeed& s : seeds) ancestors_[s.y] = true;
    for (NodeId id = top + 1; id-- > 0;) {
      if (!ancestors_[id]) continue;
      const Node& node = tape_.node(id);
      for (std::size_t i = 0; i < node.inputs; ++i) ancestors_[tape_.input(node, i)] = true;
    }
  }
  return wrt < ancestors_.size() && ancestors_[wrt];
}

Var Sweep::unused(std::span<const SweepSeed> seeds, NodeId wrt) {
  const Tensor& tensor = tape_.node(wrt).value;
  if (depends(seeds, wrt)) {
    for (const SweepSeed& s : seeds) {
      const std::string_view reason = blocked(s.y, wrt);
      if (reason.empty()) continue;
      throw UsageError(fmt::format("grad: {} {} depends on {} only through an op without a derivative: {}. ({})",
                                   tape_.node(s.y).row->name, tape_.name_of(s.y), tape_.name_of(wrt), reason,
                                   to_string(where_)));
    }
  }
  if (unused_ == Unused::none) return Var();
  if (unused_ == Unused::error) {
    const NodeId y = seeds.front().y;
    throw UsageError(fmt::format(
        "grad: {} {} does not depend on {} {}. Leave it out, or ask for zeros with "
        "{{.unused = Unused::zeros}}. ({})",
        tape_.node(y).row->name, tape_.name_of(y), tape_.name_of(wrt), describe(tensor), to_string(where_)));
  }
  return broadcast_to(tape_.constant(0, tensor.dtype()), tensor.shape());
}

}  // namespace ebb
