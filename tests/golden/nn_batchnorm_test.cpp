// The golden family `batchnorm` through the layer: running statistics in both conventions, one batch and several, in
// every layout, kernel and dtype, compiled too, and the evaluation that uses them.
#include <gtest/gtest.h>

#include "tests/support/driven.h"
#include "tests/support/golden_ops.h"

namespace ebb::test {
namespace {

struct Variant {
  const char* name;
  BatchNormKernel kernel;
  DType dtype;
  Driver driver = Driver::eager;
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

  // Calls the layer in steps of their own: the output, then the gradients.
  TracedFunction step(nn::BatchNorm& bn) const {
    return [&bn](Tape& tape, std::span<const Var> in) {
      const Var y = bn(in[0]);
      Vars wrt{in[0]};
      for (const State& p : bn.parameters()) wrt.push_back(tape.read(p));
      Vars results{y};
      for (const Var& d : pullback(y, in[1], wrt)) results.push_back(d);
      return results;
    };
  }
  // One step, by role; the layer is then as the step leaves it. Without algebra it is as in eager mode, to the bit.
  void run(const GoldenCase& c, nn::BatchNorm& bn, const std::string& suffix, const Tolerance& tolerance) const {
    const std::vector<Tensor> inputs{tensor(c, "x" + suffix), tensor(c, "dy" + suffix)};
    nn::BatchNorm twin = clone(bn);
    const std::vector<Tensor> got = Driven(GetParam().driver, step(bn))(inputs);
    constexpr const char* kRoles[] = {"y", "dx", "dgamma", "dbeta"};
    for (std::size_t i = 0; i < got.size(); ++i) expect_close(c, kRoles[i] + suffix, got[i], tolerance);
    if (GetParam().driver != Driver::exact) return;
    const std::vector<Tensor> want = Driven(Driver::eager, step(twin))(inputs);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << kRoles[i];
    for (std::vector<State> (nn::Module::*list)() const : {&nn::Module::parameters, &nn::Module::buffers}) {
      const std::vector<State> states = (bn.*list)();
      const std::vector<State> wanted = (twin.*list)();
      for (std::size_t i = 0; i < states.size(); ++i) {
        EXPECT_TRUE(identical(states[i].value(), wanted[i].value())) << states[i].name();
      }
    }
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
                                         Variant{"fused_f32", BatchNormKernel::fused, DType::f32},
                                         Variant{"exact_f64", BatchNormKernel::staged, DType::f64, Driver::exact},
                                         Variant{"exact_f32", BatchNormKernel::staged, DType::f32, Driver::exact},
                                         Variant{"relaxed_f64", BatchNormKernel::fused, DType::f64, Driver::relaxed},
                                         Variant{"relaxed_f32", BatchNormKernel::fused, DType::f32, Driver::relaxed}),
                         [](const auto& variant) { return std::string(variant.param.name); });

}  // namespace
}  // namespace ebb::test
