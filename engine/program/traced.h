// A traced function: the graph of one call, with what goes in and what comes out.
//
// A trace sees arguments, States and guards; every other C++ value is a constant. It is the compiler's first form of a
// function and stays its only one: a pass takes a Traced and returns another.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ebb {

struct Traced {
  struct Read {
    State state;
    NodeId leaf;
  };
  struct Update {
    State state;
    NodeId value;
  };

  std::shared_ptr<const Tape> tape;  // in trace mode
  std::vector<NodeId> arguments;
  std::vector<Read> reads;
  std::vector<NodeId> outputs;
  std::vector<Update> updates;

  const Node& node(NodeId id) const { return tape->node(id); }
  NodeId input(NodeId id, std::size_t i) const { return tape->input(tape->node(id), i); }
  const Tensor& type(NodeId id) const { return tape->node(id).value; }
};

/// What is traced: records on `tape` and returns its results.
using TracedFunction = std::function<Vars(Tape& tape, std::span<const Var> arguments)>;

/// Records one call of `f` on `tape`, which a caller keeps that wants to see how far a trace came that failed. The
/// arguments are called `names`, or `arg0`, `arg1` and so on.
///
/// Throws    what f throws; UsageError if f reads a value, with the line where the value was recorded, or if there are
///           names, but not one for each argument.
Traced trace(const TracedFunction& f, std::span<const TensorType> arguments, std::span<const std::string> names = {},
             const std::shared_ptr<Tape>& tape = std::make_shared<Tape>(Tape::Mode::trace));

/// Every node that an output or an update needs, as flags by id.
std::vector<bool> live_nodes(const Traced& traced);

}  // namespace ebb
