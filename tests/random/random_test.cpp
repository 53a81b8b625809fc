// Random numbers: the published vectors of Philox, and what the stream promises about its numbers.
#include <ebb/engine/random/philox.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <set>
#include <vector>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

// The vectors that Random123 ships (kat_vectors), philox4x32 with 10 rounds.
TEST(Philox, PublishedVectors) {
  EXPECT_EQ(philox({0, 0}, {0, 0, 0, 0}), (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f}, {f, f, f, f}), (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, IsAConstantExpression) { static_assert(philox({0, 0}, {0, 0, 0, 0})[0] == 0x6627e8d5); }

TEST(Random, WordsAreTheBlocksInOrder) {
  Random random(0);
  EXPECT_EQ(random.bits(), 0xe169c58d6627e8d5u);
  EXPECT_EQ(random.bits(), 0x9b00dbd8bc57ac4cu);
  const PhiloxBlock next = philox({0, 0}, {1, 0, 0, 0});
  EXPECT_EQ(random.bits(), std::uint64_t{next[1]} << 32 | next[0]);
}

TEST(Random, SeekReturnsToAnyWord) {
  Random random(7, 3);
  std::vector<std::uint64_t> words;
  for (int i = 0; i < 9; ++i) words.push_back(random.bits());
  for (std::size_t i = 9; i-- > 0;) {
    random.seek(i);
    EXPECT_EQ(random.bits(), words[i]) << i;
    EXPECT_EQ(random.position(), i + 1);
  }
}

TEST(Random, SeedsAndStreamsDiffer) {
  std::set<std::uint64_t> first;
  for (std::uint64_t seed = 0; seed < 10; ++seed) {
    for (std::uint64_t stream = 0; stream < 10; ++stream) first.insert(Random(seed, stream).bits());
  }
  EXPECT_EQ(first.size(), 100u);
}

// Fixed for good: a change of these numbers changes every seeded run of every user.
TEST(Random, NumbersAreTheSameOnEveryPlatform) {
  Random random(1);
  std::uint64_t hash = 14695981039346656037u;
  const auto take = [&](double x) { hash = (hash ^ std::bit_cast<std::uint64_t>(x)) * 1099511628211u; };
  for (int i = 0; i < 10000; ++i) take(random.normal());
  for (int i = 0; i < 1000; ++i) take(random.uniform(-1, 3));
  for (int i = 0; i < 1000; ++i) take(static_cast<double>(random.integer(i + 1)));
  EXPECT_EQ(hash, 0x5437af717837ffe3u) << std::hex << hash;
}

TEST(Random, UniformStaysBelowItsEnd) {
  Random random(2);
  const double lo = 1;
  const double hi = std::nextafter(1, 2);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) {
    EXPECT_EQ(random.uniform(lo, hi), 1.0);
    const double u = random.uniform();
    EXPECT_GE(u, 0);
    EXPECT_LT(u, 1);
    sum += u;
  }
  EXPECT_NEAR(sum / 20000, 0.5, 4 * 0.2887 / std::sqrt(20000.0));
  EXPECT_EQ(random.uniform(5, 5), 5);
}

TEST(Random, NormalHasItsMoments) {
  Random random(3);
  const int n = 200000;
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    m1 += x, m2 += x * x, m3 += x * x * x, m4 += x * x * x * x;
  }
  const double root = std::sqrt(static_cast<double>(n));
  EXPECT_NEAR(m1 / n, 0, 4 / root);
  EXPECT_NEAR(m2 / n, 1, 4 * std::sqrt(2) / root);
  EXPECT_NEAR(m3 / n, 0, 4 * std::sqrt(15) / root);
  EXPECT_NEAR(m4 / n, 3, 4 * std::sqrt(96) / root);
}

