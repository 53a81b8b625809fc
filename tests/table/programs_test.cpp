// Every program under every driver. The first driver is eager f64, which the others must agree with;
// that its derivatives are right is checked in derivatives_test.cpp.
#include "tests/table/programs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ebb::test {
namespace {

class Programs : public testing::TestWithParam<std::tuple<Program, Driver>> {};
INSTANTIATE_TEST_SUITE_P(All, Programs, testing::Combine(testing::ValuesIn(programs()), testing::ValuesIn(drivers())),
                         [](const auto& instance) {
                           return std::get<0>(instance.param).name + "_" + std::get<1>(instance.param).name;
                         });

TEST_P(Programs, AgreeWithEagerF64) {
  const auto& [program, driver] = GetParam();
  const std::vector<Tensor> want = drivers()[0].run(program.run, program.inputs);
  const std::vector<Tensor> got = driver.run(program.run, program.inputs);
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t r = 0; r < want.size(); ++r) {
    ASSERT_EQ(got[r].shape(), want[r].shape());
    double largest = 0;
    for (std::int64_t i = 0; i < want[r].numel(); ++i) largest = std::max(largest, std::abs(want[r].at(i)));
    EXPECT_GT(largest, 0) << "result " << r << " is all zero and proves nothing";
    const double bound = (driver.dtype == DType::f64 ? driver.f64_bound : program.f32_bound) * largest;
    for (std::int64_t i = 0; i < want[r].numel(); ++i) {
      EXPECT_LE(std::abs(got[r].at(i) - want[r].at(i)), bound) << "result " << r << ", element " << i;
    }
  }
}

// Loops as generated code are the interpreted ones to the bit, in both settings and dtypes.
TEST(ProgramBackends, Agree) {
  for (const Program& program : programs()) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      std::vector<Tensor> inputs;
      for (const Tensor& t : program.inputs) inputs.push_back(is_floating(t.dtype()) ? t.to(dtype) : t);
      for (const Setting setting : {Setting::exact, Setting::relaxed}) {
        auto generated = compile(Function(program.run), {setting, Backend::generated});
        auto interpreted = compile(Function(program.run), {setting, Backend::interpreted});
        const Tensors got = generated(std::span<const Tensor>(inputs));
        const Tensors want = interpreted(std::span<const Tensor>(inputs));
        for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << program.name << i;
      }
    }
  }
}

// A trace has the nodes' types and no values.
TEST(ProgramTypes, TracedAreEager) {
  for (const Program& program : programs()) {
    Tape eager;
    Tape trace(Tape::Mode::trace);
    std::vector<Var> a, b;
    for (const Tensor& t : program.inputs) {
      a.push_back(eager.leaf(t));
      b.push_back(trace.leaf(t));
    }
    const Vars x = program.run(a);
    const Vars y = program.run(b);
    ASSERT_EQ(x.size(), y.size()) << program.name;
    for (std::size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(x[i].shape(), y[i].shape()) << program.name;
      EXPECT_EQ(x[i].dtype(), y[i].dtype()) << program.name;
    }
  }
}

}  // namespace
}  // namespace ebb::test
