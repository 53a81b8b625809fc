// Looking into a program: its function once more, node by node.
//
// A program keeps no value that nobody needs, and runs many ops as one loop. What looks at single nodes - anomaly mode,
// an audit, a watch over values - runs the tape as it was traced instead, and a note says so. No State changes.
#pragma once

#include <ebb/engine/check/audit.h>
#include <ebb/engine/program/program.h>
#include <ebb/engine/program/replay.h>

#include <span>

namespace ebb {

/// Records the traced function on a tape of the caller's, which may be in anomaly mode, be dumped or audited. Named
/// nodes have their names; `watch` is shown each value. With `states`, one for each State that is read, those are taken
/// in the place of what the States hold.
///
/// Throws    what Program::run throws for wrong arguments; in anomaly mode UsageError for the first node that is not
///           finite.
/// Example   run_node_by_node(step.program(), tape, inputs, [](NodeId, const Var& v) { std::cout << v.value(); });
Replayed run_node_by_node(const Program& program, Tape& tape, std::span<const Tensor> arguments,
                          const Watch& watch = {}, std::span<const Tensor> states = {});

/// The audit of such a tape.
AuditReport audit(const Program& program, std::span<const Tensor> arguments, const AuditOptions& options = {});

}  // namespace ebb
