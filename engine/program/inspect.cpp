#include <ebb/engine/program/inspect.h>

namespace ebb {

Replayed run_node_by_node(const Program& program, Tape& tape, std::span<const Tensor> arguments, const Watch& watch,
                          std::span<const Tensor> states) {
  program.check(arguments);
  program.note_node_by_node();
  const Traced& traced = program.recorded();
  Vars in, read;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    in.push_back(tape.leaf(arguments[i], traced.tape->name_of(traced.arguments[i]), Location{}));
  }
  for (std::size_t i = 0; i < traced.reads.size(); ++i) {
    const State& state = traced.reads[i].state;
    read.push_back(tape.leaf(states.empty() ? state.value() : states[i], state.name(), Location{}));
  }
  return replay(traced, tape, in, read, std::nullopt, [&](NodeId id, const Var& value) {
    if (traced.node(id).named) tape.name(value, traced.tape->name_of(id));
    if (watch) watch(id, value);
  });
}

AuditReport audit(const Program& program, std::span<const Tensor> arguments, const AuditOptions& options) {
  Tape tape;
  run_node_by_node(program, tape, arguments);
  return audit(tape, options);
}

}  // namespace ebb
