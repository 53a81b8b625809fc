// Calls: a compiled function's results on an eager tape.
//
// One run of the program gives all outputs; each is recorded as a `call` node that holds its value. The derivative of a
// call is that of its body: the traced nodes are recorded again behind a local pullback, so every order is right, and
// nobody who does not ask for a derivative pays for one.
#pragma once

#include <ebb/engine/program/program.h>

#include <span>

namespace ebb {

extern const Row kCall;

/// Runs `program` on the values of `arguments`, records its outputs and notes its updates. States are read on the tape,
/// so that an update that is noted but not committed counts. On a tape in anomaly mode it runs node by node.
Vars record_call(Program& program, Tape& tape, std::span<const Var> arguments, Location where);

}  // namespace ebb
