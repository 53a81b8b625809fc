// What an index selects: gathers that move below elementwise ops, what is scattered into zeros, and the memory and the
// loops of what is left.
#include <ebb/ebb.h>
#include <ebb/engine/codegen/kernel.h>
#include <gtest/gtest.h>

#include "tests/program/support.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

Tensor indices(std::int64_t n, std::int64_t limit) {
  Tensor out = Tensor::empty({n}, DType::i64);
  for (std::int64_t i = 0; std::int64_t & value : out.mutable_data<std::int64_t>()) value = i++ * 7 % limit;
  return out;
}

Vars entropy(std::span<const Var> in) {
  const Var loss = cross_entropy(in[0], in[1], {.kernel = CrossEntropyKernel::staged});
  return {loss, grad(loss, in[0])};
}

std::size_t count(const Explanation& explanation, std::string_view what) {
  return static_cast<std::size_t>(std::ranges::count(explanation.actions, what, &Explanation::Action::what));
}

Explanation explained(const Function& f, const std::vector<Tensor>& in, Setting setting = Setting::relaxed) {
  auto fast = compile(Function(f), {setting});
  fast(std::span<const Tensor>(in));
  return explain(fast.program());
}

void expect_exact(const Function& f, const std::vector<Tensor>& in) {
  const std::vector<Tensor> want = eager(f, in);
  for (const Backend backend : {Backend::generated, Backend::interpreted}) {
    auto fast = compile(Function(f), {Setting::exact, backend});
    const Tensors got = fast(std::span<const Tensor>(in));
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << "result " << i;
  }
}

TEST(Selections, AGatherMovesBelowElementwiseOpsWithTheSameBits) {
  const Function f = [](std::span<const Var> in) {
    const Var y = exp((in[0] - in[2]) * 0.5);
    return Vars{gather(y, reshape(in[1], {40, 1}), 1)};
  };
  const std::vector<Tensor> in{wave({40, 30}), indices(40, 30), wave({40, 1}, {.phase = 1})};
  expect_exact(f, in);
  const Explanation e = explained(f, in, Setting::exact);
  EXPECT_EQ(e.passes(in[0].numel()), 0u) << e.text();
  EXPECT_NE(e.rewrites.find("gather(f(x)) -> f(gather(x))"), std::string::npos) << e.rewrites;
}

TEST(Selections, AGatherOfMostElementsOrOfTwoOperandsStaysWhereItIs) {
  const auto stays = [](const Function& f, const std::vector<Tensor>& in) {
    expect_exact(f, in);
    EXPECT_EQ(explained(f, in).passes(in[0].numel()), 1u);
  };
  stays([](std::span<const Var> in) { return Vars{gather(exp(in[0]), in[1], 1)}; },
        {wave({4, 6}), Tensor::zeros({4, 9}, DType::i64)});
  stays([](std::span<const Var> in) { return Vars{gather(in[0] * in[2], in[1], 1)}; },
        {wave({40, 6}), Tensor::zeros({40, 1}, DType::i64), wave({40, 6}, {.phase = 1})});
  stays([](std::span<const Var> in) { return Vars{gather(in[0] * in[2], in[1], 1)}; },  // that varies along the axis
        {wave({40, 6}), Tensor::zeros({40, 1}, DType::i64), wave({6})});
  stays([](std::span<const Var> in) { return Vars{gather(exp(in[0]), in[1], 0)}; },  // fewer columns than there are
        {wave({40, 6}), Tensor::zeros({2, 3}, DType::i64)});
}

TEST(Selections, TheGradientOfAGatherTakesThePlaceOfWhatItIsAddedTo) {
  const Function f = [](std::span<const Var> in) {
    const Var s = sum(gather(in[0], reshape(in[1], {40, 1}), 1) * 3.0) + sum(square(in[0]));
    return Vars{grad(s, in[0])};
  };
  const std::vector<Tensor> in{wave({40, 30}), indices(40, 30)};
  expect_exact(f, in);
  const Tensor want = eager(f, in)[0];
  auto fast = compile(Function(f));
  const Tensor got = fast(std::span<const Tensor>(in))[0];
  for (std::int64_t i = 0; i < want.numel(); ++i) EXPECT_FLOAT_EQ(got.at(i), want.at(i)) << i;
  EXPECT_EQ(count(explain(fast.program()), "scatter_add"), 1u);
  // The sum is written into the result, and what is scattered over it.
  EXPECT_EQ(fast.program().memory().peak_bytes(), want.bytes() + fast.program().memory().arena_bytes);
  EXPECT_LT(fast.program().memory().arena_bytes, want.bytes() / 2);
}

