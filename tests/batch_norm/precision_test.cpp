// How exact both kernels are: large means, long columns, outliers, tiny and huge variances, and what is not a number.
// The staged kernel rounds the mean to x's dtype in step 1, the fused one does not: the difference is asserted, since
// the documentation shows it.
#include <ebb/engine/check/tolerance.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/batch_norm/kernels.h"

namespace ebb::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

class Precision : public testing::TestWithParam<BatchNormKernel> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Precision, testing::ValuesIn(kKernels), [](const auto& k) { return name(k.param); });

TEST_P(Precision, T8EpsIsAddedToTheVariance) {
  for (const double eps : {0.0, 1e-12, 1e-3, 0.5, 100.0}) {
    Problem p = problem({7, 3});
    p.options.eps = eps;
    const Results got = run(p, GetParam());
    const Results want = truth(p);
    EXPECT_LT(relative_difference(got.out, want.out), 1e-14) << eps;
    EXPECT_LT(relative_difference(got.dx, want.dx), 1e-13) << eps;
    Tape tape;
    const BatchNormResult s = batch_norm_with_statistics(tape.leaf(p.x), {}, {}, p.options);
    Tensor variance = Tensor::zeros({3}, DType::f64);
    for (std::int64_t i = 0; i < 21; ++i) {
      variance.mutable_data<double>()[static_cast<std::size_t>(i % 3)] +=
          (p.x.at(i) - s.mean.value().at(i % 3)) * (p.x.at(i) - s.mean.value().at(i % 3)) / 7;
    }
    EXPECT_LT(relative_difference(s.variance.value(), variance), 1e-14) << "eps is never stored in the variance";
  }
}

// What T17 to T19 ask of both kernels: the fused one is right to 8 ulp whatever the mean, the staged one within a bound
// that grows with it.
void expect_exact(const Problem& p, BatchNormKernel kernel, double mean_over_deviation, const std::string& what,
                  double ulp = 8) {
  const Results got = run(p, kernel);
  const Results want = truth(p);
  if (kernel == BatchNormKernel::fused) {
    EXPECT_LE(worst_ulp(p, got.out, want.out), ulp) << what;
    EXPECT_LE(relative_difference(got.dx, want.dx), 32 * epsilon(p.x.dtype())) << what;
    for (std::int64_t c = 0; c < p.channels(); ++c) {  // relative to the sum of the terms' magnitudes, about n
      EXPECT_NEAR(got.dgamma.at(c), want.dgamma.at(c), ulp / 2 * epsilon(p.x.dtype()) * static_cast<double>(p.count()))
          << what;
    }
  } else {
    const double bound = batch_norm_bound(p.x.dtype(), mean_over_deviation, p.count(), 1);
    EXPECT_LE(relative_difference(got.out, want.out), 3 * bound) << what;
    EXPECT_LE(relative_difference(got.dx, want.dx), 3 * bound) << what;
  }
  EXPECT_LE(relative_difference(got.dbeta, want.dbeta), 64 * epsilon(p.x.dtype())) << what;
}

TEST_P(Precision, T17T18LargeMeans) {
  for (const Shape& shape : {Shape{60, 7}, Shape{3000, 5}, Shape{8, 20, 7, 7}, Shape{2, 3, 6000}}) {
    for (const double mean : {1e4, -1e5, 1e6}) {
      expect_exact(problem(shape, DType::f32, mean, 1), GetParam(), std::abs(mean),
                   to_string(shape) + " mean " + std::to_string(mean));
    }
    expect_exact(problem(shape, DType::f32, 1e4, 0.1), GetParam(), 1e5, to_string(shape) + " deviation 0.1");
  }
}

TEST(BatchNorm, T18TheMeanIsWhatTheStagedKernelRounds) {
  const Problem p = problem({60, 7}, DType::f32, 1e6, 1);
  const Results want = truth(p);
  const double staged = relative_difference(run(p, BatchNormKernel::staged).out, want.out);
  const double fused = relative_difference(run(p, BatchNormKernel::fused).out, want.out);
  EXPECT_GT(staged, 1e-4) << "better than documented";
  EXPECT_LT(staged, 5e-2);
  EXPECT_LT(fused, 1e-6);
}

TEST_P(Precision, T19LongColumns) {
  Problem p = problem({1 << 20, 2}, DType::f32);
  for (float& v : p.x.mutable_data<float>()) v = std::abs(v) / 4;  // one sign: naive f32 sums drift by 2e-5
  p.dout = samples(p.x.shape(), 5, DType::f32, 1, 0.1);
  expect_exact(p, GetParam(), 1.2, "2^20 rows");
}

TEST_P(Precision, T19AnOutlierInTheFirstRow) {
  for (const std::int64_t rows : {60, 5000}) {
    Problem p = problem({rows, 9}, DType::f32);
    for (std::size_t c = 0; c < 9; ++c) p.x.mutable_data<float>()[c] = 3e4f;
    expect_exact(p, GetParam(), 1, "first row of " + std::to_string(rows), 32);
  }
}

