// Counts what the program asks of global new. It replaces new and delete, so what links it is a program of its own.
#pragma once

#include <cstddef>

namespace ebb::test {

struct Allocations {
  std::size_t count = 0;
  std::size_t bytes = 0;
};

/// Since the program began.
Allocations allocations();

/// From the `first` request on, counted from now, the system has no memory for `many`, whether by new or for the cache.
/// False where requests for the cache cannot be seen: under a sanitizer.
bool fail_requests(std::size_t first, std::size_t many);
/// The system has memory again; how many requests there were.
std::size_t stop_failing();

}  // namespace ebb::test
