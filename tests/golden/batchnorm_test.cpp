// The golden family `batchnorm`, through both kernels and both dtypes, eagerly and compiled: values, gradients, the
// nine steps by name, second derivatives and ill-conditioned inputs. Running statistics are the layer's business
// (nn_batchnorm_test.cpp).
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/support/golden_ops.h"

namespace ebb::test {
namespace {

struct Variant {
  const char* name;
  BatchNormKernel kernel;
  DType dtype;
};
constexpr Variant kVariants[] = {
    {"staged_f64", BatchNormKernel::staged, DType::f64},
    {"staged_f32", BatchNormKernel::staged, DType::f32},
    {"fused_f64", BatchNormKernel::fused, DType::f64},
    {"fused_f32", BatchNormKernel::fused, DType::f32},
};

class BatchNormGolden : public testing::TestWithParam<Variant> {
 protected:
  const Tolerance* tolerance(const GoldenCase& c) const {
    const auto pointer = [](const std::optional<Tolerance>& t) { return t ? &*t : nullptr; };
    if (GetParam().dtype == DType::f64) return pointer(c.f64);
    // Staged, the mean is rounded to f32: the wider tolerance where the case has one.
    if (GetParam().kernel == BatchNormKernel::staged && c.f32_two_pass) return pointer(c.f32_two_pass);
    return pointer(c.f32);
  }

  // A trace records the nine steps for either kernel, and only the staged kernel has their bits.
  void expect(const GoldenCase& c, const std::function<void(GoldenRecording&)>& record) const {
    const DType dtype = GetParam().dtype;
    expect_golden(c, dtype, {tolerance(c), tolerance_of(c, dtype), GetParam().kernel == BatchNormKernel::staged},
                  record);
  }
  // Some cases lack some roles.
  void give(GoldenRecording& recording, const GoldenCase& c, const std::string& role, const Var& got) {
    if (!c.has(role) || !tolerance(c)->atol.contains(role)) return;
    const Shape shape = shape_of(c.tensor(role));
    recording.give(role, got.shape() == shape ? got : reshape(got, shape));  // statistics are kept as [1, C]
    ++checked_;
  }

  static std::optional<Var> parameter(GoldenRecording& recording, const GoldenCase& c, const std::string& role) {
    return c.has(role) ? std::optional(recording.leaf(role)) : std::nullopt;
  }

  BatchNormOptions options(const GoldenCase& c) const {
    return {c.attrs.value("eps", 1e-5), c.attrs.value("channel_axis", 1), GetParam().kernel, SingleValue::allow};
  }

