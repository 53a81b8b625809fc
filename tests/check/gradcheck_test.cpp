// gradcheck must pass what is right, find what is wrong, and refuse what would pass whether right or wrong.
#include <ebb/ebb.h>
#include <ebb/engine/check/gradcheck.h>
#include <ebb/engine/random/philox.h>
#include <ebb/ops/batch_norm/batch_norm.h>

#include <cmath>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

Tensor normal(const Shape& shape, std::uint64_t seed = 0, double mean = 0, double deviation = 1) {
  Tensor x = Tensor::empty(shape, DType::f64);
  Random(seed).fill_normal(x, mean, deviation);
  return x;
}

// A row of a user, with a derivative that may be wrong.
template <int kFactorMille>
const Row& softplus_row() {
  static const Row row{
      .name = "log1pexp",
      .kind = Kind::opaque,
      .arity = 1,
      .type =
          [](const Call& call) {
            return TensorType{call.shape(0), call.dtype(0)};
          },
      .vjp = [](const Vjp& g) { return g.ct * sigmoid(g.in[0]) * (kFactorMille / 1000.0); },
      .kernel =
          [](KernelCall& call) {
            const double* x = call.data<double>(0);
            double* out = call.allocate<double>();
            for (std::int64_t i = 0; i < call.out.numel(); ++i) out[i] = std::log1p(std::exp(x[i]));
          },
  };
  return row;
}

TEST(Gradcheck, PassesWhatIsRight) {
  const auto report = gradcheck([](Var x, Var w, Var b) { return tanh(x * w + b); },
                                {normal({4, 5}), normal({5}, 1), normal({1, 5}, 2)});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.entries.size(), 6u);
  for (const GradcheckEntry& e : report.entries) {
    EXPECT_LT(std::abs(e.analytic - e.numeric), 1e-8 * (1 + std::abs(e.numeric))) << report.text();
    EXPECT_LT(e.uncertainty, 1e-7) << report.text();
  }
}

TEST(Gradcheck, LinearAndPiecewiseLinear) {
  EXPECT_TRUE(gradcheck([](Var x, Var y) { return x + y; }, {normal({3}), normal({2, 3}, 1)}).passed());
  EXPECT_TRUE(gradcheck([](Var x) { return sum(x, 0); }, {normal({3, 4})}).passed());
  const auto report = gradcheck([](Var x) { return relu(x); }, {normal({20})});
  EXPECT_TRUE(report.passed()) << report.text();
}

TEST(Gradcheck, OnesInOneInputAndLargeOrSmallInputs) {
  for (const double scale : {1e-6, 1e-3, 1.0, 1e3, 1e6}) {
    Tensor x = normal({6}, 3, 0, scale);
    const auto report = gradcheck([](Var v) { return square(v) * v; }, {x});
    EXPECT_TRUE(report.passed()) << scale << report.text();
  }
  const auto at_zero = gradcheck([](Var v) { return sigmoid(v); }, {Tensor::zeros({3}, DType::f64)});
  EXPECT_TRUE(at_zero.passed()) << at_zero.text();
}

TEST(Gradcheck, CustomRow) {
  const auto right = gradcheck([](Var x) { return x.tape().record(softplus_row<1000>(), {x}); }, {normal({3, 4})});
  EXPECT_TRUE(right.passed()) << right.text();
}

TEST(Gradcheck, NamesTheElement) {
  const Tensor x = Tensor::of({2, 2}, {0.0, 1.0, 2.0, 3.0});
  const auto report =
      gradcheck([](Var v) { return v.tape().record(softplus_row<2000>(), {v}); }, {x}, {.order = 1, .names = {"x"}});
  ASSERT_EQ(report.entries.size(), 1u);
  const GradcheckEntry& e = report.entries[0];
  EXPECT_EQ(e.verdict, GradcheckVerdict::wrong);
  EXPECT_NEAR(e.element_analytic / e.element_numeric, 2, 1e-7);
  EXPECT_TRUE(report.text().starts_with("gradcheck: failed, 1 of 1 checks\n  order 1, x f64[2, 2]: wrong at element ["))
      << report.text();
  EXPECT_NE(report.text().find("ratio 2 (along"), std::string::npos) << report.text();
}

