// What rows claim about themselves, for rewrites to rely on: each claim is tried on every sample, and a row that keeps
// quiet about being linear although it is on all of them is asked why.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

Tensor value_of(const RowSample& sample, const std::vector<Tensor>& inputs) {
  Tape tape;
  std::vector<Operand> operands;
  for (const Tensor& t : inputs) operands.emplace_back(tape.leaf(t));
  return tape.record(*sample.row, operands, sample.attrs).value();
}

// a * x + b * y, by element.
Tensor combined(double a, const Tensor& x, double b, const Tensor& y) {
  Tensor out = x.to(DType::f64).clone();
  auto to = out.mutable_data<double>();
  for (std::size_t i = 0; i < to.size(); ++i)
    to[i] = a * x.at(static_cast<std::int64_t>(i)) + b * y.at(static_cast<std::int64_t>(i));
  return out;
}

// The largest difference, relative to the larger of the two tensors; infinite where one is not finite.
double difference(const Tensor& got, const Tensor& want) {
  double largest = 1e-300, apart = 0;
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    if (!std::isfinite(got.at(i)) || !std::isfinite(want.at(i))) return INFINITY;
    largest = std::max({largest, std::abs(got.at(i)), std::abs(want.at(i))});
    apart = std::max(apart, std::abs(got.at(i) - want.at(i)));
  }
  return apart / largest;
}

// A part that does not depend on the input is the same on both sides, since the weights add up to 1.
TEST(Facts, LinearMeansLinear) {
  for (const Row* row : all_rows()) {
    if (!callable(*row) || row->kind == Kind::source) continue;
    std::map<std::size_t, bool> holds;  // by input, over all samples
    for (const RowSample& sample : samples_of(*row, DType::f64)) {
      for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
        const Tensor& x = sample.inputs[i];
        if (x.dtype() != DType::f64 || x.numel() == 0) continue;
        // Another point of the domain: the same elements in another order.
        Tensor y = x.clone();
        auto elements = y.mutable_data<double>();
        for (std::size_t k = 0; k < elements.size(); ++k) {
          elements[k] = x.at(static_cast<std::int64_t>((k + 1) % elements.size())) * 0.75;
        }
        const auto with = [&](const Tensor& at) {
          std::vector<Tensor> inputs = sample.inputs;
          inputs[i] = at;
          return value_of(sample, inputs);
        };
        const Tensor of_both = with(combined(2, x, -1, y));
        if (of_both.numel() == 0) continue;
        const double apart = difference(of_both, combined(2, with(x), -1, with(y)));
        const auto place = holds.try_emplace(i, true).first;
        place->second = place->second && is_floating(of_both.dtype()) && apart < 1e-9;
      }
    }
    for (const auto& [i, linear] : holds) {
      EXPECT_EQ((row->facts.linear >> i & 1U) != 0, linear) << row->name << ", input " << i;
    }
  }
}

TEST(Facts, CommutativeMeansCommutative) {
  for (const Row* row : all_rows()) {
    if (!callable(*row) || row->arity != 2 || row->kind != Kind::elementwise) {
      EXPECT_FALSE(row->facts.commutative) << row->name;
      continue;
    }
    bool holds = true;
    for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) {
      for (const RowSample& sample : samples_of(*row, dtype)) {
        holds =
            holds && identical(value_of(sample, sample.inputs), value_of(sample, {sample.inputs[1], sample.inputs[0]}));
      }
    }
    // A row may keep quiet about it: a clamp's value does not depend on the order, its derivative at a tie does.
    EXPECT_TRUE(holds || !row->facts.commutative) << row->name;
  }
}

}  // namespace
}  // namespace ebb::test
