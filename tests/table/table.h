// The oracles of the library's own rows that are not elementwise: naive loops in long double that know nothing of the
// kernels. All else that is checked of a row is engine/check/row, which users call for theirs.
#pragma once

#include <ebb/ebb.h>
#include <ebb/engine/check/row/row_check.h>

#include <map>
#include <string_view>

namespace ebb::test {

/// What a call should give. Throws std::out_of_range if there is no oracle for the row.
Expected expected(const RowSample& sample, const std::vector<Dense>& inputs);

/// True if there is an oracle for the row.
bool has_oracle(const Row& row);

/// The value of a formula, as rows print it, with letters standing for inputs. Throws std::runtime_error for text that
/// is no formula.
long double evaluate(std::string_view formula, const std::map<char, long double>& values);

}  // namespace ebb::test
