// Derivatives of batch_norm: the contract's identities, all orders and mixes in both kernels, and the checks that must
// not pass because they prove nothing.
#include <ebb/engine/check/gradcheck.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/batch_norm/kernels.h"

namespace ebb::test {
namespace {

BatchNormOptions with(BatchNormKernel kernel, double eps = 1e-5) {
  BatchNormOptions options;
  options.kernel = kernel;
  options.eps = eps;
  return options;
}

class Derivatives : public testing::TestWithParam<BatchNormKernel> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Derivatives, testing::ValuesIn(kKernels),
                         [](const auto& k) { return name(k.param); });

const Shape kShapes[] = {{6, 3}, {4, 3, 5}, {3, 2, 3, 4}, {2, 3, 2, 2, 3}, {70, 60}};

TEST_P(Derivatives, Identities1And2TheClosedForm) {
  for (const Shape& shape : kShapes) {
    const Problem p = problem(shape);
    const Results got = run(p, GetParam());
    const Results want = truth(p);
    EXPECT_LT(relative_difference(got.dx, want.dx), 1e-13) << to_string(shape);
    EXPECT_LT(relative_difference(got.dgamma, want.dgamma), 1e-13) << to_string(shape);
    EXPECT_LT(relative_difference(got.dbeta, want.dbeta), 1e-13) << to_string(shape);
  }
}

// With a mean or a variance cut off the graph both sums would be far from zero.
TEST_P(Derivatives, T30Identity3GradientsSumToZero) {
  for (const Shape& shape : kShapes) {
    Problem p = problem(shape);
    for (const double eps : {1e-5, 0.1}) {
      p.options.eps = eps;
      const Results r = run(p, GetParam());
      const std::size_t channels = static_cast<std::size_t>(p.channels());
      std::vector<double> sum(channels), dot(channels), size(channels), mean(channels), var(channels);
      const double n = static_cast<double>(p.count());
      for (std::int64_t i = 0; i < p.x.numel(); ++i) mean[static_cast<std::size_t>(p.channel_of(i))] += p.x.at(i) / n;
      for (std::int64_t i = 0; i < p.x.numel(); ++i) {
        const std::size_t c = static_cast<std::size_t>(p.channel_of(i));
        var[c] += (p.x.at(i) - mean[c]) * (p.x.at(i) - mean[c]) / n;
      }
      for (std::int64_t i = 0; i < p.x.numel(); ++i) {
        const std::size_t c = static_cast<std::size_t>(p.channel_of(i));
        sum[c] += r.dx.at(i);
        dot[c] += r.dx.at(i) * (p.x.at(i) - mean[c]) / std::sqrt(var[c] + eps);
        size[c] += std::abs(r.dx.at(i));
      }
      for (std::size_t c = 0; c < channels; ++c) {
        EXPECT_NEAR(sum[c], 0, 1e-14 * n * size[c]);
        const double ivar = 1 / std::sqrt(var[c] + eps);
        const std::int64_t k = static_cast<std::int64_t>(c);
        EXPECT_NEAR(dot[c], p.gamma->at(k) * ivar * r.dgamma.at(k) * eps * ivar * ivar, 1e-13 * n * size[c]);
      }
    }
  }
}

TEST_P(Derivatives, Identity4ScaleAndShiftOfXDoNotMatter) {
  Problem p = problem({9, 4});
  p.options.eps = 1e-14;
  const Results before = run(p, GetParam());
  double dot = 0;
  for (std::int64_t i = 0; i < 36; ++i) dot += before.dx.at(i) * p.x.at(i);
  EXPECT_NEAR(dot, 0, 1e-11);
  for (const double a : {3.0, -0.5}) {
    Problem q = p;
    q.gamma = Tensor::zeros({4}, DType::f64);
    for (std::int64_t c = 0; c < 4; ++c) {
      q.gamma->mutable_data<double>()[static_cast<std::size_t>(c)] = p.gamma->at(c) * (a < 0 ? -1 : 1);
    }
    for (double& v : q.x.mutable_data<double>()) v = a * v + 7;
    EXPECT_LT(relative_difference(run(q, GetParam()).out, before.out), 1e-12);
  }
}

/// The derivative of y along v, as the pullback of the pullback.
Var jvp(const Var& y, const Var& x, const Var& v) {
  const Var u = y.tape().leaf(Tensor::zeros(y.shape(), y.dtype()));
  return pullback(pullback(y, u, x), v, u);
}

TEST_P(Derivatives, Identity5TheJacobianIsSymmetric) {
  Tape tape;
  const Var x = tape.leaf(samples({7, 3}));
  const Var v = tape.leaf(samples({7, 3}, 1));
  const Var w = tape.leaf(samples({7, 3}, 2));
  const Var y = batch_norm(x, tape.leaf(samples({3}, 3)), {}, with(GetParam()));
  const double forward = sum(w * jvp(y, x, v)).value().item();
  EXPECT_NEAR(forward, sum(pullback(y, w, x) * v).value().item(), 1e-13);
  EXPECT_NEAR(forward, sum(pullback(y, v, x) * w).value().item(), 1e-13) << "J = gamma ivar (I - 11'/n - xhat xhat'/n)";
}

TEST_P(Derivatives, Identity6SamplesInAnotherOrder) {
  const Problem p = problem({11, 3});
  Problem q = p;
  const std::vector<std::int64_t> order = Random(1).permutation(11);
  const auto permuted = [&](const Tensor& t) {
    Tensor out = t.clone();
    for (std::int64_t i = 0; i < t.numel(); ++i) {
      out.mutable_data<double>()[static_cast<std::size_t>(i)] =
          t.at(order[static_cast<std::size_t>(i / 3)] * 3 + i % 3);
    }
    return out;
  };
  q.x = permuted(p.x);
  q.dout = permuted(p.dout);
  const Results a = run(p, GetParam());
  const Results b = run(q, GetParam());
  EXPECT_LT(relative_difference(b.out, permuted(a.out)), 1e-14);
  EXPECT_LT(relative_difference(b.dx, permuted(a.dx)), 1e-13);
  EXPECT_LT(relative_difference(b.dgamma, a.dgamma), 1e-13);
}

// --- orders and mixes ------------------------------------------------------------------------------------------------

// d^k/dt^k <BN(x + t v), w> at t = 0, for k = 1 .. 4.
std::vector<double> along(BatchNormKernel kernel, const Shape& shape, double eps) {
  Tape tape;
  const Var t = tape.leaf(Tensor::zeros({}, DType::f64));
  const Var gamma = tape.leaf(samples({shape[1]}, 3));
  const Var x = tape.leaf(samples(shape)) + t * tape.leaf(samples(shape, 1));
  Var y = sum(batch_norm(x, gamma, gamma, with(kernel, eps)) * tape.leaf(samples(shape, 2)));
  std::vector<double> out;
  for (int k = 0; k < 4; ++k) out.push_back((y = grad(y, t)).value().item());
  return out;
}

TEST(BatchNorm, T27T28OrdersTwoToFourAgree) {
  for (const Shape& shape : {Shape{5, 3}, Shape{3, 2, 4}}) {
    for (const double eps : {1e-5, 0.5, 0.0}) {
      const std::vector<double> staged = along(BatchNormKernel::staged, shape, eps);
      const std::vector<double> fused = along(BatchNormKernel::fused, shape, eps);
      for (std::size_t k = 0; k < 4; ++k) {
        EXPECT_NEAR(fused[k], staged[k], 1e-10 * std::max(1.0, std::abs(staged[k]))) << "order " << k + 1;
        EXPECT_GT(std::abs(staged[k]), 1e-6) << "proves nothing";
      }
    }
  }
}

TEST(BatchNorm, T27T28OrdersAreTheSlopesOfTheOrderBelow) {
  const auto orders = [](double t0) {
    Tape tape;
    const Var t = tape.leaf(Tensor::full({}, t0, DType::f64));
    const Var x = tape.leaf(samples({5, 3})) + t * tape.leaf(samples({5, 3}, 1));
    Var y = sum(batch_norm(x, {}, {}, with(BatchNormKernel::fused)) * tape.leaf(samples({5, 3}, 2)));
    std::vector<double> out{y.value().item()};
    for (int k = 0; k < 4; ++k) out.push_back((y = grad(y, t)).value().item());
    return out;
  };
  const double h = 1e-5;
  const std::vector<double> at = orders(0.2);
  const std::vector<double> above = orders(0.2 + h);
  const std::vector<double> below = orders(0.2 - h);
  for (std::size_t k = 0; k < 4; ++k) {
    EXPECT_NEAR((above[k] - below[k]) / (2 * h), at[k + 1], 1e-6 * std::max(1.0, std::abs(at[k + 1]))) << k + 1;
  }
}

TEST(BatchNorm, T28MixesOfForwardAndReverse) {
  const auto mixes = [](BatchNormKernel kernel) {
    Tape tape;
    const Var x = tape.leaf(samples({6, 3}));
    const Var gamma = tape.leaf(samples({3}, 1));
    const Var v = tape.leaf(samples({6, 3}, 2));
    const Var w = tape.leaf(samples({6, 3}, 3));
    const Var y = batch_norm(x, gamma, gamma, with(kernel));
    const Var loss = sum(y * y * w);
    const Var dx = grad(loss, x);
    const Var reverse_reverse = grad(sum(dx * v), x);
    const Var forward_reverse = jvp(dx, x, v);
    const Var forward = jvp(y, x, v);
    const Var reverse_forward = grad(sum(forward * w), x);
    const Var forward_forward = jvp(forward, x, v);
    const Var mixed = grad(sum(grad(loss, gamma) * tape.leaf(samples({3}, 4))), x);
    const Var third = grad(sum(square(reverse_reverse)), gamma);
    EXPECT_LT(relative_difference(forward_reverse.value(), reverse_reverse.value()), 1e-12) << "the Hessian";
    return std::vector<Tensor>{reverse_reverse.value(), forward.value(), reverse_forward.value(),
                               forward_forward.value(), mixed.value(),   third.value()};
  };
  const std::vector<Tensor> staged = mixes(BatchNormKernel::staged);
  const std::vector<Tensor> fused = mixes(BatchNormKernel::fused);
  for (std::size_t i = 0; i < staged.size(); ++i) EXPECT_LT(relative_difference(fused[i], staged[i]), 1e-11) << i;
}

// --- gradcheck
// ---------------------------------------------------------------------------------------------------------

TEST_P(Derivatives, T10T27GradcheckOfEveryCombination) {
  for (const Shape& shape : {Shape{5, 3}, Shape{3, 2, 4}, Shape{2, 2, 2, 3}}) {
    for (const int axis : {1, -1}) {
      const std::int64_t channels = shape[axis < 0 ? shape.rank() - 1 : axis];
      for (const double eps : {1e-5, 0.3, 0.0}) {
        BatchNormOptions options = with(GetParam(), eps);
        options.channel_axis = axis;
        const Tensor x = samples(shape);
        const Tensor gamma = samples({channels}, 1);
        const Tensor beta = samples({channels}, 2);
        // Not linear in the parameters, so that their second derivatives are there to be checked.
        const auto loss = [](const Var& y, const Var& in) { return tanh(y) * sigmoid(in); };
        const auto expect_right = [&](const GradcheckReport& report) { EXPECT_TRUE(report.passed()) << report.text(); };
        expect_right(gradcheck([&](Var a) { return loss(batch_norm(a, {}, {}, options), a); }, {x}));
        expect_right(gradcheck([&](Var a, Var g) { return loss(batch_norm(a, g, {}, options), a); }, {x, gamma}));
        expect_right(gradcheck([&](Var a, Var b) { return loss(batch_norm(a, {}, b, options), a); }, {x, beta}));
        expect_right(
            gradcheck([&](Var a, Var g, Var b) { return loss(batch_norm(a, g, b, options), a); }, {x, gamma, beta}));
      }
    }
  }
}

TEST(BatchNorm, T11EvalTakesStatisticsAsConstants) {
  for (const std::int64_t n : {1, 5}) {
    const Tensor x = samples({n, 3});
    const Tensor gamma = samples({3}, 1);
    const Tensor beta = samples({3}, 2);
    const Tensor mean = samples({3}, 3);
    const Tensor variance = Tensor::of<double>({3}, {1e-4, 1, 1e4});
    const auto f = [&](Var a, Var g, Var b) {
      return tanh(batch_norm_eval(a, a.tape().leaf(mean), a.tape().leaf(variance), g, b));
    };
    const GradcheckReport report = gradcheck(f, {x, gamma, beta});
    EXPECT_TRUE(report.passed()) << report.text();

    Tape tape;
    const Var input = tape.leaf(x);
    const Var m = tape.leaf(mean);
    const Var v = tape.leaf(variance);
    const Var g = tape.leaf(gamma);
    const Vars d = grad(sum(batch_norm_eval(input, m, v, g, tape.leaf(beta))), {input, g, m, v});
    for (std::int64_t c = 0; c < 3; ++c) {
      const double ivar = 1 / std::sqrt(variance.at(c) + 1e-5);
      EXPECT_NEAR(d[0].value().at(c) / (gamma.at(c) * ivar), 1, 1e-14);
      double dgamma = 0;
      for (std::int64_t i = 0; i < n; ++i) dgamma += (x.at(3 * i + c) - mean.at(c)) * ivar;
      EXPECT_NEAR(d[1].value().at(c) / dgamma, 1, 1e-12);
      EXPECT_EQ(d[2].value().at(c), 0);
      EXPECT_EQ(d[3].value().at(c), 0);
    }
  }
}

TEST(BatchNorm, T12ANodeKeepsItsMode) {
  Tape tape;
  const Var x = tape.leaf(samples({5, 2}));
  const Var w = tape.leaf(samples({5, 2}, 1));
  const Var statistic = tape.leaf(Tensor::full({2}, 2, DType::f64));
  const Var trained = batch_norm(x, {}, {});
  const Var before = grad(sum(trained * w), x);
  const Var evaluated = batch_norm_eval(x, statistic, statistic, {}, {});
  EXPECT_TRUE(identical(grad(sum(trained * w), x).value(), before.value()));
  EXPECT_NEAR(grad(sum(evaluated * w), x).value().at(0), w.value().at(0) / std::sqrt(2 + 1e-5), 1e-15);
}

TEST_P(Derivatives, T31VacuousChecksAreRefused) {
  const auto verdict = [&](const Shape& shape, auto loss) {
    const GradcheckReport report =
        gradcheck([&](Var x) { return loss(batch_norm(x, {}, {}, with(GetParam()))); }, {samples(shape)}, {.order = 1});
    EXPECT_FALSE(report.passed());
    return report.entries[0].verdict;
  };
  EXPECT_EQ(verdict({6, 3}, [](Var y) { return sum(y); }), GradcheckVerdict::vacuous) << "upstream ones";
  EXPECT_EQ(verdict({6, 3}, [](Var y) { return sum(square(y)); }), GradcheckVerdict::vacuous);
  EXPECT_EQ(verdict({2, 3}, [](Var y) { return sum(y * y * y); }), GradcheckVerdict::vacuous) << "two values";
}

// Whoever asks for the gradient of every node asks for that of the literal that stands for an absent parameter.
TEST_P(Derivatives, OfEveryNode) {
  Tape tape;
  const Var x = tape.leaf(samples({4, 3}));
  const Var y = batch_norm(x, {}, {}, with(GetParam()));
  Vars nodes;
  for (NodeId id = 0; id < tape.size(); ++id) {
    // The moments of the fused kernel are counted in the rule of x, and say so.
    if (is_floating(tape.var(id).dtype()) && tape.node(id).row->name != "bn_moments") nodes.push_back(tape.var(id));
  }
  const Var w = tape.leaf(samples({4, 3}, 1));
  const Vars found = pullback(y, w, nodes);
  for (std::size_t i = 0; i < nodes.size(); ++i) EXPECT_EQ(found[i].shape(), nodes[i].shape());
  EXPECT_TRUE(identical(found[0].value(), pullback(y, w, x).value()));
}

// --- sums and linearity
// ------------------------------------------------------------------------------------------------

TEST_P(Derivatives, T35InputsUsedTwice) {
  Tape tape;
  const Var x = tape.leaf(samples({6, 3}));
  const Var gamma = tape.leaf(samples({3}, 1));
  const Var beta = tape.leaf(samples({3}, 2));
  const Var w = tape.leaf(samples({6, 3}, 3));
  const Var u = tape.leaf(samples({6, 3}, 4));
  const auto f = [&](const Var& a) { return sum(batch_norm(a, gamma, beta, with(GetParam())) * w); };
  const auto g = [&](const Var& a) { return sum(tanh(batch_norm(a * a, gamma, beta, with(GetParam()))) * u); };
  const Vars both = grad(f(x) + g(x), {x, gamma, beta});
  const Vars first = grad(f(x), {x, gamma, beta});
  const Vars second = grad(g(x), {x, gamma, beta});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_LT(relative_difference(both[i].value(), (first[i] + second[i]).value()), 1e-14) << i;
    EXPECT_GT(relative_difference(both[i].value(), first[i].value()), 1e-3) << i;
  }
  // One parameter as both, and the output normalised again.
  const GradcheckReport report = gradcheck(
      [&](Var a, Var p) {
        const Var y = batch_norm(a, p, p, with(GetParam()));
        return tanh(batch_norm(y * a, p, {}, with(GetParam())));
      },
      {samples({6, 3}), samples({3}, 1)});
  EXPECT_TRUE(report.passed()) << report.text();
}