TEST(Selections, DuplicatesAndSeveralPlacesInARowAreAllAdded) {
  const Function f = [](std::span<const Var> in) {
    const Var zeros = broadcast_to(in[0].tape().constant(0, DType::f32), Shape{3, 20});
    const Var scattered = scatter_add(zeros, in[1], in[2], 1);
    return Vars{exp(in[0]) - scattered, sum(scattered, 1), sum(scattered, 0)};
  };
  const std::vector<Tensor> in{wave({3, 20}), Tensor::of<std::int64_t>({3, 4}, {0, 0, 7, 19, 1, 2, 3, 4, 5, 5, 5, 5}),
                               wave({3, 4}, {.phase = 1})};
  expect_exact(f, in);
  const std::vector<Tensor> want = eager(f, in);
  auto fast = compile(Function(f));
  for (int call = 0; call < 2; ++call) {
    const Tensors got = fast(std::span<const Tensor>(in));
    for (std::size_t r = 0; r < want.size(); ++r) {
      for (std::int64_t i = 0; i < want[r].numel(); ++i) EXPECT_NEAR(got[r].at(i), want[r].at(i), 1e-6) << r;
    }
  }
}

TEST(Selections, ALabelOutOfRangeIsStillRefused) {
  auto fast = compile(Function(entropy));
  const std::vector<Tensor> good{wave({40, 30}), indices(40, 30)};
  const Tensors before = fast(std::span<const Tensor>(good));
  std::vector<Tensor> bad = good;
  bad[1].mutable_data<std::int64_t>()[39] = 30;
  const std::string text = thrown<UsageError>([&] { fast(std::span<const Tensor>(bad)); });
  EXPECT_NE(text.find("index 30 at [39, 0] is outside of axis 1, which has 30 elements"), std::string::npos) << text;
  EXPECT_TRUE(identical(fast(std::span<const Tensor>(good))[1], before[1]));
}

TEST(Selections, CrossEntropyWithItsGradientReadsTheLogitsOnceAndHoldsNothingBesideTheGradient) {
  if (!codegen::available()) GTEST_SKIP() << "nothing is generated here";
  const std::vector<Tensor> in{wave({256, 1000}), indices(256, 1000)};
  expect_exact(entropy, in);
  auto fast = compile(Function(entropy));
  const Tensors got = fast(std::span<const Tensor>(in));
  const Explanation e = explain(fast.program());
  ASSERT_FALSE(e.bands.empty()) << e.text();
  std::size_t whole = 0;
  for (std::size_t a = e.bands[0].begin; a < e.bands[0].end; ++a) whole += e.actions[a].shape == in[0].shape() ? 1 : 0;
  EXPECT_EQ(whole, 3u) << e.text();
  EXPECT_EQ(e.passes(in[0].numel()), 3u) << e.text();
  EXPECT_LT(e.peak_bytes, in[0].bytes() * 11 / 10) << e.text();
  const std::vector<Tensor> want = eager(entropy, in);
  for (std::int64_t i = 0; i < want[1].numel(); ++i) EXPECT_NEAR(got[1].at(i), want[1].at(i), 1e-8) << i;
}

TEST(Selections, WhatEndsInAnOutputTooLargeForTheCachesLiesInItsMemory) {
  const Function f = [](std::span<const Var> in) { return Vars{softmax(in[0], -1)}; };
  const std::vector<Tensor> in{wave({6000, 700})};
  expect_exact(f, in);
  auto fast = compile(Function(f));
  const Tensor first = fast(std::span<const Tensor>(in))[0];
  EXPECT_LT(fast.program().memory().peak_bytes(), in[0].bytes() * 11 / 10);
  const Tensor copy = first.clone();
  const std::vector<Tensor> other{wave({6000, 700}, {.phase = 2})};
  fast(std::span<const Tensor>(other));  // the next run has another result's memory
  EXPECT_TRUE(identical(first, copy));
}

TEST(Selections, AGatherAfterAHundredThousandStepsIsNoHundredThousandCallsDeep) {
  auto fast = compile([](std::span<const Var> in) {
    Var x = in[0];
    for (int i = 0; i < 100'000; ++i) x = i % 2 == 0 ? x * in[2] : x + in[2];
    return Vars{gather(x, in[1], 1)};
  });
  const Tensor index = Tensor::of<std::int64_t>({3, 1}, {1, 0, 4});
  const std::vector<Tensor> in{wave({3, 5}), index, Tensor::full({}, 0.5, DType::f32)};
  EXPECT_NEAR(fast(std::span<const Tensor>(in))[0].data<float>()[0], 1.0, 1e-6);
}

TEST(Selections, ColumnsWithAndWithoutLeadingAxesShareALoop) {
  const Function f = [](std::span<const Var> in) {
    const Var s = sum(in[0], 0, true);  // [1, 70]
    return Vars{reshape(exp(s), {70}) * in[1] + 1.0, exp(s) + s};
  };
  const std::vector<Tensor> in{wave({50, 70}), wave({70}, {.phase = 1})};
  expect_exact(f, in);
  const Explanation e = explained(f, in);
  EXPECT_EQ(e.actions.size(), 2u) << e.text();
}

}  // namespace
}  // namespace ebb::test
