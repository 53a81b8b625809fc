// The arrows of a drawing, for every format that draws boxes and arrows.
#pragma once

#include <ebb/engine/dump/graph.h>

#include <string>
#include <vector>

namespace ebb {

/// From box to box: `n12` is a node's, `a3` an alias's.
struct DrawnArrow {
  enum class Kind : std::uint8_t {
    value,       ///< forward
    alias,       ///< forward, to another name
    cotangent,   ///< backward, to another name or to where it goes
    derivative,  ///< from one node of a sweep to another: a local derivative
    read,        ///< from a forward value to the backward node that needs it
  };
  Kind kind = Kind::value;
  std::string from, to;
};

/// With `fold`, boxes are those of the formulas that spell nodes out; arrows that read only where the options ask.
std::vector<DrawnArrow> drawn_arrows(const Graph& graph, const DumpOptions& options);

}  // namespace ebb