TEST_P(Derivatives, T36LinearInTheCotangent) {
  for (const Shape& shape : kShapes) {
    const Problem p = problem(shape);
    Problem doubled = p;
    Problem other = problem(shape, DType::f64, 0.5, 2, 1);
    other.x = p.x;
    other.gamma = p.gamma;
    other.beta = p.beta;
    Problem total = p;
    for (std::size_t i = 0; i < static_cast<std::size_t>(p.x.numel()); ++i) {
      doubled.dout.mutable_data<double>()[i] *= -4;
      total.dout.mutable_data<double>()[i] += other.dout.data<double>()[i];
    }
    const Results a = run(p, GetParam());
    const Results b = run(other, GetParam());
    const Results twice = run(doubled, GetParam());
    const Results sum = run(total, GetParam());
    for (const auto part : {&Results::dx, &Results::dgamma, &Results::dbeta}) {
      Tensor scaled = (a.*part).clone();
      Tensor added = (a.*part).clone();
      for (std::size_t i = 0; i < static_cast<std::size_t>(scaled.numel()); ++i) {
        scaled.mutable_data<double>()[i] *= -4;
        added.mutable_data<double>()[i] += (b.*part).at(static_cast<std::int64_t>(i));
      }
      EXPECT_TRUE(identical(twice.*part, scaled)) << "powers of two scale to the bit";
      EXPECT_LT(relative_difference(sum.*part, added), 1e-13);
    }
  }
}

}  // namespace
}  // namespace ebb::test
