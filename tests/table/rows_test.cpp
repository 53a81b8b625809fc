// Loops over the rows: whatever is in the table is tested, without being named here.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

// Sources have nothing to check; private rows have tests of their own that know what their inputs mean.
std::vector<const Row*> checked_rows() {
  std::vector<const Row*> rows;
  for (const Row* row : all_rows()) {
    if (row->kind != Kind::source && callable(*row)) rows.push_back(row);
  }
  return rows;
}

TEST(Rows, NamesAreDistinct) {
  std::set<std::string_view> names;
  for (const Row* row : all_rows()) {
    EXPECT_TRUE(names.insert(row->name).second) << row->name;
    EXPECT_EQ(find_row(row->name), row);
  }
  EXPECT_EQ(find_row("no such row"), nullptr);
}

// A row that these loops cannot reach must be a source, or one of the few private rows with tests of their own.
TEST(Rows, EachIsTested) {
  for (const Row* row : all_rows()) {
    if (row->kind == Kind::source || row->name.starts_with("bn_")) continue;
    EXPECT_TRUE(callable(*row)) << row->name << " has neither an oracle nor examples";
    EXPECT_TRUE(has_oracle(*row)) << row->name << " has no oracle (tests/table/oracles.cpp)";
  }
}

class EachRow : public testing::TestWithParam<const Row*> {};
INSTANTIATE_TEST_SUITE_P(Table, EachRow, testing::ValuesIn(checked_rows()),
                         [](const auto& instance) { return std::string(instance.param->name); });

TEST_P(EachRow, PassesItsCheck) {
  const RowReport report = report_row(*GetParam(), {.oracle = expected, .passes = all_passes()});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_GT(report.checks, 20u);
}

// What a lambda prints is what it computes: a formula is read back and evaluated.
TEST(Rows, FormulasMeanWhatTheyCompute) {
  for (const Row* row : all_rows()) {
    if (!row->expression) continue;
    const std::vector<lane::Symbol> names{lane::Symbol::name("a"), lane::Symbol::name("b"), lane::Symbol::name("c")};
    const std::string formula = row->expression(names).text();
    SCOPED_TRACE(std::string(row->name) + " = " + formula);
    for (const RowSample& sample : samples_of(*row, row->lanes[0]->by_dtype[0] ? DType::f64 : DType::boolean)) {
      std::map<char, long double> values;
      long double x[3] = {};
      for (std::size_t k = 0; k < sample.inputs.size(); ++k) {
        if (sample.inputs[k].numel() > 0) x[k] = static_cast<long double>(sample.inputs[k].at(0));
        values[static_cast<char>('a' + k)] = x[k];
      }
      const auto want = static_cast<double>(row->oracle(x));
      const auto got = static_cast<double>(evaluate(formula, values));
      if (got == want || (std::isnan(got) && std::isnan(want))) continue;
      EXPECT_NEAR(got, want, 1e-14 * std::max(1.0, std::abs(want)));
    }
  }
}

TEST(Rows, FormulasReadAsAPersonWritesThem) {
  const std::vector<lane::Symbol> names{lane::Symbol::name("x"), lane::Symbol::name("y")};
  const auto text = [&](std::string_view row) { return find_row(row)->expression(names).text(); };
  EXPECT_EQ(text("square"), "x * x");
  EXPECT_EQ(text("sigmoid"), "1 / (1 + exp(-x))");
  EXPECT_EQ(text("gelu"), "0.5 * x * (1 + erf(x * 0.7071067811865476))");
  EXPECT_EQ(text("relu"), "where(x <= 0, 0, x)");
  EXPECT_EQ(text("not_equal"), "x != y");
  EXPECT_EQ(text("logical_or"), "x || y");
}

}  // namespace
}  // namespace ebb::test
