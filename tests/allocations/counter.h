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

}  // namespace ebb::test
