// The fused batchnorm's kernels against long double, over shapes that reach every tail, layout and
// cut; the traps of BATCHNORM.md (T17-T19, T23, T59); and the promise of equal bits for any number
// of threads. `ctest` runs the whole file once per instruction set through EBB_ISA; the lanes of
// each set are also called directly.
#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/batch_norm/fused_kernels.h>
#include <ebb/ops/batch_norm/fused_lanes.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace ebb::fused {
namespace {

using Real = long double;

template <class T>
struct Problem {
  Extent extent{};
  std::vector<T> x, ct, gamma, beta;
  double eps = 1e-5;

  std::size_t at(std::int64_t o, std::int64_t c, std::int64_t i) const {
    return static_cast<std::size_t>((o * extent.channels + c) * extent.inner + i);
  }
};

template <class T>
Problem<T> make_problem(Extent extent, double mean = 0.5, double deviation = 1.0) {
  std::mt19937 random(7);
  std::normal_distribution<double> normal;
  Problem<T> p;
  p.extent = extent;
  for (std::int64_t i = 0; i < extent.elements(); ++i) {
    p.x.push_back(static_cast<T>(mean + deviation * normal(random)));
    p.ct.push_back(static_cast<T>(0.3 + normal(random)));
  }
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    p.gamma.push_back(static_cast<T>(1.0 + 0.3 * normal(random)));
    p.beta.push_back(static_cast<T>(normal(random)));
  }
  return p;
}

/// What the kernels give, or what they should give.
template <class T>
struct Result {
  std::vector<double> m, sums;
  std::vector<T> y, dx;
  double dx_size = 0;  // The largest term of dx: what its rounding is relative to.
};

template <class T>
Result<T> run(const Problem<T>& p, bool scalar = false) {
  const auto channels = static_cast<std::size_t>(p.extent.channels);
  Result<T> r{std::vector<double>(2 * channels, -1), std::vector<double>(2 * channels, -1),
              std::vector<T>(p.x.size(), T{-1}), std::vector<T>(p.x.size(), T{-1}), 0};
  bn_moments(p.x.data(), p.extent, r.m.data());
  bn_apply(p.x.data(), r.m.data(), p.gamma.data(), p.beta.data(), p.eps, p.extent, r.y.data());
  bn_sums(p.x.data(), r.m.data(), p.ct.data(), p.extent, r.sums.data(), scalar);
  bn_dx(p.x.data(), r.m.data(), p.gamma.data(), r.sums.data(), p.ct.data(), p.eps, p.extent, r.dx.data(), scalar);
  return r;
}

template <class T>
Result<Real> truth(const Problem<T>& p, bool scalar = false) {
  const auto channels = static_cast<std::size_t>(p.extent.channels);
  const auto n = static_cast<Real>(p.extent.per_channel());
  Result<Real> r{std::vector<double>(2 * channels), std::vector<double>(2 * channels), std::vector<Real>(p.x.size()),
                 std::vector<Real>(p.x.size()), 0};
  for (std::int64_t c = 0; c < p.extent.channels; ++c) {
    const auto k = static_cast<std::size_t>(c);
    const auto each = [&](auto f) {
      for (std::int64_t o = 0; o < p.extent.outer; ++o) {
        for (std::int64_t i = 0; i < p.extent.inner; ++i) f(p.at(o, c, i));
      }
    };
    Real mean = 0, var = 0, sum = 0, dot = 0;
    each([&](std::size_t i) { mean += p.x[i] / n; });
    Real rest = 0;
    each([&](std::size_t i) { rest += (p.x[i] - mean) / n; });
    mean += rest;
    each([&](std::size_t i) { var += (p.x[i] - mean) * (p.x[i] - mean) / n; });
    each([&](std::size_t i) {
      const Real g = p.ct[scalar ? 0 : i];
      sum += g;
      dot += g * (p.x[i] - mean);
    });
    const Real deviation = std::sqrt(var + static_cast<Real>(p.eps));
    const Real scale = deviation == 0 ? 0 : 1 / deviation;
    each([&](std::size_t i) {
      const Real g = p.ct[scalar ? 0 : i];
      r.dx_size = std::max(r.dx_size, static_cast<double>(std::abs(p.gamma[k] * scale * g)));
      r.y[i] = p.gamma[k] * (p.x[i] - mean) * scale + p.beta[k];
      r.dx[i] = p.gamma[k] * scale * (g - sum / n - (p.x[i] - mean) * scale * scale * dot / n);
    });
    r.m[k] = static_cast<double>(mean);
    r.m[channels + k] = static_cast<double>(var);
    r.sums[k] = static_cast<double>(sum);
    r.sums[channels + k] = static_cast<double>(dot);
  }
  return r;
}

