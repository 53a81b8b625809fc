// Replay: a traced function, recorded once more on a tape of the caller's.
//
// What a compiled function does can then be looked at node by node: in f64 beside it (certify), in anomaly mode, under
// audit; and it can be differentiated, since a replay is an ordinary recording.
#pragma once

#include <ebb/engine/program/traced.h>

#include <functional>
#include <optional>
#include <span>

namespace ebb {

struct Replayed {
  Vars outputs;
  Vars updates;
};

/// Is shown each node of the trace with its value as soon as it is recorded.
using Watch = std::function<void(NodeId traced, const Var& value)>;

/// Records `traced` on `tape` with these Vars for its arguments and for the States it reads, in the order of
/// traced.reads. With `floating`, everything floating is of that dtype.
Replayed replay(const Traced& traced, Tape& tape, std::span<const Var> arguments, std::span<const Var> states,
                std::optional<DType> floating = std::nullopt, const Watch& watch = {});

}  // namespace ebb
