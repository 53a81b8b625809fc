#include <ebb/engine/check/tolerance.h>
#include <gtest/gtest.h>

#include <cmath>

namespace ebb {
namespace {

TEST(Tolerance, UlpIsTheDistanceToTheNextNumber) {
  for (const double x : {1.0, 1.5, 1.9999999, 2.0, 3e-30, 7e20, 1e-300}) {
    EXPECT_EQ(ulp_of(DType::f64, x), std::nextafter(x, 1e308) - x) << x;
    EXPECT_EQ(ulp_of(DType::f64, -x), ulp_of(DType::f64, x)) << x;
  }
  for (const float x : {1.0F, 1.5F, 3e-30F, 7e20F}) {
    EXPECT_EQ(ulp_of(DType::f32, static_cast<double>(x)),
              static_cast<double>(std::nextafterf(x, 1e38F)) - static_cast<double>(x));
  }
  EXPECT_EQ(ulp_of(DType::f32, 0), 0x1p-149);
  EXPECT_EQ(ulp_of(DType::i64, 5), 0);
  EXPECT_EQ(ulp_of(DType::f64, INFINITY), 0);
}

TEST(Tolerance, BatchNormGrowsWithTheMean) {
  const double rest = batch_norm_bound(DType::f32, 0, 4096, 1);
  EXPECT_LT(rest, 1e-5);
  // Measured: 8.8e-7 at 1e2, 8.8e-5 at 1e4, 6.7e-3 at 1e6, relative to an output of about 4 deviations.
  EXPECT_GT(batch_norm_bound(DType::f32, 1e4, 4096, 4), 8.8e-5);
  EXPECT_GT(batch_norm_bound(DType::f32, 1e6, 4096, 4), 6.7e-3);
  // Yet a mean by n - 1 instead of n is found: 1 / 4096 of the mean shifts the output by that much.
  EXPECT_LT(batch_norm_bound(DType::f32, 100, 4096, 4), 100.0 / 4096 / 10);
  EXPECT_EQ(batch_norm_bound(DType::f32, -10, 60, 1), batch_norm_bound(DType::f32, 10, 60, 1));
  EXPECT_LT(batch_norm_bound(DType::f64, 1e6, 1000000, 1), 1e-8);
}

TEST(Tolerance, ReductionsInF32DoNotGrowWithTheLength) {
  EXPECT_EQ(reduction_bound(DType::f32, 64, 10, 1), reduction_bound(DType::f32, 64, 1000000000, 1));
  EXPECT_GT(reduction_bound(DType::f64, 64, 1000000000, 1), reduction_bound(DType::f64, 64, 10, 1));
}

}  // namespace
}  // namespace ebb
