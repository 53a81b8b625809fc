#include <ebb/engine/dump/describe/shown.h>
#include <fmt/format.h>

namespace ebb::detail {
namespace {

NodeId id_on(const Tape& tape, const Var& var, std::string_view use) {
  if (&var.tape() != &tape) {
    throw UsageError(
        fmt::format("dump: {} is of another tape, so it cannot be {}. Give a Var that the dumped tape has "
                    "recorded.",
                    var.name(), use));
  }
  return var.id();
}

}  // namespace

std::vector<bool> shown_nodes(const Tape& tape, const DumpOptions& options) {
  const NodeId size = static_cast<NodeId>(tape.size());
  std::vector<bool> shown(size, options.outputs.empty());
  for (const Var& var : options.outputs) shown[id_on(tape, var, "one of the outputs")] = true;
  for (NodeId id = size; id-- > 0 && !options.outputs.empty();) {
    if (!shown[id]) continue;
    for (std::size_t i = 0; i < tape.node(id).inputs; ++i) shown[tape.input(tape.node(id), i)] = true;
  }
  const NodeId from = options.from ? id_on(tape, *options.from, "`from`") : 0;
  const NodeId to = options.to ? id_on(tape, *options.to, "`to`") : kNoNode;
  if (from > to) {
    throw UsageError(
        fmt::format("dump: from %{} was recorded after to %{}, which leaves nothing to show. Swap them.", from, to));
  }
  if (options.focus) id_on(tape, *options.focus, "the focus");
  for (NodeId id = 0; id < size; ++id) shown[id] = shown[id] && id >= from && id <= to;
  return shown;
}

}  // namespace ebb::detail
