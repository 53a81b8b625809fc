// What a compiled program makes of a graph, for a pane of the page: its loops, each with the nodes whose work it does.
#pragma once

#include <ebb/engine/dump/dump.h>
#include <ebb/engine/program/program.h>

namespace ebb {

/// The loops and kernels of `program`, beside the nodes of `tape`, on which the same function was recorded.
///
/// A node belongs to the loops that compute what bears its name or, if nothing does any more, what the compiler's rules
/// have put in the place of its step. A node that belongs to none has been simplified away. So the arguments want the
/// names that they have on `tape`, which CompileOptions::arguments gives them.
///
/// Example   auto step = compile(f, {.arguments = {"x", "labels"}});
///           options.panes.push_back({.title = "Loops", .columns = {loops_beside(tape, step.program())}});
DumpColumn loops_beside(const Tape& tape, const Program& program);

}  // namespace ebb
