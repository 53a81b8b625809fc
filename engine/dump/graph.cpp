// What can be asked of a description: what things are called, and where a node is.
#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace ebb {

std::string_view name(Role role) {
  constexpr std::string_view kNames[] = {"leaf",     "constant",     "forward", "seed",
                                         "backward", "accumulation", "scope",   "failed"};
  return kNames[static_cast<std::size_t>(role)];
}

std::string_view name(GraphPiece::Kind kind) {
  constexpr std::string_view kNames[] = {"text", "name", "cotangent", "formula", "code"};
  return kNames[static_cast<std::size_t>(kind)];
}

std::size_t Graph::index_of(NodeId id) const {
  const auto found = std::ranges::lower_bound(nodes, id, {}, &GraphNode::id);
  return found != nodes.end() && found->id == id ? static_cast<std::size_t>(found - nodes.begin()) : kNoIndex;
}

std::string Graph::label_of(NodeId id) const {
  if (const std::size_t index = index_of(id); index != kNoIndex) {
    const GraphNode& node = nodes[index];
    if (node.role == Role::constant) return node.formula;
    if (!node.name.empty()) return node.name;
  } else if (const auto found = std::ranges::lower_bound(outside, id, {}, &std::pair<NodeId, std::string>::first);
             found != outside.end() && found->first == id) {
    return found->second;
  }
  return fmt::format("%{}", id);
}

NodeId Graph::spelled_out_by(NodeId id) const {
  for (std::size_t i = index_of(id); i != kNoIndex && nodes[i].folded_into != kNoNode; i = index_of(id)) {
    id = nodes[i].folded_into;
  }
  return id;
}

std::string type_of(const GraphNode& node) {
  if (node.role == Role::failed || (node.role == Role::scope && node.outputs.size() != 1)) return {};
  return fmt::format("{}{}", name(node.dtype), to_string(node.shape));
}

std::string times(std::size_t repeats) { return repeats > 1 ? fmt::format(" x {}", repeats) : std::string(); }

std::string to_string(const GraphRepeat& repeat) {
  return fmt::format("{} x {}, up to {}", fmt::join(repeat.shown, ", "), repeat.times, fmt::join(repeat.last, ", "));
}

}  // namespace ebb