TEST(Gradcheck, FindsASlightlyWrongRule) {
  const auto report = gradcheck([](Var v) { return v.tape().record(softplus_row<1001>(), {v}); }, {normal({100})});
  EXPECT_FALSE(report.passed());
  EXPECT_NEAR(report.entries[0].element_analytic / report.entries[0].element_numeric, 1.001, 1e-6);
}

TEST(Gradcheck, FindsOneWrongElementAmongMany) {
  // 1000 outputs, of which one is multiplied on a path that gradients do not take.
  const auto f = [](Var x) {
    Tensor mask = Tensor::zeros({10, 100}, DType::f64);
    mask.mutable_data<double>()[637] = 0.5;
    return square(x) + detach(x) * x.tape().leaf(mask);
  };
  const auto report = gradcheck(f, {normal({10, 100})}, {.order = 1});
  ASSERT_EQ(report.entries[0].verdict, GradcheckVerdict::wrong);
  EXPECT_EQ(report.entries[0].element, "[6, 37]");
}

TEST(Gradcheck, FindsAWrongSecondOrder) {
  // The first derivative is right; its own is cut.
  static const Row row{
      .name = "cube",
      .kind = Kind::opaque,
      .arity = 1,
      .type =
          [](const Call& call) {
            return TensorType{call.shape(0), call.dtype(0)};
          },
      .vjp = [](const Vjp& g) { return g.ct * (3.0 * square(detach(g.in[0]))); },
      .kernel =
          [](KernelCall& call) {
            const double* x = call.data<double>(0);
            double* out = call.allocate<double>();
            for (std::int64_t i = 0; i < call.out.numel(); ++i) out[i] = x[i] * x[i] * x[i];
          },
  };
  const auto report = gradcheck([](Var x) { return x.tape().record(row, {x}); }, {normal({4})});
  EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::right) << report.text();
  EXPECT_EQ(report.entries[1].verdict, GradcheckVerdict::wrong) << report.text();
  EXPECT_EQ(report.entries[1].element_analytic, 0);
}

TEST(Gradcheck, SeveralOutputsAndOtherInputs) {
  const auto f = [](std::span<const Var> x) {
    Vars out;
    out.push_back(where(x[1], x[0], 2.0 * x[0]));
    out.push_back(square(x[0]));
    out.push_back(x[1]);
    return out;
  };
  const auto report = gradcheck(f, {normal({3}), Tensor::of<bool>({3}, {true, false, true})});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.entries.size(), 2u);
}

TEST(Gradcheck, CastsToDouble) {
  const auto report = gradcheck([](Var x) { return exp(x); }, {normal({5}).to(DType::f32)});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.entries[0].name, "input 0 f64[5]");
}

// --- vacuous checks --------------------------------------------------------------------------------------------------

class Vacuous : public testing::TestWithParam<BatchNormKernel> {
 protected:
  Var bn(const Var& x, const Var& gamma, const Var& beta) const {
    return batch_norm(x, gamma, beta, {.kernel = GetParam()});
  }
};

TEST_P(Vacuous, PassesWithWeights) {
  const auto f = [&](Var x, Var g, Var b) { return bn(x, g, b); };
  for (const double mean : {0.0, 12.0, 1000.0}) {
    const auto report = gradcheck(f, {normal({6, 3}, 1, mean, 5), normal({3}, 2, 1, 0.3), normal({3}, 3)});
    EXPECT_TRUE(report.passed()) << report.text();
  }
}

TEST_P(Vacuous, RefusesUpstreamOnes) {
  const auto f = [&](Var x, Var g, Var b) { return sum(bn(x, g, b)); };
  const auto report = gradcheck(f, {normal({6, 3}, 1, 12, 5), normal({3}, 2), normal({3}, 3)}, {.order = 1});
  EXPECT_FALSE(report.passed());
  EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::vacuous) << report.text();
  EXPECT_EQ(report.entries[1].verdict, GradcheckVerdict::vacuous) << report.text();  // sum(xhat) is 0
  EXPECT_EQ(report.entries[2].verdict, GradcheckVerdict::right) << report.text();    // in total it would have passed
}

