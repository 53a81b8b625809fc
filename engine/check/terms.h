// How large the terms are that a slope is the sum of. Private to gradcheck.
#pragma once

#include <ebb/engine/check/gradcheck.h>

#include <map>

namespace ebb {

/// The cotangents of a graph's nodes, in f64, by node.
using Cotangents = std::map<NodeId, std::vector<double>>;

/// Which of the nodes up to y it depends on through differentiable edges.
std::vector<bool> reached(const Tape& tape, NodeId y);

/// The cotangents of all nodes that `outputs` depend on, for the cotangents `weights` of the outputs.
Cotangents cotangents(Tape& tape, std::span<const Var> outputs, std::span<const Tensor> weights);

/// The largest root of sum(term^2) over the nodes of a graph. A term is a cotangent times what one input, or all of
/// them, contribute to the change of the node between the tapes `before` and `after`, which recorded the same graph as
/// `here` at inputs 2 h apart. 0 if they did not.
double size_of_terms(const Tape& here, const Cotangents& cotangents, const Tape& before, const Tape& after, double h);

}  // namespace ebb
