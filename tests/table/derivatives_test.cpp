// The derivative of every program, and the derivative's derivative, against differences of values on random
// projections. That of every row is check_row's business (rows_test.cpp).
#include <ebb/engine/check/gradcheck.h>
#include <gtest/gtest.h>

#include "tests/table/programs.h"

namespace ebb::test {
namespace {

// The programs' results are values and gradients, so that the second order is a third of the value.
TEST(Derivatives, OfEveryProgram) {
  for (const Program& program : programs()) {
    if (program.name == "deep_chain" || program.name == "doublings") continue;  // linear, and long
    SCOPED_TRACE(program.name);
    GradcheckOptions options;
    options.directions = 1;
    const GradcheckReport report = gradcheck_function(program.run, program.inputs, options);
    EXPECT_TRUE(report.passed()) << report.text();
  }
}

}  // namespace
}  // namespace ebb::test
