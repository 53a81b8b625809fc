// audit: where a computation in f32 loses its digits.
//
// Every node is computed twice more in f64. From the f64 results of its inputs: the distance to the recorded value is
// the error that has accumulated since the leaves. And from the recorded f32 inputs: that distance is the node's own,
// and must stay within its row's bound. A node with a small error of its own and a large accumulated one is where
// digits that were lost before come to light, most often a difference of two large numbers.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <string>
#include <vector>

namespace ebb {

struct AuditOptions {
  /// The accumulated error, in ulp of a tensor's largest element, from which a node is bad: by default 1e-3 of it.
  double threshold = 1e4;
};

enum class AuditVerdict : std::uint8_t {
  good,
  imprecise,    ///< its own error exceeds its row's bound
  accumulated,  ///< the error since the leaves exceeds the threshold
  skipped,      ///< no f64 value to compare with; `note` says why
};
std::string_view name(AuditVerdict verdict);

/// One node. Errors are in units in the last place of f32.
struct AuditEntry {
  NodeId node = kNoNode;
  std::string name;  ///< its first name, or `%12`
  std::string_view op;
  Location where;
  AuditVerdict verdict = AuditVerdict::good;
  double local = 0;        ///< its own error, relative to what its row's bound is relative to
  double bound = 0;        ///< what its row allows
  double accumulated = 0;  ///< the error since the leaves, in ulp of the largest element
  // The element with the largest accumulated error:
  std::int64_t element = 0;
  double recorded = 0;
  double shadow = 0;  ///< in f64
  /// For bool and integer nodes: how many elements f64 would decide otherwise. Both computations go on with what was
  /// recorded.
  std::int64_t flips = 0;
  std::string note;
};

struct AuditReport {
  std::vector<AuditEntry> entries;  ///< in the order of recording, without leaves

  /// The first bad node, null if there is none.
  const AuditEntry* first_bad() const;
  bool passed() const { return first_bad() == nullptr; }
  /// A sentence about the first bad node, and a table: bad nodes first, then all others, each in the order of
  /// recording; at most `rows` of them.
  std::string text(std::size_t rows = 40) const;
};

/// Compares what a tape has recorded with an f64 shadow of it. The tape stays as it is; shadows live only as long as
/// something reads them.
///
/// Leaves count as exact, literals as their value in f64. What is f64 already has no error of its own.
/// Throws    UsageError if the tape traces, or if a sweep has released a value.
/// Example   std::cout << audit(tape).text();
AuditReport audit(const Tape& tape, const AuditOptions& options = {});

}  // namespace ebb
