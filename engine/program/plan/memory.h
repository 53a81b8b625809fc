// The memory plan: where in one arena each stored result lies, and for how long.
//
// Lifetimes are known before the first run, and so is the peak. A result takes over the memory of what it is made of
// where it can (in_place.h); of the others the largest are placed first, each at the lowest place that is free while it
// lives.
#pragma once

#include <ebb/engine/program/plan/in_place.h>

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
  std::size_t result_bytes = 0;  ///< outputs and new values of States, which every run hands out, but for `over`
  std::vector<NodeId> inside;    ///< by node: the result in whose memory it is written, into which it dies; or kNoNode
  std::vector<bool> rewrites;    ///< by node: it is written where an operand lies
  /// States whose new value takes the memory of the old one, whenever nobody else holds that.
  std::vector<OverState> over;
  /// What a run holds at once: the arena and its results.
  std::size_t peak_bytes() const { return arena_bytes + result_bytes; }
};

MemoryPlan plan_memory(const Traced& traced, const Schedule& schedule);

/// By node, the last action that reads it; 0 if none does.
std::vector<std::size_t> last_readers(const Traced& traced, const Schedule& schedule);

/// True for each node whose bytes are handed out: what outputs and updates are, or are views of.
std::vector<bool> result_nodes(const Traced& traced);

}  // namespace ebb