TEST_P(Vacuous, RefusesTheSumOfSquares) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto f = [&](Var x) {
      const Var one = x.tape().leaf(Tensor::full({3}, 1, DType::f64));
      const Var zero = x.tape().leaf(Tensor::zeros({3}, DType::f64));
      return sum(square(bn(x, one, zero)));
    };
    const auto report = gradcheck(f, {normal({6, 3}, seed)}, {.order = 1});
    EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::vacuous) << report.text();
  }
}

TEST_P(Vacuous, RefusesTwoValuesPerChannel) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto f = [&](Var x, Var g, Var b) { return bn(x, g, b); };
    const auto report = gradcheck(f, {normal({2, 3}, seed, 12, 5), normal({3}, 2), normal({3}, 3)}, {.order = 1});
    EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::vacuous) << report.text();
    EXPECT_EQ(report.entries[1].verdict, GradcheckVerdict::right) << report.text();
    EXPECT_EQ(report.entries[2].verdict, GradcheckVerdict::right) << report.text();
  }
}

TEST_P(Vacuous, ABiasBeforeBatchnormIsRefusedUnlessNamed) {
  const auto f = [&](Var x, Var bias) {
    const Var one = x.tape().leaf(Tensor::full({3}, 1, DType::f64));
    const Var zero = x.tape().leaf(Tensor::zeros({3}, DType::f64));
    return bn(x + bias, one, zero);
  };
  const std::vector<Tensor> inputs{normal({6, 3}), normal({3}, 1)};
  EXPECT_EQ(gradcheck(f, inputs).entries[1].verdict, GradcheckVerdict::vacuous);
  const auto report = gradcheck(f, inputs, {.constant = {1}});
  EXPECT_TRUE(report.passed()) << report.text();
}

INSTANTIATE_TEST_SUITE_P(Kernels, Vacuous, testing::Values(BatchNormKernel::staged, BatchNormKernel::fused),
                         [](const auto& kernel) {
                           return kernel.param == BatchNormKernel::staged ? "staged" : "fused";
                         });

TEST(Gradcheck, PlantedBugInBatchnormIsFound) {
  // 1 / N in the forward, 1 / (N - 1) in the backward of the mean.
  static const Row row{
      .name = "bad_mean",
      .kind = Kind::opaque,
      .arity = 1,
      .type =
          [](const Call& call) {
            return TensorType{{1, call.shape(0)[1]}, call.dtype(0)};
          },
      .vjp =
          [](const Vjp& g) {
            return broadcast_to(g.ct, g.in[0].shape()) / static_cast<double>(g.in[0].shape()[0] - 1);
          },
      .kernel =
          [](KernelCall& call) {
            const std::int64_t n = call.in[0]->shape()[0];
            const std::int64_t c = call.in[0]->shape()[1];
            const double* x = call.data<double>(0);
            double* out = call.allocate<double>();
            std::fill_n(out, c, 0.0);
            for (std::int64_t i = 0; i < n * c; ++i) out[i % c] += x[i] / static_cast<double>(n);
          },
  };
  const auto f = [](Var x) {
    const auto bad_mean = [](const Var& v) { return v.tape().record(row, {v}); };
    const Var xmu = x - bad_mean(x);
    return xmu * reciprocal(sqrt(bad_mean(square(xmu)) + 1e-5));
  };
  const auto report = gradcheck(f, {normal({60, 4})}, {.order = 1});
  EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::wrong) << report.text();
}

TEST(Gradcheck, AnInputThatDoesNotMatter) {
  const auto f = [](Var x, Var) { return square(x); };
  const auto report = gradcheck(f, {normal({3}), normal({3})}, {.order = 1});
  EXPECT_EQ(report.entries[1].text,
            "order 1, input 1 f64[3]: vacuous; f does not change with it. Leave it out, or name it in "
            "GradcheckOptions::constant.");
  EXPECT_TRUE(gradcheck(f, {normal({3}), normal({3})}, {.constant = {1}}).passed());
  // An input said to be constant must be so.
  EXPECT_EQ(gradcheck(f, {normal({3}), normal({3})}, {.order = 1, .constant = {0, 1}}).entries[0].verdict,
            GradcheckVerdict::wrong);
}

