// The memory plan: where in one arena each stored result lies, and for how long.
//
// Lifetimes are known before the first run, and so is the peak. The largest results are placed first, each at the
// lowest place that is free while it lives.
#pragma once

#include <ebb/engine/program/schedule.h>

#include <cstddef>
#include <vector>

namespace ebb {

struct MemoryPlan {
  struct Slot {
    NodeId node;
    std::size_t offset;
    std::size_t bytes;
    std::size_t first, last;  // the actions between which it lives
  };
  std::vector<Slot> slots;
  std::size_t arena_bytes = 0;
  std::size_t live_bytes = 0;    ///< the largest sum of results alive at once: no plan can do with less
  std::size_t result_bytes = 0;  ///< outputs and new values of States, which every run hands out
  /// What a run holds at once: the arena and its results.
  std::size_t peak_bytes() const { return arena_bytes + result_bytes; }
};

MemoryPlan plan_memory(const Traced& traced, const Schedule& schedule);

/// By node, the last action that reads it; 0 if none does.
std::vector<std::size_t> last_readers(const Traced& traced, const Schedule& schedule);

/// True for each node whose bytes are handed out: what outputs and updates are, or are views of.
std::vector<bool> result_nodes(const Traced& traced);

}  // namespace ebb
