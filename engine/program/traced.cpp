#include <ebb/engine/program/traced.h>

#include <fmt/format.h>

#include <algorithm>

namespace ebb {

Traced trace(const TracedFunction& f, std::span<const TensorType> arguments, std::span<const std::string> names,
             const std::shared_ptr<Tape>& tape) {
  if (!names.empty() && names.size() != arguments.size()) {
    throw UsageError(
        fmt::format("compile: arguments has {} names, and the function takes {}. Give one for each, or none.",
                    names.size(), arguments.size()));
  }
  Traced traced;
  traced.tape = tape;
  Vars leaves;
  for (const TensorType& type : arguments) {
    const std::string name = names.empty() ? fmt::format("arg{}", leaves.size()) : names[leaves.size()];
    leaves.push_back(tape->leaf(Tensor::abstract(type.shape, type.dtype), name, Location{}));
    traced.arguments.push_back(leaves.back().id());
  }
  for (const Var& result : f(*tape, leaves)) {
    if (&result.tape() != tape.get()) {
      throw UsageError("compile: the function returned a Var of another tape. Record on the tape of its arguments.");
    }
    traced.outputs.push_back(result.id());
  }
  for (const Tape::StateUse& use : tape->states()) {
    if (use.leaf != kNoNode) traced.reads.push_back({use.state, use.leaf});
    if (use.pending != kNoNode) traced.updates.push_back({use.state, use.pending});
  }
  std::ranges::sort(traced.reads, {}, &Traced::Read::leaf);
  return traced;
}

std::vector<bool> live_nodes(const Traced& traced) {
  std::vector<bool> live(traced.tape->size());
  for (NodeId id : traced.outputs) live[id] = true;
  for (const Traced::Update& update : traced.updates) live[update.value] = true;
  for (NodeId id = static_cast<NodeId>(live.size()); id-- > 0;) {
    if (!live[id]) continue;
    const Node& node = traced.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) live[traced.tape->input(node, i)] = true;
  }
  return live;
}

}  // namespace ebb
