// From golden cases to Ebb: tensors, and the functions that the names of golden operations stand for.
//
// The registry is the one place where a golden name meets Ebb's vocabulary. A case whose operations are not all in it
// is waiting; tests/golden/missing.h lists what it may wait for.
#pragma once

#include <ebb/ebb.h>

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

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

using GoldenOp = Var (*)(std::span<const Var> args, const Json& attrs);

/// An operation's name in the registry and in missing.h: `max`, or with the variant that matters, `max ties=first`.
std::string golden_op_key(const std::string& op, const Json& attrs);

/// The operations that Ebb has.
const std::map<std::string, GoldenOp, std::less<>>& golden_ops();

/// The first operation of a case that Ebb lacks.
std::optional<std::string> missing_op(const GoldenCase& golden_case);

using NamedVars = std::map<std::string, Var, std::less<>>;

/// A leaf for every role in `args`.
NamedVars leaves_of(Tape& tape, const GoldenCase& golden_case, DType dtype);

/// Runs the case's operation, or its program step by step; adds every value to `values` under its name.
void run_golden(const GoldenCase& golden_case, NamedVars& values);

}  // namespace ebb::test
