#include <ebb/engine/program/replay.h>

#include <ebb/engine/tape/structural.h>

namespace ebb {
namespace {

// An attribute that holds a dtype says what a node gives: it is converted like everything else.
void convert(std::vector<Attr>& attrs, DType floating) {
  for (Attr& attr : attrs) {
    if (attr.name != "dtype") continue;
    std::int64_t* const value = std::get_if<std::int64_t>(&attr.value);
    if (value && is_floating(DType(*value))) *value = static_cast<std::int64_t>(floating);
  }
}

}  // namespace

Replayed replay(const Traced& traced, Tape& tape, std::span<const Var> arguments, std::span<const Var> states,
                std::optional<DType> floating) {
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
      std::vector<Attr> attrs(node.attrs.begin(), node.attrs.end());
      if (floating) convert(attrs, *floating);
      vars[id] = tape.record(*node.row, operands, attrs);
    }
  }
  Replayed replayed;
  for (NodeId id : traced.outputs) replayed.outputs.push_back(vars[id]);
  for (const Traced::Update& update : traced.updates) replayed.updates.push_back(vars[update.value]);
  return replayed;
}

}  // namespace ebb
