// The golden family `batchnorm` through the layer: running statistics in both conventions, one batch and several, in
// every layout, kernel and dtype, and the evaluation that uses them.
#include <gtest/gtest.h>

#include "tests/support/golden_ops.h"

namespace ebb::test {
namespace {

struct Variant {
  const char* name;
  BatchNormKernel kernel;
  DType dtype;
};

class LayerGolden : public testing::TestWithParam<Variant> {
 protected:
  nn::BatchNorm layer(const GoldenCase& c, const std::string& first_x) const {
    nn::BatchNormLayerOptions options;
    const bool torch = c.attrs.value("convention", "torch") == std::string("torch");
    if (!c.attrs.contains("momentum") || c.attrs["momentum"].is_null()) {
      options.momentum = nn::Momentum::cumulative();
    } else {
      const double m = c.attrs["momentum"].get<double>();
      options.momentum = torch ? nn::Momentum::new_weight(m) : nn::Momentum::old_weight(m);
    }
    options.running_variance = torch ? nn::RunningVariance::unbiased : nn::RunningVariance::biased;
    options.eps = c.attrs.value("eps", 1e-5);
    options.channel_axis = c.attrs.value("channel_axis", 1);
    options.scale = options.shift = c.has("gamma");
    options.kernel = GetParam().kernel;
    options.dtype = GetParam().dtype;
    nn::BatchNorm bn(c.tensor(first_x).shape[static_cast<std::size_t>(options.channel_axis)], options);
    if (c.has("gamma")) {
      bn.set_weight(tensor(c, "gamma"));
      bn.set_bias(tensor(c, "beta"));
    }
    if (c.has("running_mean_in")) {
      bn.set_running_mean(tensor(c, "running_mean_in"));
      bn.set_running_var(tensor(c, "running_var_in"));
    }
    return bn;
  }
  Tensor tensor(const GoldenCase& c, const std::string& role) const {
    return tensor_of(c.tensor(role), GetParam().dtype);
  }

  // One call in its own step: the output, the gradients by role, and the layer as the step leaves it.
  void run(const GoldenCase& c, nn::BatchNorm& bn, const std::string& suffix, const Tolerance& tolerance) const {
    Tape tape;
    tape.step([&] {
      const Var x = tape.leaf(tensor(c, "x" + suffix), "x");
      const Var y = bn(x);
      Vars wrt{x};
      for (const State& p : bn.parameters()) wrt.push_back(tape.read(p));
      const Vars d = pullback(y, tape.leaf(tensor(c, "dy" + suffix)), wrt);
      expect_close(c, "y" + suffix, y, tolerance);
      expect_close(c, "dx" + suffix, d[0], tolerance);
      if (wrt.size() == 1) return;
      expect_close(c, "dgamma" + suffix, d[1], tolerance);
      expect_close(c, "dbeta" + suffix, d[2], tolerance);
    });
  }
};

TEST_P(LayerGolden, OneBatch) {
  int cases = 0;
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    const Tolerance* const tolerance = tolerance_of(c, GetParam().dtype);
    if (c.op != "batch_norm" || !c.has("running_mean_out") || !tolerance) continue;
    SCOPED_TRACE(c.name);
    nn::BatchNorm bn = layer(c, "x");
    run(c, bn, "", *tolerance);
    expect_close(c, "running_mean_out", bn.running_mean().value(), *tolerance);
    expect_close(c, "running_var_out", bn.running_var().value(), *tolerance);
    EXPECT_EQ(bn.num_batches_tracked().value().item(), 1);
    ++cases;
  }
  EXPECT_GT(cases, 10);
}

TEST_P(LayerGolden, Evaluation) {
  int cases = 0;
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    const Tolerance* const tolerance = tolerance_of(c, GetParam().dtype);
    if (c.op != "batch_norm" || c.attrs.value("training", true) || !c.attrs.value("track_running_stats", true) ||
        !c.has("running_mean_in") || !tolerance) {
      continue;
    }
    SCOPED_TRACE(c.name);
    nn::BatchNorm bn = layer(c, "x");
    bn.eval();
    run(c, bn, "", *tolerance);
    EXPECT_TRUE(identical(bn.running_mean().value(), tensor(c, "running_mean_in")));
    ++cases;
  }
  EXPECT_GT(cases, 3);
}

// Row k of a golden tensor [steps, C], as a case of its own name would be checked.
void expect_row(const GoldenCase& c, const std::string& role, std::int64_t k, const Tensor& got,
                const Tolerance& tolerance) {
  const GoldenTensor& all = c.tensor(role);
  const double rtol = tolerance.rtol;
  const double atol = tolerance.atol.find(role)->second;
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double reference = all.reals[static_cast<std::size_t>(k * got.numel() + i)];
    EXPECT_NEAR(got.at(i), reference, atol + rtol * std::abs(reference)) << role << " after batch " << k;
  }
}

TEST_P(LayerGolden, Steps) {
  int cases = 0;
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    const Tolerance* const tolerance = tolerance_of(c, GetParam().dtype);
    if (c.op != "batch_norm_steps" || !tolerance) continue;
    SCOPED_TRACE(c.name);
    nn::BatchNorm bn = layer(c, "x_0");
    const std::int64_t steps = c.attrs.at("steps").get<std::int64_t>();
    for (std::int64_t k = 0; k < steps; ++k) {
      run(c, bn, "_" + std::to_string(k), *tolerance);
      expect_row(c, "running_mean", k, bn.running_mean().value(), *tolerance);
      expect_row(c, "running_var", k, bn.running_var().value(), *tolerance);
      EXPECT_EQ(bn.num_batches_tracked().value().item(),
                c.tensor("num_batches_tracked").integers[static_cast<std::size_t>(k)]);
    }
    bn.eval();
    Tape tape;
    expect_close(c, "y_eval", bn(tape.leaf(tensor(c, "x_eval"))), *tolerance);
    ++cases;
  }
  EXPECT_EQ(cases, 10);
}

INSTANTIATE_TEST_SUITE_P(Kernels, LayerGolden,
                         testing::Values(Variant{"staged_f64", BatchNormKernel::staged, DType::f64},
                                         Variant{"staged_f32", BatchNormKernel::staged, DType::f32},
                                         Variant{"fused_f64", BatchNormKernel::fused, DType::f64},
                                         Variant{"fused_f32", BatchNormKernel::fused, DType::f32}),
                         [](const auto& variant) { return std::string(variant.param.name); });

}  // namespace
}  // namespace ebb::test
