// The one pool of threads, which every parallel loop of the library shares.
//
// Work is cut into as many contiguous ranges as there are threads, always at the same places, so a
// second loop over the same data finds each core's share in its own cache. A loop that cannot have
// the pool (nested, or another thread holds it) runs inline in its caller; so does the share of a
// worker that has not woken up in time. No call allocates.
#pragma once

#include <ebb/engine/threads/function_ref.h>

#include <cstdint>

namespace ebb {

/// The number of threads a parallel loop is cut for, the caller included. At first the value of the
/// environment variable EBB_THREADS, or else the number of cores. Throws UsageError if
/// EBB_THREADS is not a whole number from 1 to 1024.
int threads();

/// Sets `threads()`. May be called at any time outside a parallel loop; waits for a loop in
/// progress. Throws UsageError if n is not in 1..1024, UsageError if called inside
/// a parallel loop.
void set_threads(int n);

/// Calls body(begin, end) for contiguous ranges that cover [0, tasks), one range per thread, and
/// returns when all are done. An exception of the body is rethrown here, the first of several; the
/// other ranges still run.
void parallel_for(std::int64_t tasks, FunctionRef<void(std::int64_t begin, std::int64_t end)> body);

}  // namespace ebb
