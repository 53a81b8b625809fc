// A schedule: which loops run a traced function, in which order, and what has to be kept in memory between them.
//
// Elementwise ops and reductions over one shape share a loop, however far apart they were recorded. A result that a
// later loop needs again is stored, or computed a second time where that moves fewer bytes. Broadcasts are never
// written out for a loop, which reads them with stride 0; reshapes are another view of the same bytes. What is neither
// elementwise nor a reduction is a call of its row's kernel.
#pragma once

#include <ebb/engine/program/traced.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace ebb {

/// How a loop or a kernel reads a node: the node whose bytes they are, under a shape.
struct View {
  NodeId root = kNoNode;
  Shape shape;
};

struct Action {
  enum class Kind : std::uint8_t {
    loop,    ///< steps and reductions over `shape`
    kernel,  ///< the kernel of `node`
    copy,    ///< `node` is a broadcast that someone needs written out
  };
  Kind kind = Kind::loop;
  NodeId node = kNoNode;
  Shape shape;
  std::optional<IntList> axes;  // what the reductions reduce
  std::vector<NodeId> steps;    // in order; some may also be steps of other loops
  std::vector<NodeId> reductions;
  std::vector<View> sources;  // what a loop reads from memory
};

/// Actions that are run together (bands.h): loops over the shape, and between them some over what is kept of it.
struct Band {
  std::size_t begin = 0, end = 0;
  Shape shape;
  IntList axes;  // what its loops reduce
};

struct Schedule {
  std::vector<Action> actions;
  std::vector<bool> stored;       // by node: its bytes are in memory after its action (leaves and constants: always)
  std::vector<std::size_t> home;  // by node: the action that computes it; actions.size() if none does
  std::vector<Band> bands;

  /// The band of an action; null if it runs by itself.
  const Band* band_of(std::size_t action) const;
};

Schedule make_schedule(const Traced& traced);

/// The node that holds the bytes of `id`: itself, or what it is a reshape of.
NodeId base_of(const Traced& traced, NodeId id);
/// How `id` is read: below broadcasts that are not stored, through reshapes.
View view_of(const Traced& traced, const std::vector<bool>& stored, NodeId id);
/// How a loop reads it: what is [C] for one op and [1, C] for another is one iteration space.
View loop_view_of(const Traced& traced, const std::vector<bool>& stored, NodeId id);

}  // namespace ebb
