// Bands: which loops run together, that they give the bits of loops run one by one, and what must not join.
#include <ebb/ebb.h>
#include <ebb/engine/codegen/kernel.h>
#include <gtest/gtest.h>

#include "tests/program/support.h"

namespace ebb::test {
namespace {

using Bands = std::vector<std::pair<std::size_t, std::size_t>>;

// The loops over the whole shape in each band, and the actions of the program.
Bands bands_of(const Function& f, const std::vector<Tensor>& in, Setting setting = Setting::relaxed) {
  auto fast = compile(Function(f), {setting});
  fast(std::span<const Tensor>(in));
  const Schedule& schedule = fast.program().schedule();
  Bands out;
  for (const Band& band : schedule.bands) {
    std::size_t whole = 0;
    for (std::size_t a = band.begin; a < band.end; ++a) whole += schedule.actions[a].shape == band.shape ? 1 : 0;
    out.emplace_back(whole, schedule.actions.size());
  }
  return out;
}

void expect_same_bits(const Function& f, const std::vector<Tensor>& in, const std::string& what) {
  for (const int count : {1, 3}) {
    set_threads(count);
    for (const Setting setting : {Setting::relaxed, Setting::exact}) {
      auto generated = compile(Function(f), {setting, Backend::generated});
      auto interpreted = compile(Function(f), {setting, Backend::interpreted});
      for (int call = 0; call < 2; ++call) {
        const Tensors a = generated(std::span<const Tensor>(in));
        const Tensors b = interpreted(std::span<const Tensor>(in));
        for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(identical(a[i], b[i])) << what << ", result " << i;
      }
    }
  }
  set_threads(1);
}

Vars norm_step(std::span<const Var> in) {  // x, gamma, beta, dout
  const Var out = batch_norm(in[0], in[1], in[2]);
  const Vars d = pullback(out, in[3], {in[0], in[1], in[2]});
  return {out, d[0], d[1], d[2]};
}

Vars softmax_step(std::span<const Var> in) {
  const Var y = softmax(in[0], -1);
  return {y, pullback(y, in[1], {in[0]})[0]};
}

TEST(Bands, AWholeNormalisationIsOne) {
  const std::vector<Tensor> in{wave({6, 32, 14, 14}, {.phase = 0}), wave({32}, {.phase = 1}), wave({32}, {.phase = 2}),
                               wave({6, 32, 14, 14}, {.phase = 3})};
  const Bands bands = bands_of(norm_step, in);
  ASSERT_EQ(bands.size(), 1u);
  EXPECT_EQ(bands[0].first, 3u);
}

TEST(Bands, GiveTheBitsOfLoopsRunOneByOne) {
  for (const Shape& shape : {Shape{6, 32, 14, 14}, Shape{256, 1024}, Shape{100, 300}, Shape{8, 70, 7, 7},
                             Shape{64, 9, 28, 28}, Shape{32, 20, 56, 56}}) {
    const Shape channels{shape[1]};
    expect_same_bits(norm_step,
                     {wave(shape, {.phase = 0}), wave(channels, {.phase = 1}), wave(channels, {.phase = 2}),
                      wave(shape, {.phase = 3})},
                     "norm " + to_string(shape));
  }
  for (const Shape& shape : {Shape{300, 1000}, Shape{5000, 10}, Shape{40, 5000}, Shape{7, 20, 33}}) {
    expect_same_bits(softmax_step, {wave(shape, {.phase = 0}), wave(shape, {.phase = 1})},
                     "softmax " + to_string(shape));
  }
}

// The scale of a row is read where another row is summed: no part is done before all others.
TEST(Bands, WhatIsReadAcrossPartsDoesNotJoin) {
  const auto across = [](std::span<const Var> in) {
    const Var rows = sum(in[0], 1);  // read along the other axis
    const Var y = exp(in[0]) * rows;
    return Vars{y, sum(y, 1)};
  };
  const auto along = [](std::span<const Var> in) {
    const Var y = exp(in[0]) * sum(in[0], 1, true);
    return Vars{y, sum(y, 1)};
  };
  const std::vector<Tensor> in{wave({300, 300}, {.phase = 0})};
  EXPECT_TRUE(bands_of(across, in, Setting::exact).empty());
  EXPECT_EQ(bands_of(along, in, Setting::exact).size(), 1u);
  expect_same_bits(across, in, "across");
  expect_same_bits(along, in, "along");
}

// Few accumulators of many elements: threads share them, and their parts are merged before anyone reads them.
TEST(Bands, AReductionInChunksStandsAlone) {
  const auto f = [](std::span<const Var> x) { return Vars{x[0] - mean(x[0], 0, true)}; };
  const std::vector<Tensor> in{wave({40000, 8}, {.phase = 0})};
  EXPECT_TRUE(bands_of(f, in).empty());
  expect_same_bits(f, in, "chunks");
}

}  // namespace
}  // namespace ebb::test
