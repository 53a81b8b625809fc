// A row through the compiler. Private to check_row.
#pragma once

#include <ebb/engine/check/row/samples.h>
#include <ebb/engine/program/passes/passes.h>

#include <span>
#include <string>
#include <vector>

namespace ebb {

/// Compiles a call with its cotangents and theirs. Without algebra it must have the bits of eager mode, as generated
/// code and interpreted, for any number of threads; with all of `passes` it must be about as right as eager mode is,
/// seen from f64. Appends what is wrong to `failures`; returns how many checks it made.
std::size_t check_programs(const RowSample& sample, std::span<const Pass> passes, std::vector<std::string>& failures);

}  // namespace ebb
