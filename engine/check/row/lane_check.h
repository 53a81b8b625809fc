// The lanes of an elementwise row, called directly. Private to check_row.
#pragma once

#include <ebb/engine/row/row.h>

#include <string>
#include <vector>

namespace ebb {

/// Calls every lane of every instruction set that this CPU has, at every length of tail and with every operand moving
/// or held. Appends what is wrong to `failures`; returns how many calls it made.
std::size_t check_lanes(const Row& row, std::vector<std::string>& failures);

}  // namespace ebb
