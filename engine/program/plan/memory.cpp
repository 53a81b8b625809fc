#include <ebb/engine/program/plan/memory.h>

#include <ebb/engine/row/structural.h>

#include <algorithm>
#include <limits>
#include <numeric>

namespace ebb {
namespace {

// Lines of 64 bytes, and one more after what fills pages, so that no two results start a multiple of a page apart.
std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64 + (bytes >= 4096 ? 64 : 0); }

using Slot = MemoryPlan::Slot;

// Each slot in turn at the lowest place that is free while it lives; returns the bytes that all need.
std::size_t place_in_turn(std::span<Slot> slots, std::span<const std::size_t> order) {
  std::size_t bytes = 0;
  std::vector<const Slot*> placed;  // by offset
  for (const std::size_t i : order) {
    Slot& slot = slots[i];
    std::size_t at = 0;
    for (const Slot* other : placed) {
      if (other->last < slot.first || slot.last < other->first) continue;
      if (at + padded(slot.bytes) <= other->offset) break;
      at = std::max(at, other->offset + padded(other->bytes));
    }
    slot.offset = at;
    bytes = std::max(bytes, at + padded(slot.bytes));
    placed.insert(std::ranges::upper_bound(placed, at, {}, &Slot::offset), &slot);
  }
  return bytes;
}

// The largest first; then two of them change places in that order, again and again, as long as there is much to win.
// The choice of the two is arbitrary, but always the same.
void place_all(MemoryPlan& plan) {
  constexpr std::size_t kAttempts = 400;
  std::vector<std::size_t> order(plan.slots.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, std::greater(), [&](std::size_t i) { return plan.slots[i].bytes; });
  plan.arena_bytes = place_in_turn(plan.slots, order);
  std::vector<Slot> tried = plan.slots;
  std::uint32_t state = 1;
  const auto any = [&] { return (state = state * 1664525 + 1013904223) >> 8; };
  for (std::size_t i = 0; i < kAttempts && plan.arena_bytes > plan.live_bytes + plan.live_bytes / 64; ++i) {
    std::size_t& a = order[any() % order.size()];
    std::size_t& b = order[any() % order.size()];
    std::swap(a, b);
    const std::size_t bytes = place_in_turn(tried, order);
    if (bytes > plan.arena_bytes) {
      std::swap(a, b);
      continue;
    }
    plan.arena_bytes = bytes;
    plan.slots = tried;
  }
}

}  // namespace

std::vector<bool> result_nodes(const Traced& traced) {
  std::vector<bool> result(traced.tape->size());
  for (NodeId id : traced.outputs) result[base_of(traced, id)] = true;
  for (const Traced::Update& update : traced.updates) result[base_of(traced, update.value)] = true;
  return result;
}

std::vector<std::size_t> last_readers(const Traced& traced, const Schedule& schedule) {
  std::vector<std::size_t> last(traced.tape->size(), 0);
  for (std::size_t a = 0; a < schedule.actions.size(); ++a) {
    const Action& action = schedule.actions[a];
    for (const View& view : action.sources) last[view.root] = a;
    if (action.kind == Action::Kind::loop) continue;
    for (std::size_t i = 0; i < traced.node(action.node).inputs; ++i) {
      const NodeId input = traced.input(action.node, i);
      last[base_of(traced, input)] = a;
      last[view_of(traced, schedule.stored, input).root] = a;
    }
  }
  return last;
}

MemoryPlan plan_memory(const Traced& traced, const Schedule& schedule) {
  MemoryPlan plan;
  const std::vector<bool> result = result_nodes(traced);
  const std::vector<std::size_t> last = last_readers(traced, schedule);
  InPlace in_place = find_in_place(traced, schedule, result);
  std::vector<std::size_t> slot_of(result.size());
  for (NodeId id = 0; id < result.size(); ++id) {
    if (!schedule.stored[id] || schedule.home[id] == schedule.actions.size()) continue;
    const std::size_t bytes = traced.type(id).bytes();
    if (result[id]) plan.result_bytes += bytes;
    if (result[id] || in_place.inside[id] != kNoNode) continue;
    std::size_t until = std::max(schedule.home[id], last[id]);
    if (const Band* const band = schedule.band_of(until)) until = band->end - 1;  // its loops take turns until then
    if (const NodeId from = in_place.over[id]; from != kNoNode) {
      slot_of[id] = slot_of[from];
      MemoryPlan::Slot& slot = plan.slots[slot_of[id]];
      slot.last = std::max(slot.last, until);
    } else {
      slot_of[id] = plan.slots.size();
      plan.slots.push_back({id, 0, bytes, schedule.home[id], until});
    }
  }
  for (const OverState& over : in_place.states) plan.result_bytes -= traced.type(over.value).bytes();
  plan.over = std::move(in_place.states);
  std::vector<std::size_t> live(schedule.actions.size());
  for (const MemoryPlan::Slot& slot : plan.slots) {
    for (std::size_t a = slot.first; a <= slot.last; ++a) live[a] += slot.bytes;
  }
  if (!live.empty()) plan.live_bytes = std::ranges::max(live);

  place_all(plan);
  for (NodeId id = 0; id < result.size(); ++id) {
    if (in_place.over[id] == kNoNode || in_place.inside[id] != kNoNode) continue;
    MemoryPlan::Slot slot = plan.slots[slot_of[id]];
    slot.node = id;
    plan.slots.push_back(slot);
  }
  plan.inside = std::move(in_place.inside);
  plan.rewrites = std::move(in_place.rewrites);
  return plan;
}

}  // namespace ebb
