// States on a tape, and cutting it back: what is read, noted, committed, and taken back.
#include <ebb/engine/tape/slots.h>
#include <ebb/engine/tape/tape.h>

#include <ebb/engine/loop/loop.h>
#include <fmt/format.h>

#include <algorithm>

namespace ebb {

const Tape::StateEntry* Tape::entry_of(const State& state) const {
  for (std::size_t k = 0; k < states_.size(); ++k) {
    const StateEntry& entry = states_[(next_state_ + k) % states_.size()];
    if (entry.state == state) return &entry;
  }
  return nullptr;
}

// Whatever a rewind takes back must be as it was, so each change keeps what it replaces.
Tape::StateEntry& Tape::change_entry(StateEntry& entry) {
  const std::size_t index = static_cast<std::size_t>(&entry - states_.data());
  replaced_.push_back({index, entry.leaf, entry.pending, entry.version});
  return entry;
}

Tape::StateEntry& Tape::make_entry(const State& state) {
  if (const StateEntry* entry = entry_of(state)) {
    const std::size_t index = static_cast<std::size_t>(entry - states_.data());
    next_state_ = (index + 1) % states_.size();
    return states_[index];
  }
  states_.push_back({state, kNoNode, 0, kNoNode});
  next_state_ = 0;
  return states_.back();
}

Var Tape::read(const State& state, Location where) {
  check_thread();
  if (!state) throw UsageError(fmt::format("read: this State is empty. ({})", to_string(where)));
  StateEntry& entry = make_entry(state);
  if (entry.pending != kNoNode) return var(entry.pending);
  const std::uint64_t version = state.version();
  if (entry.leaf == kNoNode || entry.version != version) {
    // Whoever reads it first, the leaf belongs to no scope and no rule.
    const std::uint32_t scope = std::exchange(scope_, 0);
    const NodeId origin = std::exchange(origin_, kNoNode);
    const std::uint32_t sweep = std::exchange(sweep_, 0);
    const detail::Finally back([&] {
      scope_ = scope;
      origin_ = origin;
      sweep_ = sweep;
    });
    // To a trace a State is an argument: its value of today must not get into a program.
    Tensor value = mode_ == Mode::trace ? Tensor::abstract(state.shape(), state.dtype()) : state.value();
    const NodeId id = leaf(std::move(value), *state.shared_name(), where).id();
    change_entry(entry).leaf = id;
    entry.version = version;
  }
  return var(entry.leaf);
}

std::optional<Var> Tape::leaf_of(const State& state) const {
  const StateEntry* entry = entry_of(state);
  if (!entry || entry->leaf == kNoNode) return std::nullopt;
  return var(entry->leaf);
}

void Tape::update(const State& state, const Var& value, Location where) {
  check_thread();
  if (!state) throw UsageError(fmt::format("update: this State is empty. ({})", to_string(where)));
  const NodeId id = resolve(value);
  const Tensor& tensor = nodes_[id].value;
  const auto expected = [&] {
    return fmt::format("update: state {} is {}{}, got {}. ({})", state.name(), ebb::name(state.dtype()),
                       to_string(state.shape()), describe(tensor), to_string(where));
  };
  if (tensor.dtype() != state.dtype()) throw DTypeError(expected());
  if (tensor.shape() != state.shape()) throw ShapeError(expected());
  nodes_[id].pinned = true;  // no sweep may release it now
  change_entry(make_entry(state)).pending = id;
}

void Tape::commit() {
  check_thread();
  // Values first: reading one may throw, and then no State has changed.
  for (const StateEntry& entry : states_) {
    if (entry.pending != kNoNode) value(entry.pending);
  }
  for (StateEntry& entry : states_) {
    if (entry.pending == kNoNode) continue;
    entry.state.set(value(entry.pending));
    entry.pending = kNoNode;
  }
  for (Replaced& replaced : replaced_) replaced.pending = kNoNode;
}

std::vector<Tape::StateUse> Tape::states() const {
  std::vector<StateUse> uses;
  for (const StateEntry& entry : states_) uses.push_back({entry.state, entry.leaf, entry.pending});
  return uses;
}

bool Tape::guard(const Flag& flag) {
  const bool value = flag.get();
  if (mode_ == Mode::trace) guards_.push_back({flag, value});
  return value;
}

// --- cutting back ----------------------------------------------------------------------------------------------------

Tape::Mark Tape::mark() const {
  return {nodes_.size(),
          edges_.size(),
          attrs_.size(),
          names_.size(),
          text_.size(),
          scopes_.size(),
          lazies_.size(),
          states_.size(),
          replaced_.size(),
          slot_,
          nodes_.empty() ? first_generation_ : nodes_[nodes_.size() - 1].birth};
}

// A mark is good while the node before it is the one that was there when it was made.
bool Tape::valid(const Mark& mark) const {
  if (mark.slot != slot_ || mark.nodes > nodes_.size()) return false;
  return mark.birth == (mark.nodes == 0 ? first_generation_ : nodes_[mark.nodes - 1].birth);
}

void Tape::cut(const Mark& mark) {
  const NodeId end = static_cast<NodeId>(mark.nodes);
  for (; !pending_reductions_.empty() && pending_reductions_.back() >= end; pending_reductions_.pop_back()) {
    loop_->pop_reduction();
  }
  while (!pending_reshapes_.empty() && pending_reshapes_.back() >= end) pending_reshapes_.pop_back();
  // Steps that compute an older node again came for the sake of the node after them.
  const auto first = std::ranges::find_if(pending_steps_, [&](NodeId id) { return id >= end; });
  const std::size_t left = static_cast<std::size_t>(first - pending_steps_.begin());
  for (; pending_steps_.size() > left; pending_steps_.pop_back()) loop_->pop_step();
  if (loop_ && loop_->empty()) loop_->clear();
  while (!literals_.empty() && literals_.back().node >= end) literals_.pop_back();
  nodes_.truncate(mark.nodes);
  edges_.resize(mark.edges);
  attrs_.truncate(mark.attrs);
  names_.truncate(mark.names);
  lazies_.truncate(mark.lazies);
  // Scopes may be open that were opened after the mark: they and their names stay.
  const std::size_t scopes = std::max<std::size_t>(mark.scopes, scope_ + 1);
  text_.truncate(std::max(mark.text, scopes_[scope_].text_end));
  scopes_.truncate(scopes);
}

void Tape::rewind(const Mark& mark) {
  check_thread();
  if (!valid(mark)) {
    throw UsageError(mark.slot == slot_ ? "rewind: this mark was taken back by a rewind to an earlier one."
                                        : "rewind: this mark is of another tape.");
  }
  while (replaced_.size() > mark.replaced) {
    const Replaced& before = replaced_.back();
    StateEntry& entry = states_[before.entry];
    entry.leaf = before.leaf;
    entry.pending = before.pending;
    entry.version = before.version;
    replaced_.pop_back();
  }
  while (states_.size() > mark.states) states_.pop_back();
  next_state_ = 0;
  std::erase_if(hooks_, [&](const HookEntry& hook) { return hook.node >= mark.nodes; });
  cut(mark);
  ++generation_;
}

void Tape::rewind_unless_gone(const Mark& mark) noexcept {
  if (valid(mark)) rewind(mark);
}

Tape::Mark Tape::begin_step() {
  check_thread();
  if (stepping_) {
    throw UsageError(
        "step: a step is running on this tape already. One step commits all or nothing, so they do not nest.");
  }
  stepping_ = true;
  return mark();
}

void Tape::keep_updates(const Mark& mark, Location where) {
  struct Kept {
    State state;
    NodeId node;
    Tensor value;
  };
  CachedVector<Kept> kept;
  for (std::size_t i = mark.replaced; i < replaced_.size(); ++i) {
    const StateEntry& entry = states_[replaced_[i].entry];
    if (entry.pending == kNoNode) continue;
    if (std::ranges::any_of(kept, [&](const Kept& k) { return k.state == entry.state; })) continue;
    kept.push_back({entry.state, entry.pending, value(entry.pending)});
  }
  rewind(mark);
  for (Kept& k : kept) update(k.state, k.node < mark.nodes ? var(k.node) : leaf(std::move(k.value), {}, where), where);
}

}  // namespace ebb
