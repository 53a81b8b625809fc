// Which nodes of a tape a dump is of: what `from`, `to`, `outputs` and `focus` ask for.
#pragma once

#include <ebb/engine/dump/dump.h>

#include <vector>

namespace ebb::detail {

/// By id. Throws UsageError if an option holds a Var of another tape, or if `to` was recorded before `from`.
std::vector<bool> shown_nodes(const Tape& tape, const DumpOptions& options);

}  // namespace ebb::detail
