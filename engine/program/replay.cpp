#include <ebb/engine/program/replay.h>

#include <ebb/engine/row/structural.h>

namespace ebb {

Replayed replay(const Traced& traced, Tape& tape, std::span<const Var> arguments, std::span<const Var> states,
                std::optional<DType> floating, const Watch& watch) {
  const auto converted = [&](DType dtype) { return floating && is_floating(dtype) ? *floating : dtype; };
  Vars vars(traced.tape->size());
  for (std::size_t i = 0; i < arguments.size(); ++i) vars[traced.arguments[i]] = arguments[i];
  for (std::size_t i = 0; i < states.size(); ++i) vars[traced.reads[i].leaf] = states[i];
  const std::vector<bool> live = live_nodes(traced);
  for (NodeId id = 0; id < live.size(); ++id) {
    const Node& node = traced.node(id);
    if (!live[id] || vars[id].alive()) continue;
    const DType dtype = converted(node.value.dtype());
    if (node.row == &kConstant) {
      vars[id] = tape.constant(Attrs(node.attrs).real("value"), dtype);
    } else if (node.row == &kLeaf) {
      vars[id] = tape.leaf(node.value.dtype() == dtype ? node.value : node.value.to(dtype), {}, node.where);
    } else {
      std::vector<Operand> operands;
      for (std::size_t i = 0; i < node.inputs; ++i) {
        operands.emplace_back(vars[traced.tape->input(node, i)], node.where);
      }
      vars[id] = floating ? tape.record(*node.row, operands, with_floating(node.attrs, *floating))
                          : tape.record(*node.row, operands, node.attrs);
      if (watch) watch(id, vars[id]);
    }
  }
  Replayed replayed;
  for (NodeId id : traced.outputs) replayed.outputs.push_back(vars[id]);
  for (const Traced::Update& update : traced.updates) replayed.updates.push_back(vars[update.value]);
  return replayed;
}

}  // namespace ebb