TEST(Gradcheck, ADerivativeThatIsMissingIsWrong) {
  const auto report = gradcheck([](Var x) { return square(detach(x)) + x; }, {normal({3})}, {.order = 1});
  EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::wrong) << report.text();
  const auto cut = gradcheck([](Var x) { return square(detach(x)); }, {normal({3})}, {.order = 1});
  EXPECT_EQ(cut.entries[0].verdict, GradcheckVerdict::wrong) << cut.text();
}

TEST(Gradcheck, WhatIsNotFiniteIsUnresolved) {
  const auto report = gradcheck([](Var x) { return log(x); }, {Tensor::of({2}, {-1.0, -2.0})}, {.order = 1});
  EXPECT_EQ(report.entries[0].verdict, GradcheckVerdict::unresolved) << report.text();
}

// --- states ----------------------------------------------------------------------------------------------------------

TEST(Gradcheck, StatesAreAsTheyWere) {
  const State running("running", Tensor::full({}, 0.5, DType::f64));
  const auto f = [&](Var x) {
    const Var before = x.tape().read(running);
    const Var after = before * 0.9 + mean(x) * 0.1;
    x.tape().update(running, after);     // noted, never committed
    running.set(detach(after).value());  // and changed by force
    return square(x) * before;
  };
  const auto report = gradcheck(f, {normal({3})}, {.states = {running}});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(running.value().item(), 0.5);
}

TEST(Gradcheck, StatesArePutBackWhenFThrows) {
  const State state("s", Tensor::zeros({}, DType::f64));
  int calls = 0;
  const auto f = [&](Var x) -> Var {
    state.set(Tensor::full({}, 7, DType::f64));
    if (++calls == 5) throw std::runtime_error("five");
    return square(x);
  };
  EXPECT_THROW(gradcheck(f, {normal({3})}, {.states = {state}}), std::runtime_error);
  EXPECT_EQ(state.value().item(), 0);
}

TEST(Gradcheck, AHiddenStateIsNoticed) {
  double hidden = 1;
  const auto text =
      thrown<UsageError>([&] { gradcheck([&](Var x) { return square(x) * hidden++; }, {Tensor::of({1}, {2.0})}); });
  EXPECT_TRUE(text.starts_with("gradcheck: f gives two results for one input, ")) << text;
  EXPECT_TRUE(text.ends_with(". Name the States that it depends on in GradcheckOptions::states.")) << text;
}

TEST(Gradcheck, Errors) {
  EXPECT_EQ(thrown<UsageError>([] { gradcheck([](Var a, Var b) { return a + b; }, {normal({2})}); }),
            "gradcheck: f does not take 1 Vars, one per input.");
  EXPECT_EQ(thrown<UsageError>([] { gradcheck([](Var x) { return x > 0.0; }, {normal({2})}); }),
            "gradcheck: f returned no floating Var, there is nothing to differentiate.");
  Tape other;
  const Var stray = other.leaf(normal({2}));
  EXPECT_EQ(thrown<UsageError>([&] { gradcheck([&](Var) { return stray; }, {normal({2})}); }),
            "gradcheck: f returned a Var of a tape that is not its inputs'.");
}

TEST(Gradcheck, TheThrowingForm) {
  check_gradients([](Var x) { return exp(x); }, {normal({3})});
  const auto text = thrown<Error>([] { check_gradients([](Var x) { return x + detach(x); }, {normal({3})}); });
  EXPECT_TRUE(text.starts_with("gradcheck: failed, 1 of 2 checks\n  order 1, input 0 f64[3]: wrong at element ["))
      << text;
}

TEST(Gradcheck, SameSeedSameReport) {
  const auto f = [](Var x) { return exp(x) * x; };
  EXPECT_EQ(gradcheck(f, {normal({3})}).text(), gradcheck(f, {normal({3})}).text());
  EXPECT_NE(gradcheck(f, {normal({3})}).text(), gradcheck(f, {normal({3})}, {.seed = 1}).text());
}

TEST(Gradcheck, HigherOrders) {
  const auto report = gradcheck([](Var x) { return square(square(x)); }, {normal({3}, 5, 2, 0.3)}, {.order = 4});
  EXPECT_TRUE(report.passed()) << report.text();
  EXPECT_EQ(report.entries.size(), 4u);
}

}  // namespace
}  // namespace ebb
