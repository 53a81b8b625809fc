// The derivative of every row and of every program, and the derivative's derivative, against differences of values on
// random projections.
#include <ebb/engine/check/gradcheck.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/table/programs.h"
#include "tests/table/table.h"

namespace ebb::test {
namespace {

TEST(Derivatives, OfEveryRow) {
  for (const Row* row : all_rows()) {
    std::set<std::size_t> vacuous, proved;  // inputs
    for (const Sample& sample : samples_of(*row, DType::f64)) {
      SCOPED_TRACE(sample.what);
      GradcheckOptions options;
      options.directions = 2;
      std::int64_t largest = 0;
      bool any = false;
      for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
        largest = std::max(largest, sample.inputs[i].numel());
        any |= row->vjp[i].differentiable() && is_floating(sample.inputs[i].dtype());
      }
      Tape trace(Tape::Mode::trace);
      const Var out = sample.record(trace);
      // A cast to f32 and back rounds too much to be differentiated by differences.
      if (!any || out.dtype() != DType::f64 || out.numel() == 0 || largest > 2000) continue;
      const auto f = [&](std::span<const Var> x) {
        return Vars{x[0].tape().record(*row, std::vector<Operand>(x.begin(), x.end()), sample.attrs)};
      };
      const GradcheckReport report = gradcheck_function(f, sample.inputs, options);
      // One sample may show no slope, as where() of a condition that never holds; not all of a row's samples may.
      for (const GradcheckEntry& entry : report.entries) {
        EXPECT_TRUE(entry.verdict == GradcheckVerdict::right || entry.verdict == GradcheckVerdict::vacuous)
            << entry.text;
        if (entry.order != 1) continue;
        (entry.verdict == GradcheckVerdict::right ? proved : vacuous).insert(entry.input);
      }
    }
    for (const std::size_t i : vacuous) {
      EXPECT_TRUE(proved.contains(i)) << row->name << ": no sample shows a slope by input " << i;
    }
  }
}

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
