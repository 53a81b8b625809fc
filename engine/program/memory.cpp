#include <ebb/engine/program/memory.h>

#include <ebb/engine/tape/structural.h>

#include <algorithm>

namespace ebb {
namespace {

// Lines of 64 bytes, and one more after what fills pages, so that no two results start a multiple of a page apart.
std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64 + (bytes >= 4096 ? 64 : 0); }

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
  for (NodeId id = 0; id < result.size(); ++id) {
    if (!schedule.stored[id] || schedule.home[id] == schedule.actions.size()) continue;
    const std::size_t bytes = traced.type(id).bytes();
    if (result[id]) {
      plan.result_bytes += bytes;
    } else {
      const std::size_t until = std::max(schedule.home[id], last[id]);
      const Band* const band = schedule.band_of(until);  // whose loops take turns until all are done
      plan.slots.push_back({id, 0, bytes, schedule.home[id], band ? band->end - 1 : until});
    }
  }
  std::vector<std::size_t> live(schedule.actions.size());
  for (const MemoryPlan::Slot& slot : plan.slots) {
    for (std::size_t a = slot.first; a <= slot.last; ++a) live[a] += slot.bytes;
  }
  if (!live.empty()) plan.live_bytes = std::ranges::max(live);

  std::ranges::stable_sort(plan.slots, std::greater(), &MemoryPlan::Slot::bytes);
  std::vector<const MemoryPlan::Slot*> placed;  // by offset
  for (MemoryPlan::Slot& slot : plan.slots) {
    std::size_t at = 0;
    for (const MemoryPlan::Slot* other : placed) {
      if (other->last < slot.first || slot.last < other->first) continue;
      if (at + padded(slot.bytes) <= other->offset) break;
      at = std::max(at, other->offset + padded(other->bytes));
    }
    slot.offset = at;
    plan.arena_bytes = std::max(plan.arena_bytes, at + padded(slot.bytes));
    placed.insert(std::ranges::upper_bound(placed, at, {}, &MemoryPlan::Slot::offset), &slot);
  }
  return plan;
}

}  // namespace ebb
