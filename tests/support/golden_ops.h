// From golden cases to Ebb: tensors, and the functions that the names of golden operations stand for.
//
// The registry is the one place where a golden name meets Ebb's vocabulary. A case whose operations are not all in it
// is waiting; tests/golden/missing.h lists what it may wait for.
#pragma once

#include <ebb/ebb.h>

#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/support/golden.h"

namespace ebb::test {

Shape shape_of(const GoldenTensor& tensor);

/// Reals as `dtype`, integers as i64.
Tensor tensor_of(const GoldenTensor& tensor, DType dtype);

/// The tolerance of a dtype; null where the case has none.
const Tolerance* tolerance_of(const GoldenCase& golden_case, DType dtype);

/// Fails the test, naming case, role and dtype, unless `got` has the reference's shape and meets the tolerance.
void expect_close(const GoldenCase& golden_case, std::string_view role, const Tensor& got, const Tolerance& tolerance);
inline void expect_close(const GoldenCase& golden_case, std::string_view role, const Var& got,
                         const Tolerance& tolerance) {
  expect_close(golden_case, role, got.value(), tolerance);
}

/// Which kernels an operation uses that has several: the usual ones, or the staged ones, which a program keeps the bits
/// of.
enum class Kernels { usual, staged };

/// One recording of a case: leaves for its tensors by role, and what it gives, by role.
class GoldenRecording {
 public:
  using Leaf = std::function<Var(const std::string& role, const std::string& name)>;
  GoldenRecording(Tape& tape, Kernels kernels, Leaf leaf) : tape_(tape), kernels_(kernels), leaf_(std::move(leaf)) {}

  Tape& tape() const { return tape_; }
  Kernels kernels() const { return kernels_; }
  /// The leaf of a role's tensor, one for each role, named `name` or else like the role.
  Var leaf(const std::string& role, const std::string& name = {});
  void give(const std::string& role, const Var& value) { given_.emplace_back(role, value); }

  const std::vector<std::pair<std::string, Var>>& given() const { return given_; }

 private:
  Tape& tape_;
  Kernels kernels_;
  Leaf leaf_;
  std::map<std::string, Var, std::less<>> leaves_;
  std::vector<std::pair<std::string, Var>> given_;
};

struct GoldenChecks {
  const Tolerance* eager;    ///< for values of eager mode
  const Tolerance* relaxed;  ///< for those of a program with algebra
  bool exact = true;         ///< a program without algebra has the bits of staged kernels; false: not asked
};

/// Records a case eagerly, and compiled with and without algebra; everything it gives must be right each time.
void expect_golden(const GoldenCase& golden_case, DType dtype, const GoldenChecks& checks,
                   const std::function<void(GoldenRecording&)>& record);

using GoldenOp = Var (*)(std::span<const Var> args, const Json& attrs);

/// An operation's name in the registry and in missing.h: `max`, or with the variant that matters, `max ties=first`.
std::string golden_op_key(const std::string& op, const Json& attrs);

/// The operations that Ebb has.
const std::map<std::string, GoldenOp, std::less<>>& golden_ops();

/// The first operation of a case that Ebb lacks.
std::optional<std::string> missing_op(const GoldenCase& golden_case);

using NamedVars = std::map<std::string, Var, std::less<>>;

/// A leaf for every role in `args`.
NamedVars leaves_of(GoldenRecording& recording, const GoldenCase& golden_case);

/// Runs the case's operation, or its program step by step; adds every value to `values` under its name.
void run_golden(const GoldenCase& golden_case, NamedVars& values, Kernels kernels = Kernels::usual);

}  // namespace ebb::test
