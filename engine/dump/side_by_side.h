// What a compiled program makes of a graph, for a pane of the page: its loops, each with the nodes whose work it does.
#pragma once

#include <ebb/engine/dump/dump.h>
#include <ebb/engine/program/program.h>

#include <span>
#include <string>

namespace ebb {

/// The loops and kernels of `program`, beside the nodes of `tape`, on which the same function was recorded.
///
/// A node belongs to the loops that compute what bears its name or, if nothing does any more, what the compiler's rules
/// have put in the place of its step. A node that belongs to none has been simplified away. The trace calls its
/// arguments arg0, arg1 and so on: `arguments` says what `tape` calls them.
///
/// Example   options.panes.push_back({.title = "Loops", .columns = {loops_beside(tape, step.program(), {{"x"}})}});
DumpColumn loops_beside(const Tape& tape, const Program& program, std::span<const std::string> arguments = {});

/// A text about a program with the names of `arguments` for arg0, arg1 and so on.
std::string with_arguments(std::string text, std::span<const std::string> arguments);

}  // namespace ebb
