// What a node costs, counted from its row's kind and its shapes: the figures that dumps and explanations show.
#pragma once

#include <ebb/engine/tape/tape.h>

namespace ebb {

/// Floating-point operations of one node: one for each element that an elementwise op writes or a reduction or scan
/// takes in, whatever it computes; two for each product of a contraction; none for a movement.
double flops(const Tape& tape, NodeId id);

}  // namespace ebb
