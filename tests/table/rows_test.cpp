// Loops over the rows: whatever is in the table is tested, without being named here.
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

constexpr DType kDTypes[] = {DType::f32, DType::f64, DType::i64, DType::boolean};

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

template <class F>
void for_each_sample(F f) {
  for (const Row* row : all_rows()) {
    for (const DType dtype : kDTypes) {
      for (const Sample& sample : samples_of(*row, dtype)) {
        SCOPED_TRACE(sample.what);
        f(sample);
      }
    }
  }
}

TEST(Rows, KernelsGiveWhatTypeRulesSay) {
  for_each_sample([](const Sample& sample) {
    Tape tape;
    const Var out = sample.record(tape);
    const Tensor& value = out.value();
    EXPECT_EQ(value.shape(), out.shape());
    EXPECT_EQ(value.dtype(), out.dtype());
    EXPECT_TRUE(value.has_buffer() || value.numel() == 0);
  });
}

TEST(Rows, TracedTypesAreEagerTypes) {
  for_each_sample([](const Sample& sample) {
    Tape eager;
    Tape trace(Tape::Mode::trace);
    const Var a = sample.record(eager);
    const Var b = sample.record(trace);
    EXPECT_EQ(a.shape(), b.shape());
    EXPECT_EQ(a.dtype(), b.dtype());
    EXPECT_THROW(b.value(), UsageError);
  });
}

TEST(Rows, ValuesMeetTheOracle) {
  for_each_sample([](const Sample& sample) {
    Tape tape;
    const Var out = sample.record(tape);
    std::vector<Dense> inputs;
    for (const Tensor& t : sample.inputs) inputs.push_back(Dense::of(t));
    const Expected want = expected(sample, inputs);
    ASSERT_EQ(out.shape(), want.value.shape);
    const Dense got = Dense::of(out.value());
    const DType dtype = is_floating(out.dtype()) ? out.dtype() : DType::f64;
    for (std::size_t i = 0; i < got.at.size(); ++i) {
      ASSERT_TRUE(within_ulp(static_cast<double>(got.at[i]), want.value.at[i], want.scale[i], sample.row->ulp, dtype))
          << "element " << i << " is " << static_cast<double>(got.at[i]) << ", should be "
          << static_cast<double>(want.value.at[i]);
    }
  });
}

TEST(Rows, AnyNumberOfThreadsGivesTheSameBits) {
  const int before = threads();
  for_each_sample([](const Sample& sample) {
    Tensor first;
    for (const int n : {1, 2, 5}) {
      set_threads(n);
      Tape tape;
      const Tensor value = sample.record(tape).value();
      if (n == 1) first = value;
      EXPECT_TRUE(identical(first, value)) << n << " threads";
    }
  });
  set_threads(before);
}

// Rules run on every sample, at two orders, and give cotangents of the right type. That they are right is gradcheck's
// business (derivatives_test.cpp).
TEST(Rows, DerivativesHaveTheInputsType) {
  for_each_sample([](const Sample& sample) {
    Tape tape;
    std::vector<Operand> operands;
    for (const Tensor& t : sample.inputs) operands.emplace_back(tape.leaf(t));
    const Var out = tape.record(*sample.row, operands, sample.attrs);
    if (!is_floating(out.dtype())) return;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!sample.row->vjp[i].differentiable() || !is_floating(operands[i].var().dtype())) continue;
      const Var d = grad(sum(square(out)), operands[i].var());
      EXPECT_EQ(d.shape(), operands[i].var().shape());
      EXPECT_EQ(d.dtype(), operands[i].var().dtype());
      EXPECT_EQ(grad(sum(square(d)), operands[i].var()).shape(), d.shape());
    }
  });
}

// What a lambda prints is what it computes: a formula is read back and evaluated.
TEST(Rows, FormulasMeanWhatTheyCompute) {
  for (const Row* row : all_rows()) {
    if (!row->expression) continue;
    const std::vector<lane::Symbol> names{{"a"}, {"b"}, {"c"}};
    const std::string formula = row->expression(names).text;
    SCOPED_TRACE(std::string(row->name) + " = " + formula);
    for (const Sample& sample : samples_of(*row, row->lanes[0]->by_dtype[0] ? DType::f64 : DType::boolean)) {
      std::map<char, long double> values;
      long double x[3] = {};
      for (std::size_t k = 0; k < sample.inputs.size(); ++k) {
        if (sample.inputs[k].numel() > 0) x[k] = static_cast<long double>(sample.inputs[k].at(0));
        values[static_cast<char>('a' + k)] = x[k];
      }
      const long double want = row->oracle(x);
      EXPECT_NEAR(static_cast<double>(evaluate(formula, values)), static_cast<double>(want),
                  1e-14 * std::max(1.0, static_cast<double>(std::abs(want))));
    }
  }
}

TEST(Rows, FormulasReadAsAPersonWritesThem) {
  const std::vector<lane::Symbol> names{{"x"}, {"y"}};
  const auto text = [&](std::string_view row) { return find_row(row)->expression(names).text; };
  EXPECT_EQ(text("square"), "x * x");
  EXPECT_EQ(text("sigmoid"), "1 / (1 + exp(-x))");
  EXPECT_EQ(text("gelu"), "0.5 * x * (1 + erf(x * 0.7071067811865476))");
  EXPECT_EQ(text("relu"), "where(x <= 0, 0, x)");
  EXPECT_EQ(text("not_equal"), "x != y");
  EXPECT_EQ(text("logical_or"), "x || y");
}

}  // namespace
}  // namespace ebb::test
