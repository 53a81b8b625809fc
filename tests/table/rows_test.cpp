// Loops over the rows: whatever is in the table is tested, without being named here.
#include <gtest/gtest.h>

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
  const RowReport report = report_row(*GetParam(), {.oracle = expected});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_GT(report.checks, 20u);
}

TEST(Rows, FormulasPrint) {
  const std::map<std::string_view, std::string> formulas{
      {"add", "a + b"},
      {"neg", "-a"},
      {"square", "a * a"},
      {"sqrt", "sqrt(a)"},
      {"reciprocal", "1 / a"},
      {"exp", "exp(a)"},
      {"log", "log(a)"},
      {"tanh", "tanh(a)"},
      {"sigmoid", "1 / (1 + exp(-a))"},
      {"relu", "where(a <= 0, 0, a)"},
      {"sub", "a - b"},
      {"mul", "a * b"},
      {"div", "a / b"},
      {"less", "a < b"},
      {"less_equal", "a <= b"},
      {"greater", "a > b"},
      {"greater_equal", "a >= b"},
      {"equal", "a == b"},
      {"not_equal", "a != b"},
      {"where", "where(a, b, c)"},
  };
  const std::vector<lane::Symbol> names{{"a"}, {"b"}, {"c"}};
  for (const Row* row : all_rows()) {
    if (!row->expression) continue;
    const auto found = formulas.find(row->name);
    ASSERT_NE(found, formulas.end()) << row->name << ": " << row->expression(names).text;
    EXPECT_EQ(row->expression(names).text, found->second);
  }
}

}  // namespace
}  // namespace ebb::test