TEST_P(Precision, T29VarianceAndDeviationAreNotMixedUp) {
  for (const double deviation : {1e-2, 1e2}) {
    const Problem p = problem({50, 4}, DType::f64, 0.1 * deviation, deviation);
    const Results got = run(p, GetParam());
    const Results want = truth(p);
    EXPECT_LT(relative_difference(got.out, want.out), 1e-13) << deviation;
    EXPECT_LT(relative_difference(got.dx, want.dx), 1e-13) << deviation;
    EXPECT_LT(relative_difference(got.dgamma, want.dgamma), 1e-13) << deviation;
  }
}

TEST_P(Precision, T21CountsPast24Bits) {
  // A count in f32 stops at 2^24.
  const std::int64_t n = (1 << 24) + 3;
  Tape tape;
  BatchNormOptions options;
  options.kernel = GetParam();
  tape.step([&] {
    const BatchNormResult r = batch_norm_with_statistics(tape.leaf(Tensor::full({n, 1}, 3)), {}, {}, options);
    EXPECT_EQ(r.mean.value().item(), 3);
    EXPECT_EQ(r.variance.value().item(), 0);
  });
}

TEST(BatchNorm, T57SizesAre64Bit) {
  Tape tape(Tape::Mode::trace);
  const Var x = tape.leaf(Tensor::abstract({3, 70000, 50000}, DType::f32), "x");
  for (const BatchNormKernel kernel : kKernels) {
    BatchNormOptions options;
    options.kernel = kernel;
    const Var out = batch_norm(x, {}, {}, options);
    EXPECT_EQ(out.numel(), std::int64_t{3} * 70000 * 50000);
    EXPECT_EQ(grad(sum(square(out)), x).shape(), x.shape());
  }
}

TEST_P(Precision, T58ConstantColumns) {
  Problem p = problem({6, 2});
  for (std::int64_t i = 0; i < 12; i += 2) p.x.mutable_data<double>()[static_cast<std::size_t>(i)] = 0.1;
  const Results got = run(p, GetParam());
  EXPECT_NEAR(got.out.at(0), p.beta->at(0), 1e-12);
  // xhat is 0, ivar 1 / sqrt(eps): dx is the cotangent less its mean, times 316.
  EXPECT_LT(relative_difference(got.dx, truth(p).dx), 1e-12);
  EXPECT_GT(std::abs(got.dx.at(0)), 10);
}

TEST_P(Precision, T59NotFiniteFillsItsChannelAndNoOther) {
  for (const Shape& shape : {Shape{6, 3}, Shape{2000, 3}, Shape{4, 3, 5, 5}}) {
    for (const double bad : {kInf, -kInf, kNan}) {
      for (const DType dtype : {DType::f32, DType::f64}) {
        Problem p = problem(shape, dtype);
        const Results good = run(p, GetParam());
        std::int64_t at = p.x.numel() / 2;
        while (p.channel_of(at) != 1) ++at;
        Tensor x = p.x.to(DType::f64);
        x.mutable_data<double>()[static_cast<std::size_t>(at)] = bad;
        p.x = x.to(dtype);
        const Results got = run(p, GetParam());
        for (std::int64_t i = 0; i < p.x.numel(); ++i) {
          if (p.channel_of(i) == 1) {
            ASSERT_TRUE(std::isnan(got.out.at(i))) << bad << " " << i;
            ASSERT_TRUE(std::isnan(got.dx.at(i))) << bad << " " << i;
          } else {
            ASSERT_EQ(got.out.at(i), good.out.at(i));
            ASSERT_EQ(got.dx.at(i), good.dx.at(i));
          }
        }
        EXPECT_TRUE(std::isnan(got.dgamma.at(1)));
        EXPECT_EQ(got.dgamma.at(0), good.dgamma.at(0));
        EXPECT_EQ(got.dbeta.at(1), good.dbeta.at(1)) << "the shift knows nothing of x";
      }
    }
  }
}

TEST_P(Precision, T59MinusZeroAndDenormals) {
  Problem p = problem({8, 2}, DType::f32);
  Problem q = p;
  p.x.mutable_data<float>()[3] = 0.0f;
  q.x.mutable_data<float>()[3] = -0.0f;
  expect_identical(run(p, GetParam()), run(q, GetParam()), "-0 is 0");
  for (float& v : p.x.mutable_data<float>()) v *= 1e-40f;
  const Results tiny = run(p, GetParam());
  for (std::int64_t i = 0; i < 16; ++i) EXPECT_NEAR(tiny.out.at(i), p.beta->at(i % 2), 1e-30);
  EXPECT_LT(relative_difference(tiny.dx, truth(p).dx), 1e-5);
  p.options.eps = 0;  // the staged square underflows: by rule no deviation; nothing is NaN in either
  for (const Tensor& t : {run(p, GetParam()).out, run(p, GetParam()).dgamma}) {
    for (std::int64_t i = 0; i < t.numel(); ++i) EXPECT_TRUE(std::isfinite(t.at(i)));
  }
}

}  // namespace
}  // namespace ebb::test