/// The largest difference, relative to the largest value (or to `floor`).
template <class A, class B>
double difference(const std::vector<A>& a, const std::vector<B>& b, double floor = 0) {
  Real largest = floor, worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::abs(static_cast<Real>(b[i])));
    const Real d = std::abs(static_cast<Real>(a[i]) - static_cast<Real>(b[i]));
    if (!(d <= worst)) worst = d;
  }
  return worst == 0 ? 0 : static_cast<double>(worst / largest);
}

template <class T>
double unit() {
  return static_cast<double>(std::numeric_limits<T>::epsilon());
}

template <class T>
void expect_right(const Problem<T>& p, const std::string& what, bool scalar = false) {
  const Result<T> got = run(p, scalar);
  const Result<Real> want = truth(p, scalar);
  const double n = static_cast<double>(p.extent.per_channel());
  EXPECT_LT(difference(got.m, want.m), 16 * unit<T>()) << what;
  EXPECT_LT(difference(got.y, want.y, 1), 8 * unit<T>()) << what;
  EXPECT_LT(difference(got.sums, want.sums, n), 16 * unit<T>()) << what;
  EXPECT_LT(difference(got.dx, want.dx, want.dx_size), 16 * unit<T>()) << what;
}

const std::vector<Extent>& extents() {
  static const std::vector<Extent> list{
      {1, 1, 1},      {1, 5, 1},     {2, 3, 1},     {3, 16, 1},    {60, 100, 1},  {65, 17, 1},    {64, 1024, 1},
      {129, 1031, 1}, {2000, 33, 1}, {3000, 1, 1},  {9000, 70, 1}, {40, 2100, 1}, {600, 1100, 1}, {5, 3, 2},
      {1, 1, 7},      {8, 512, 49},  {3, 5, 16},    {70, 3, 15},   {16, 25, 196}, {2, 3, 9000},   {1, 2, 100003},
      {300, 2, 1000}, {60, 20, 130}, {2, 9, 20000}, {2, 70, 4097},
  };
  return list;
}

std::string name(Extent e) {
  std::ostringstream text;
  text << "[" << e.outer << ", " << e.channels << ", " << e.inner << "]";
  return text.str();
}

class FusedKernelsTest : public ::testing::Test {
 protected:
  FusedKernelsTest() : before_(threads()) { set_threads(2); }
  ~FusedKernelsTest() override { set_threads(before_); }

 private:
  int before_;
};

TEST_F(FusedKernelsTest, AgreeWithLongDouble) {
  for (const Extent e : extents()) {
    expect_right(make_problem<float>(e), "float " + name(e));
    expect_right(make_problem<double>(e), "double " + name(e));
  }
}

TEST_F(FusedKernelsTest, ScalarCotangent) {
  for (const Extent e : extents()) {
    expect_right(make_problem<float>(e), "float " + name(e), true);
    expect_right(make_problem<double>(e), "double " + name(e), true);
  }
}

TEST_F(FusedKernelsTest, SameBitsForAnyNumberOfThreads) {
  const auto same = [](const auto& a, const auto& b) {
    return std::memcmp(a.data(), b.data(), a.size() * sizeof(a[0])) == 0;
  };
  for (const Extent e : extents()) {
    const Problem<float> p = make_problem<float>(e);
    set_threads(1);
    const Result<float> one = run(p);
    for (const int n : {2, 8}) {
      set_threads(n);
      const Result<float> many = run(p);
      EXPECT_TRUE(same(one.m, many.m) && same(one.y, many.y) && same(one.sums, many.sums) && same(one.dx, many.dx))
          << name(e) << " with " << n << " threads";
    }
  }
}

