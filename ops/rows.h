// The table: every row of the library, in one list. Tests, dumps and the reference are loops over it.
#pragma once

#include <ebb/engine/row/row.h>

#include <span>
#include <string_view>

namespace ebb {

std::span<const Row* const> all_rows();

/// The row of this name, or null.
const Row* find_row(std::string_view name);

}  // namespace ebb
