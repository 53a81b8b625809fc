// Compiled functions against eager mode: the same bits in the exact setting, whatever is computed.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/program/support.h"

namespace ebb::test {
namespace {

void expect_exact(const Function& f, const std::vector<Tensor>& inputs) {
  const std::vector<Tensor> want = eager(f, inputs);
  auto fast = compile([&](std::span<const Var> in) { return f(in); }, {.setting = Setting::exact});
  for (int round = 0; round < 3; ++round) {
    const Tensors got = fast(std::span<const Tensor>(inputs));
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << "result " << i;
  }
  EXPECT_EQ(fast.traces(), 1u);
}

Vars batch_norm_step(std::span<const Var> in) {  // x, gamma, beta, dout
  const Var out = batch_norm(in[0], in[1], in[2]);
  const Vars d = pullback(out, in[3], {in[0], in[1], in[2]});
  return {out, d[0], d[1], d[2]};
}

TEST(Compile, BatchNormIsEagerToTheBit) {
  for (const Shape& shape : {Shape{6, 5}, Shape{60, 100}, Shape{512, 64}, Shape{4, 8, 7, 7}, Shape{16, 32, 14, 14}}) {
    const Shape channels{shape[1]};
    expect_exact(batch_norm_step, {wave(shape, {0}), wave(channels, {1}), wave(channels, {2}), wave(shape, {3})});
  }
}

}  // namespace
}  // namespace ebb::test