TEST_F(FusedKernelsTest, LargeMean) {
  for (const Extent e : {Extent{60, 100, 1}, Extent{4096, 40, 1}, Extent{8, 20, 49}, Extent{9000, 70, 1}}) {
    for (const double mean : {1e4, -1e6}) {
      expect_right(make_problem<float>(e, mean), name(e) + " mean " + std::to_string(mean));
      // The input's own rounding is amplified by mean / deviation in no kernel: x is taken as it
      // is.
      expect_right(make_problem<float>(e, mean, 10), name(e));
    }
    Problem<double> p = make_problem<double>(e, 1e6);
    const Result<double> got = run(p);
    const Result<Real> want = truth(p);
    EXPECT_LT(difference(got.y, want.y, 1), 1e-9);
    EXPECT_LT(difference(got.dx, want.dx, want.dx_size), 1e-9);
  }
}

TEST_F(FusedKernelsTest, OutlierInAnyRow) {
  for (const Extent e : {Extent{60, 20, 1}, Extent{1000, 20, 1}, Extent{9000, 70, 1}, Extent{8, 20, 49}}) {
    for (const std::int64_t row : {std::int64_t{0}, e.outer / 2, e.outer - 1}) {
      Problem<float> p = make_problem<float>(e);
      for (std::int64_t c = 0; c < e.channels; ++c) p.x[p.at(row, c, 0)] = 1e4f;
      const Result<float> got = run(p);
      const Result<Real> want = truth(p);
      EXPECT_LT(difference(got.m, want.m), 1e-5) << name(e) << row;
      EXPECT_LT(difference(got.y, want.y, 1), 5e-6) << name(e) << row;
    }
  }
}

TEST_F(FusedKernelsTest, ConstantChannels) {
  for (const Extent e : {Extent{1, 40, 1}, Extent{3, 40, 1}, Extent{60, 40, 1}, Extent{9000, 70, 1}, Extent{6, 40, 49},
                         Extent{3, 2, 9000}}) {
    for (const float value : {0.0f, 0.1f, -12345.678f, 3e38f, 1e-40f}) {
      Problem<float> p = make_problem<float>(e);
      std::fill(p.x.begin(), p.x.end(), value);
      for (const double eps : {0.0, 1e-5}) {
        p.eps = eps;
        const Result<float> got = run(p);
        for (std::int64_t c = 0; c < e.channels; ++c) {
          const auto k = static_cast<std::size_t>(c);
          EXPECT_EQ(got.m[k], static_cast<double>(value));
          EXPECT_EQ(got.m[static_cast<std::size_t>(e.channels) + k], 0);
          EXPECT_EQ(got.y[p.at(e.outer - 1, c, e.inner - 1)], p.beta[k]);
          if (eps == 0) {
            EXPECT_EQ(got.dx[p.at(e.outer - 1, c, e.inner - 1)], 0);
          }
        }
      }
    }
  }
}

TEST_F(FusedKernelsTest, NothingToDo) {
  for (const Extent e : {Extent{0, 3, 1}, Extent{0, 3, 4}, Extent{5, 3, 0}, Extent{5, 0, 4}}) {
    const Result<float> got = run(make_problem<float>(e));
    EXPECT_EQ(got.m, std::vector<double>(static_cast<std::size_t>(2 * e.channels), 0.0));
    EXPECT_EQ(got.sums, std::vector<double>(static_cast<std::size_t>(2 * e.channels), 0.0));
  }
}

TEST_F(FusedKernelsTest, NaNAndInfinityFillTheirChannelOnly) {
  for (const Extent e : {Extent{60, 20, 1}, Extent{9000, 70, 1}, Extent{8, 20, 49}}) {
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()}) {
      for (const std::int64_t row : {std::int64_t{0}, e.outer - 1}) {
        Problem<float> p = make_problem<float>(e);
        p.x[p.at(row, 3, 0)] = bad;
        const Result<float> got = run(p);
        for (std::int64_t o = 0; o < e.outer; ++o) {
          for (std::int64_t c = 0; c < e.channels; ++c) {
            const std::size_t i = p.at(o, c, e.inner / 2);
            ASSERT_EQ(std::isnan(got.y[i]), c == 3) << name(e) << " " << bad;
            ASSERT_EQ(std::isnan(got.dx[i]), c == 3) << name(e) << " " << bad;
          }
        }
      }
    }
  }
}