  int checked_ = 0;
};

TEST_P(BatchNormGolden, ForwardAndBackward) {
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    if (c.op != "batch_norm" && c.op != "batch_norm_illconditioned") continue;
    if (!tolerance(c)) continue;
    const bool f32_roles = c.op == "batch_norm_illconditioned" && GetParam().dtype == DType::f32;
    const std::string prefix = f32_roles ? "f32in_" : "";
    expect(c, [&](GoldenRecording& recording) {
      const Var x = recording.leaf(f32_roles ? "x_f32" : "x", "x");
      const std::optional<Var> gamma = parameter(recording, c, "gamma");
      const std::optional<Var> beta = parameter(recording, c, "beta");
      const Var dout = recording.leaf("dy", "dout");
      Var out;
      const bool tracks = c.attrs.value("track_running_stats", true);
      if (c.attrs.value("training", true) || !tracks || !c.has("running_mean_in")) {
        const BatchNormResult result = batch_norm_with_statistics(x, gamma, beta, options(c));
        out = result.out;
        give(recording, c, prefix + "batch_mean", result.mean);
        give(recording, c, prefix + "batch_var", result.variance);
      } else {
        out = batch_norm_eval(x, recording.leaf("running_mean_in", "running_mean"),
                              recording.leaf("running_var_in", "running_var"), gamma, beta, options(c));
      }
      Vars wrt{x};
      if (gamma) wrt.push_back(*gamma);
      if (beta) wrt.push_back(*beta);
      const Vars d = pullback(out, dout, wrt);
      give(recording, c, prefix + "y", out);
      give(recording, c, prefix + "dx", d[0]);
      if (gamma) give(recording, c, prefix + "dgamma", d[1]);
      if (beta) give(recording, c, prefix + "dbeta", d.back());
    });
  }
  EXPECT_GT(checked_, 2 * 150);
}

class NineStepsGolden : public BatchNormGolden {};

TEST_P(NineStepsGolden, ByName) {
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    const bool own = c.op == "batch_norm_ninestep";
    if ((!own && !c.description.contains("nine_outputs")) || !tolerance(c)) continue;
    expect(c, [&](GoldenRecording& recording) {
      Tape& tape = recording.tape();
      const Var x = recording.leaf("x");
      const auto parameter_or = [&](const std::string& role, double value) {
        if (c.has(role)) return recording.leaf(role);
        return tape.leaf(Tensor::full({x.shape()[1]}, value, GetParam().dtype), role);
      };
      const Var gamma = parameter_or("gamma", 1);
      const Var beta = parameter_or("beta", 0);
      const Var dout = recording.leaf(own ? "dout" : "dy", "dout");
      const Var out = batch_norm(x, gamma, beta, options(c));
      pullback(out, dout, {x, gamma, beta});
      for (const char* name : {"mu",   "xmu",   "sq",      "var",    "sqrtvar", "ivar",  "xhat",  "gammax",
                               "out",  "dbeta", "dgammax", "dgamma", "dxhat",   "divar", "dxmu1", "dsqrtvar",
                               "dvar", "dsq",   "dxmu2",   "dx1",    "dmu",     "dx2",   "dx"}) {
        give(recording, c, own ? name : std::string("nine_") + name, tape.find(name));
      }
      // What the well-known articles call dx1 is the sum of the contributions to xmu.
      EXPECT_EQ(tape.find("dx1"), tape.find("dxmu"));
      EXPECT_EQ(tape.find("dgammax"), tape.find("dout"));
    });
  }
  EXPECT_GT(checked_, 3 * 23 * 6);
}

TEST_P(BatchNormGolden, DoubleBackward) {
  for (const GoldenCase& c : golden("batchnorm").cases()) {
    if (c.op != "batch_norm_double_backward" || !tolerance(c)) continue;
    expect(c, [&](GoldenRecording& recording) {
      const Var x = recording.leaf("x");
      const std::optional<Var> gamma = parameter(recording, c, "gamma");
      const std::optional<Var> beta = parameter(recording, c, "beta");
      const Var dy = recording.leaf("dy");
      Var out;
      if (c.attrs.value("training", true)) {
        out = batch_norm(x, gamma, beta, options(c));
      } else {
        out = batch_norm_eval(x, recording.leaf("running_mean_in", "mean"), recording.leaf("running_var_in", "var"),
                              gamma, beta, options(c));
      }
      Vars wrt{x};
      if (gamma) wrt.push_back(*gamma);
      if (beta) wrt.push_back(*beta);
      const Vars d = pullback(out, dy, wrt);
      Var s = sum(recording.leaf("v") * d[0]);
      if (c.has("v_gamma")) s = s + sum(recording.leaf("v_gamma") * d[1]);
      if (c.has("v_beta")) s = s + sum(recording.leaf("v_beta") * d.back());
      give(recording, c, "y", out);
      give(recording, c, "dx", d[0]);
      give(recording, c, "s", s);
      Vars second{x, dy};
      if (gamma) second.push_back(*gamma);
      const Vars ds = grad(s, second);
      give(recording, c, "ds_x", ds[0]);
      give(recording, c, "ds_dy", ds[1]);
      if (gamma) give(recording, c, "ds_gamma", ds[2]);
    });
  }
  EXPECT_GT(checked_, 2 * 30);
}

std::string name_of(const testing::TestParamInfo<Variant>& variant) { return variant.param.name; }
INSTANTIATE_TEST_SUITE_P(Kernels, BatchNormGolden, testing::ValuesIn(kVariants), name_of);
INSTANTIATE_TEST_SUITE_P(Staged, NineStepsGolden, testing::Values(kVariants[0], kVariants[1]), name_of);

}  // namespace
}  // namespace ebb::test
