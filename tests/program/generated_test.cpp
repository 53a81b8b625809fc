// Generated code against the rows' own lanes: the same bits, whatever the shape, the dtype, the number of threads and
// the instruction set; and what cannot be generated is interpreted.
#include <ebb/ebb.h>
#include <ebb/engine/codegen/kernel.h>
#include <ebb/engine/lanes/own_row.h>
#include <ebb/engine/loop/elementwise.h>
#include <ebb/ops/rows.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <limits>
#include <set>

#include "tests/program/support.h"

namespace ebb::test {
namespace {

std::size_t count(const Explanation& explanation, bool generated) {
  return static_cast<std::size_t>(std::ranges::count_if(explanation.actions, [&](const Explanation::Action& action) {
    return action.what == "loop" && action.generated == generated;
  }));
}

struct Ran {
  Tensors results;
  Explanation explanation;
};

Ran run(const Function& f, const std::vector<Tensor>& inputs, CompileOptions options) {
  auto fast = compile(Function(f), options);
  Tensors results = fast(std::span<const Tensor>(inputs));
  return {std::move(results), explain(fast.program())};
}

void expect_same(const Function& f, const std::vector<Tensor>& inputs, const std::string& what) {
  for (const Setting setting : {Setting::relaxed, Setting::exact}) {
    const Ran generated = run(f, inputs, {setting, Backend::generated});
    const Ran interpreted = run(f, inputs, {setting, Backend::interpreted});
    ASSERT_EQ(generated.results.size(), interpreted.results.size());
    for (std::size_t i = 0; i < generated.results.size(); ++i) {
      EXPECT_TRUE(identical(generated.results[i], interpreted.results[i])) << what << ", result " << i;
    }
    EXPECT_EQ(count(interpreted.explanation, true), 0u);
    if (codegen::available()) {
      EXPECT_GT(count(generated.explanation, true), 0u) << generated.explanation.text();
      for (const Explanation::Action& action : generated.explanation.actions) {
        EXPECT_TRUE(action.what != "loop" || action.generated) << generated.explanation.text();
      }
    }
  }
}

Vars norm_step(std::span<const Var> in) {  // x, gamma, beta, dout
  const Var out = batch_norm(in[0], in[1], in[2]);
  const Vars d = pullback(out, in[3], {in[0], in[1], in[2]});
  return {out, d[0], d[1], d[2]};
}

// Over trailing axes, with one scale for each row.
Vars trailing(std::span<const Var> in) {
  const Var centred = in[0] - mean(in[0], Axes(-1), true);
  const Var y = centred / sqrt(mean(square(centred), Axes(-1), true) + 1e-5) * 2.0 + 0.5;
  const Var loss = sum(y * in[3]);
  return {y, loss, grad(loss, in[0])};
}

// Comparisons, choices and signs.
Vars choices(std::span<const Var> in) {
  const Var h = relu(in[0] * in[3] - in[0]);
  const Var most = maximum(in[0], in[3]);
  const Var chosen = where(logical_and(in[0] > in[3], in[0] <= 0.5), abs(in[0]), -in[3]);
  const Var loss = sum(h * most * chosen);
  return {h, most, chosen, grad(loss, in[0]), sum(chosen, 0)};
}

// Functions of analysis, and reductions of them over both sorts of axes.
Vars functions(std::span<const Var> in) {
  const Var shifted = in[0] - max(in[0], Axes(-1), true);
  const Var logarithm = log(sum(exp(shifted), Axes(-1), true));
  const Var y = tanh(in[3]) * sigmoid(in[0]) + gelu(in[0]) * 0.5;
  const Var loss = sum((shifted - logarithm) * y);
  return {y, loss, grad(loss, in[0]), sum(log1p(exp(in[3])), 0)};
}

// Truth values kept in memory, and read from there: whole ones, and one for each row or column.
Vars flags(std::span<const Var> in) {
  const Var positive = in[0] > 0.0;
  const Var row = sum(in[0], Axes(-1), true) > 0.1;
  const Var column = sum(in[3], 0) <= 0.0;
  const Var both = logical_or(logical_and(positive, row), logical_not(column));
  const Var chosen = where(both, in[0], in[3] * 2.0);
  return {positive, both, chosen, sum(where(positive, in[3], 0.0), 0), sum(where(column, chosen, 1.0), Axes(-1))};
}

TEST(Generated, LoopsOfEveryShapeAreTheInterpretersToTheBit) {
  const std::vector<Shape> shapes{
      {2, 1},    {3, 2},     {6, 5},       {7, 15},        {9, 16},      {5, 17},      {60, 100},       {65, 31},
      {129, 33}, {200, 64},  {33, 130},    {256, 1024},    {1000, 64},   {5000, 20},   {1100, 300},     {40, 1500},
      {3, 5000}, {2, 70001}, {4, 8, 7, 7}, {3, 5, 40, 40}, {2, 3, 3, 3}, {8, 4, 5, 1}, {64, 16, 28, 28}};
  for (const int count : {1, 3}) {
    set_threads(count);
    for (const DType dtype : {DType::f32, DType::f64}) {
      for (const Shape& shape : shapes) {
        const Shape channels{shape[1]};
        const std::vector<Tensor> in{wave(shape, {.phase = 0}).to(dtype), wave(channels, {.phase = 1}).to(dtype),
                                     wave(channels, {.phase = 2}).to(dtype), wave(shape, {.phase = 3}).to(dtype)};
        const std::string what = to_string(shape) + (dtype == DType::f32 ? " f32" : " f64");
        expect_same(norm_step, in, "norm " + what);
        expect_same(trailing, in, "trailing " + what);
        expect_same(choices, in, "choices " + what);
        expect_same(functions, in, "functions " + what);
        expect_same(flags, in, "flags " + what);
      }
    }
  }
  set_threads(1);
}

TEST(Generated, OperandsAreReadUnderEveryBroadcast) {
  const Shape whole{6, 5, 37};
  for (const Shape& shape : {Shape{}, Shape{37}, Shape{1, 1, 37}, Shape{6, 1, 1}, Shape{5, 1}, Shape{6, 5, 1},
                             Shape{5, 37}, Shape{6, 1, 37}}) {
    const std::vector<Tensor> in{wave(whole, {.phase = 0}), wave(shape, {.phase = 1})};
    expect_same([](std::span<const Var> x) { return Vars{x[0] * x[1] + x[1] / (abs(x[0]) + 1.0)}; }, in,
                to_string(shape));
    for (const IntList& axes : {IntList{0}, IntList{1}, IntList{2}, IntList{0, 2}, IntList{0, 1, 2}}) {
      const auto f = [&](std::span<const Var> x) {
        const Var y = square(x[0] - x[1]);
        return Vars{y, sum(y, Axes(axes)), mean(x[0] * x[1], Axes(axes), true)};
      };
      const Ran generated = run(f, in, {.backend = Backend::generated});
      const Ran interpreted = run(f, in, {.backend = Backend::interpreted});
      for (std::size_t i = 0; i < generated.results.size(); ++i) {
        EXPECT_TRUE(identical(generated.results[i], interpreted.results[i])) << to_string(shape) << ", result " << i;
      }
    }
  }
}

TEST(Generated, LargeResultsAreWrittenAroundTheCacheWithTheSameBits) {
  for (const Shape& shape : {Shape{4200, 1024}, Shape{4300, 1001}}) {
    const Shape channels{shape[1]};
    expect_same(norm_step,
                {wave(shape, {.phase = 0}), wave(channels, {.phase = 1}), wave(channels, {.phase = 2}),
                 wave(shape, {.phase = 3})},
                to_string(shape));
  }
}

// The same bits, but that a NaN may be any: where two meet, it depends on the compiler which of them stays.
bool same_numbers(const Tensor& a, const Tensor& b) {
  if (a.shape() != b.shape() || a.dtype() != b.dtype()) return false;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.at(i), y = b.at(i);
    if (std::bit_cast<std::uint64_t>(x) != std::bit_cast<std::uint64_t>(y) && !(std::isnan(x) && std::isnan(y))) {
      return false;
    }
  }
  return true;
}

// Every elementwise row, alone, on values that arithmetic treats apart.
TEST(Generated, EveryRowIsItsLanesAlsoOnInfinitiesZerosAndNan) {
  const double inf = std::numeric_limits<double>::infinity();
  const std::vector<double> special{0.0, -0.0, inf,   -inf,  std::numeric_limits<double>::quiet_NaN(),
                                    1,   -1,   0.5,   1e-40, -3e38,
                                    7.3, -9.1, -88.7, 89.2,  1e4};
  const std::size_t n = special.size();
  for (const DType dtype : {DType::f32, DType::f64}) {
    std::set<std::string_view> calls{"sin", "cos", "tan"};  // the C library
    if (dtype == DType::f32) calls.insert("pow");           // computes with doubles
    const Shape shape{static_cast<std::int64_t>(n * n)};
    Tensor a = Tensor::zeros(shape, DType::f64), b = Tensor::zeros(shape, DType::f64);
    for (std::size_t i = 0; i < n * n; ++i) {
      a.mutable_data<double>()[i] = special[i % n];
      b.mutable_data<double>()[i] = special[i / n];
    }
    const std::vector<Tensor> in{a.to(dtype), b.to(dtype)};
    std::size_t rows = 0;
    for (const Row* row : all_rows()) {
      if (!row->is_step() || row->arity > 3) continue;
      const bool booleans = !lane_of(*row, dtype);
      ++rows;
      const auto f = [&](std::span<const Var> x) {
        std::vector<Operand> operands;
        if (row->signature == Signature::select || booleans) operands.emplace_back(x[0] > x[1]);
        while (operands.size() < static_cast<std::size_t>(row->arity)) {
          const Var& number = x[operands.size() % 2];
          operands.emplace_back(booleans ? number <= 0.5 : number);
        }
        return Vars{x[0].tape().record(*row, operands)};
      };
      const Ran generated = run(f, in, {Setting::exact, Backend::generated});
      const Ran interpreted = run(f, in, {Setting::exact, Backend::interpreted});
      EXPECT_TRUE(same_numbers(generated.results[0], interpreted.results[0])) << row->name;
      EXPECT_EQ(count(generated.explanation, true), codegen::available() && !calls.contains(row->name) ? 1u : 0u)
          << row->name;
    }
    EXPECT_GT(rows, 45u);
  }
}

TEST(Generated, WhatCannotBeEmittedIsInterpreted) {
  const auto of = [](const Function& f, const std::vector<Tensor>& in) {
    const Ran ran = run(f, in, {});
    return count(ran.explanation, true);
  };
  const Tensor x = wave({60, 100}, {.phase = 0});
  const Tensor whole = wave({60, 100}, {.phase = 0}).to(DType::i64);
  EXPECT_EQ(of([](std::span<const Var> in) { return Vars{sin(in[0])}; }, {x}), 0u);
  EXPECT_EQ(of([](std::span<const Var> in) { return Vars{in[0] + in[0]}; }, {whole}), 0u);
  EXPECT_EQ(of([](std::span<const Var> in) { return Vars{in[0] > in[0]}; }, {whole}), 0u);
  // Its lanes were not compiled here: they may have been with fused multiply-adds.
  static const Row own = own_row([] {
    return lane::unary(
        "own", {}, [](auto v) { return v * v + v; }, [](const auto& g) { return g.ct; });
  });
  EXPECT_EQ(of([](std::span<const Var> in) { return Vars{in[0].tape().record(own, {in[0]})}; }, {x}), 0u);
  EXPECT_EQ(of([](std::span<const Var> in) { return Vars{sqrt(in[0] + 1.0) * in[0]}; }, {x}),
            codegen::available() ? 1u : 0u);
}

TEST(Generated, ExplainSaysWhichLoopsAre) {
  const Tensor x = wave({60, 100}, {.phase = 0});
  const auto text = [&](Backend backend) {
    return run([](std::span<const Var> in) { return Vars{in[0] * in[0]}; }, {x}, {.backend = backend})
        .explanation.text();
  };
  EXPECT_EQ(text(Backend::generated).find(", generated") != std::string::npos, codegen::available());
  EXPECT_EQ(text(Backend::interpreted).find(", generated"), std::string::npos);
}

TEST(Generated, HoldsOnEveryInstructionSetOfThisProcessor) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  for (int i = 0; i < kIsaCount; ++i) {
    const Isa isa{static_cast<unsigned char>(i)};
    if (!supported(isa) || isa == active_isa()) continue;
    const std::string command = "EBB_ISA=" + std::string(kIsaNames[static_cast<std::size_t>(i)]) + " '" + program +
                                "' --gtest_filter='Generated.*-*HoldsOnEvery*:*LargeResults*' --gtest_brief=1";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
  }
}

}  // namespace
}  // namespace ebb::test