TEST(Random, QuantileInvertsTheDistribution) {
  for (double x = -8; x <= 5; x += 0.0625) {
    const double p = 0.5 * std::erfc(-x / std::sqrt(2.0));
    // What rounding p to a double does to x, and the algorithm's own error.
    const double density = std::exp(-x * x / 2) / std::sqrt(2 * 3.14159265358979323846);
    EXPECT_NEAR(normal_quantile(p), x, 3e-16 * p / density * 4 + 4e-15 * (1 + std::fabs(x))) << x;
  }
  EXPECT_EQ(normal_quantile(0.5), 0);
}

TEST(Random, IntegerIsEvenAndInRange) {
  Random random(4);
  std::array<int, 7> counts{};
  for (int i = 0; i < 70000; ++i) ++counts[static_cast<std::size_t>(random.integer(7))];
  for (int count : counts) EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0));
  // With 3 * 2^61 values a word taken modulo n would favour the lower third by a half.
  const std::int64_t n = std::int64_t{3} << 61;
  int lower = 0;
  for (int i = 0; i < 30000; ++i) lower += random.integer(n) < n / 3;
  EXPECT_NEAR(lower, 10000, 5 * std::sqrt(30000.0 * 2 / 9));
  EXPECT_EQ(random.integer(1), 0);
}

TEST(Random, PermutationsAreEven) {
  Random random(5);
  std::vector<std::int64_t> order = random.permutation(1000);
  std::ranges::sort(order);
  for (std::int64_t i = 0; i < 1000; ++i) EXPECT_EQ(order[static_cast<std::size_t>(i)], i);
  std::array<int, 27> counts{};
  for (int i = 0; i < 60000; ++i) {
    const auto p = random.permutation(3);
    ++counts[static_cast<std::size_t>(p[0] * 9 + p[1] * 3 + p[2])];
  }
  int seen = 0;
  for (int count : counts) {
    if (count == 0) continue;
    ++seen;
    EXPECT_NEAR(count, 10000, 5 * std::sqrt(10000.0));
  }
  EXPECT_EQ(seen, 6);
  EXPECT_TRUE(random.permutation(0).empty());
}

TEST(Random, FillsTensors) {
  Random random(6);
  Tensor x = Tensor::empty({1000}, DType::f32);
  const Tensor before = x;
  random.fill_uniform(x, 2, 3);
  EXPECT_FALSE(x.shares_buffer_with(before));
  for (float v : x.data<float>()) EXPECT_TRUE(v >= 2 && v < 3) << v;
  Tensor narrow = Tensor::empty({1000}, DType::f32);
  random.fill_uniform(narrow, 1, std::nextafterf(1, 2));
  for (float v : narrow.data<float>()) EXPECT_EQ(v, 1);
  // f32 and f64 draw the same numbers, rounded.
  Tensor single = Tensor::empty({64}, DType::f32);
  Tensor twin = Tensor::empty({64}, DType::f64);
  Random(9).fill_normal(single, 1, 2);
  Random(9).fill_normal(twin, 1, 2);
  EXPECT_TRUE(identical(single, twin.to(DType::f32)));
  Tensor none = Tensor::empty({0}, DType::f64);
  random.fill_normal(none);
}

TEST(Random, Errors) {
  Random random(0);
  EXPECT_EQ(thrown<UsageError>([&] { random.integer(0); }), "integer: n must be positive, got 0.");
  EXPECT_EQ(thrown<UsageError>([&] { random.permutation(-1); }), "permutation: n must not be negative, got -1.");
  Tensor counts = Tensor::empty({3}, DType::i64);
  EXPECT_EQ(thrown<DTypeError>([&] { random.fill_uniform(counts); }),
            "fill_uniform: only floating tensors can be filled, got i64[3].");
  EXPECT_EQ(thrown<DTypeError>([&] { random.fill_normal(counts); }),
            "fill_normal: only floating tensors can be filled, got i64[3].");
  EXPECT_EQ(random.position(), 0u);
}

}  // namespace
}  // namespace ebb