TEST_F(FusedKernelsTest, UnalignedMemoryAndNoWriteBeyond) {
  for (const Extent e : {Extent{3, 5, 1}, Extent{60, 100, 1}, Extent{9000, 70, 1}, Extent{100, 64, 49}}) {
    const Problem<float> p = make_problem<float>(e);
    const Result<float> want = run(p);
    const std::size_t size = p.x.size();
    for (const std::size_t shift : {1u, 3u, 8u}) {
      std::vector<float> x(size + 40, 9), y(size + 40, 9);
      std::memcpy(x.data() + shift, p.x.data(), size * sizeof(float));
      bn_apply(x.data() + shift, want.m.data(), p.gamma.data(), p.beta.data(), p.eps, e, y.data() + shift);
      EXPECT_EQ(std::memcmp(y.data() + shift, want.y.data(), size * sizeof(float)), 0);
      EXPECT_EQ(y[shift - 1], 9);
      EXPECT_EQ(y[shift + size], 9);
      bn_dx(x.data() + shift, want.m.data(), p.gamma.data(), want.sums.data(), p.ct.data(), p.eps, e, y.data() + shift);
      EXPECT_EQ(std::memcmp(y.data() + shift, want.dx.data(), size * sizeof(float)), 0);
      EXPECT_EQ(y[shift - 1], 9);
      EXPECT_EQ(y[shift + size], 9);
    }
  }
}

TEST_F(FusedKernelsTest, WithoutScaleAndShift) {
  Problem<float> p = make_problem<float>({60, 37, 1});
  std::fill(p.gamma.begin(), p.gamma.end(), 1.0f);
  std::fill(p.beta.begin(), p.beta.end(), 0.0f);
  const Result<float> want = run(p);
  std::vector<float> out(p.x.size());
  bn_apply<float>(p.x.data(), want.m.data(), nullptr, nullptr, p.eps, p.extent, out.data());
  EXPECT_EQ(out, want.y);
  bn_dx<float>(p.x.data(), want.m.data(), nullptr, want.sums.data(), p.ct.data(), p.eps, p.extent, out.data());
  EXPECT_EQ(out, want.dx);
}

/// Every set that this CPU has, called past the dispatcher.
template <class T>
void expect_lanes_right(const Lanes<T>& lanes, const std::string& set) {
  for (const Extent e : extents()) {
    if (e.elements() > 1000000) continue;
    const Problem<T> p = make_problem<T>(e);
    const Result<Real> want = truth(p);
    const std::int64_t piece = std::min<std::int64_t>(e.inner, 4096);
    for (const bool large : {false, true}) {
      const Part part{e.channels,
                      e.inner,
                      0,
                      e.channels,
                      0,
                      e.outer * ((e.inner + piece - 1) / piece),
                      (e.inner + piece - 1) / piece,
                      piece,
                      large,
                      large};
      Result<T> got{want.m, want.sums, std::vector<T>(p.x.size()), std::vector<T>(p.x.size()), 0};
      double* m = got.m.data();
      double* sums = got.sums.data();
      const std::int64_t n = lanes.moments(part, p.x.data(), m, m + e.channels);
      EXPECT_EQ(n, e.per_channel());
      lanes.merge_moments(m, &n, 1, e.channels, 0, e.channels, m, m + e.channels);
      const Channels<T> of{m, m + e.channels, p.gamma.data(), p.beta.data(), p.eps};
      lanes.apply(part, p.x.data(), of, got.y.data());
      lanes.sums(part, p.x.data(), m, {p.ct.data(), false}, sums, sums + e.channels);
      lanes.dx(part, p.x.data(), of, sums, sums + e.channels, static_cast<double>(n), {p.ct.data(), false},
               got.dx.data());
      EXPECT_LT(difference(got.m, want.m), 16 * unit<T>()) << set << name(e);
      EXPECT_LT(difference(got.y, want.y, 1), 8 * unit<T>()) << set << name(e);
      EXPECT_LT(difference(got.dx, want.dx, want.dx_size), 16 * unit<T>()) << set << name(e);
    }
  }
}

TEST_F(FusedKernelsTest, EveryInstructionSet) {
  expect_lanes_right(base::lanes<float>(), "base ");
  expect_lanes_right(base::lanes<double>(), "base ");
  if (supported(Isa::avx2)) {
    expect_lanes_right(avx2::lanes<float>(), "avx2 ");
    expect_lanes_right(avx2::lanes<double>(), "avx2 ");
  }
  if (supported(Isa::avx512)) {
    expect_lanes_right(avx512::lanes<float>(), "avx512 ");
    expect_lanes_right(avx512::lanes<double>(), "avx512 ");
  }
}

}  // namespace
}  // namespace ebb::fused
