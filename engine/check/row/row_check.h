// check_row: everything that can be checked of a row without knowing what it computes.
//
// A derivative that is wrong, a kernel that writes past its end, a bound that does not hold: each is found from the row
// alone, which says how to call it and what its value should be. The library's own rows pass through the same function
// as those that a user defines.
#pragma once

#include <ebb/engine/check/row/samples.h>
#include <ebb/engine/program/passes/passes.h>

#include <span>
#include <string>
#include <vector>

namespace ebb {

struct RowCheckOptions {
  /// What calls should give, for a row that is not elementwise. A row without any oracle fails, since nothing would say
  /// that its value is right.
  RowOracle oracle = {};
  /// Calls besides those made from the row's domain or its examples.
  std::vector<RowSample> samples = {};
  /// What programs of it go through; all_passes() adds the algebra of the library's ops, which relies on what the row
  /// says of itself (linear, commutative, an identity).
  std::span<const Pass> passes = engine_passes();
};

struct RowReport {
  std::string row;
  std::size_t samples = 0;            ///< calls that were looked at
  std::size_t checks = 0;             ///< what was checked of them
  std::vector<std::string> failures;  ///< one line each
  bool passed() const { return failures.empty(); }
  /// `softsign: passed, 312 checks on 33 samples`, or the failures, one per line.
  std::string text() const;
};

/// Looks at a row from all sides: the declaration; the type rule against the kernel, eager and traced; the value
/// against long double within Row::ulp, also of several threads, which must agree to the bit; the lanes of every
/// instruction set at every length of tail and way of holding operands; the cotangents' types; the derivative and its
/// derivative against differences, by every input that has one; that the graph passes verify and dumps with the row's
/// name; the call and its cotangents compiled, which have the bits of eager mode.
///
/// Throws    nothing of what it finds; only what an oracle throws.
/// Example   EXPECT_TRUE(report_row(kSoftsign).passed()) << report_row(kSoftsign).text();
RowReport report_row(const Row& row, const RowCheckOptions& options = {});

/// The same; throws Error with the text of the report unless all of it passed.
///
/// Example   check_row(kSoftsign);
void check_row(const Row& row, const RowCheckOptions& options = {});

}  // namespace ebb
