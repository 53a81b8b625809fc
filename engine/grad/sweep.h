// What a reverse sweep keeps while it runs. Private to the tape and to grad.
#pragma once

#include <ebb/engine/grad/grad.h>
#include <ebb/engine/tape/tape.h>

namespace ebb {

/// Per node of the range that a sweep walks.
struct SweepCell {
  NodeId cotangent = kNoNode;
  std::uint32_t contributions = 0;
  bool active = false;  // depends on an input asked for, through differentiable edges
  bool wanted = false;  // is such an input
};

/// Storage of one sweep, reused by the next at the same depth of nesting.
struct SweepScratch {
  CachedVector<SweepCell> cells;
  CachedVector<std::uint32_t> pins;  // per node recorded by the sweep: cells whose cotangent it is
};

/// Where a sweep begins: a node and its cotangent.
struct SweepSeed {
  NodeId y;
  NodeId cotangent;
};

class Sweep {
 public:
  Sweep(Tape& tape, const SweepOptions& options, Location where);
  ~Sweep();
  Sweep(const Sweep&) = delete;
  Sweep& operator=(const Sweep&) = delete;

  /// Drops the values that were recorded from `first` to before `end`, but those of `results`.
  static void release(Tape& tape, NodeId first, NodeId end, std::span<const Var> results);

  /// The pullback of the seeds, at least one, to each of `wrt`, summed. With a floor, nodes before it are inputs only.
  void run(std::span<const SweepSeed> seeds, std::span<const NodeId> wrt, NodeId floor, Vars& out);

 private:
  SweepCell* cell(NodeId id);
  void mark_active(NodeId y, std::span<const NodeId> wrt);
  void seed(NodeId y, NodeId cotangent);
  void visit(NodeId id);
  Var hooked(NodeId id, Var cotangent);
  Var fit(Var cotangent, NodeId input);
  void accumulate(NodeId input, Var contribution, NodeId from);
  void note_name(NameKind kind, NodeId node, NodeId of, NodeId origin, std::uint32_t index);
  void pin(NodeId node, int by);
  void release_from(NodeId first);
  Var unused(std::span<const SweepSeed> seeds, NodeId wrt);
  bool depends(std::span<const SweepSeed> seeds, NodeId wrt);
  std::string_view blocked(NodeId y, NodeId wrt) const;

  Tape& tape_;
  bool keep_;
  Unused unused_;
  Location where_;
  SweepScratch& scratch_;
  NodeId low_ = 0;          // the first node of the range
  NodeId below_ = kNoNode;  // an input before the range, for local pullbacks
  NodeId start_;            // the tape's end when the sweep began
  NodeId outer_origin_;
  NodeId outer_window_;
  std::uint32_t outer_sweep_;
  CachedVector<char> ancestors_;  // what the seeds depend on, if it was asked
};

}  // namespace ebb
