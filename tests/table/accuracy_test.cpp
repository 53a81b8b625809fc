// The stated error of every op of one number, over all numbers.
//
// In f32 each of the 2^32 can be tried: what should come out is the f64 lane's result, whose own error is checked
// against long double on a dense sample first. A usual run takes every 4099th; with EBB_ALL_FLOATS in the environment,
// which names ops (exp,log) or is "all", it takes all, prints the largest error of each op and where it is, and lasts
// most of a minute for each.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <random>
#include <thread>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

Lane lane_for(const Row& row, DType dtype, std::size_t isa) {
  return row.lanes[isa]->by_dtype[static_cast<std::size_t>(dtype)];
}

void run(Lane lane, const void* in, void* out, std::size_t n) {
  LaneCall call;
  call.in[0] = in;
  call.out = out;
  call.n = static_cast<std::int64_t>(n);
  call.steps = 1;
  lane(call);
}

std::vector<std::size_t> sets() {
  std::vector<std::size_t> out;
  for (std::size_t isa = 0; isa < kIsaCount; ++isa) {
    if (supported(Isa(isa))) out.push_back(isa);
  }
  return out;
}

template <class F>
void for_each_function(F f) {
  for (const Row* row : all_rows()) {
    if (!row->oracle || row->arity != 1 || row->signature != Signature::same) continue;
    if (!lane_for(*row, DType::f32, 0)) continue;
    SCOPED_TRACE(row->name);
    f(*row);
  }
}

// Every exponent, both signs, and where most functions bend.
std::vector<double> doubles() {
  std::mt19937_64 bits(11);
  const auto uniform = [&](double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(bits); };
  std::vector<double> x;
  for (int e = -1073; e <= 1024; ++e) {
    for (int i = 0; i < 40; ++i) x.push_back(std::ldexp(uniform(0.5, 1), e));
  }
  for (int i = 0; i < 40000; ++i) x.push_back(uniform(0, 45));
  for (int i = 0; i < 20000; ++i) x.push_back(uniform(45, 760));
  for (int i = 0; i < 20000; ++i) x.push_back(uniform(0.9, 1.1));
  for (std::size_t i = x.size(); i-- > 0;) x.push_back(-x[i]);
  return x;
}

TEST(Accuracy, OfDoublesOnADenseSample) {
  const std::vector<double> x = doubles();
  std::vector<double> out(x.size());
  for_each_function([&](const Row& row) {
    run(lane_for(row, DType::f64, sets().back()), x.data(), out.data(), x.size());
    int failures = 0;
    for (std::size_t i = 0; i < x.size() && failures < 5; ++i) {
      const long double wide = x[i];
      const long double want = row.oracle(&wide);
      if (within_ulp(out[i], want, want, row.ulp, DType::f64)) continue;
      ++failures;
      ADD_FAILURE() << "of " << x[i] << " is " << out[i] << ", should be " << static_cast<double>(want) << ": off by "
                    << static_cast<double>(std::abs(out[i] - want) / std::abs(want)) * 0x1p52 << " epsilon";
    }
  });
}

struct Worst {
  double ulp = 0;
  float at = 0;
};

// The largest error of floats from `begin` on, `step` bit patterns apart. Below the normal numbers an error counts in
// units of the smallest of them, as a bound does: results may be flushed to 0.
Worst worst_of(const Row& row, std::uint64_t begin, std::uint64_t end, std::uint64_t step, std::string& wrong) {
  constexpr std::size_t kBlock = 4096;
  const std::vector<std::size_t> isas = sets();
  std::vector<float> x(kBlock), out(kBlock), first(kBlock);
  std::vector<double> wide(kBlock), want(kBlock);
  Worst worst;
  for (std::uint64_t at = begin; at < end && wrong.empty();) {
    std::size_t n = 0;
    for (; n < kBlock && at < end; at += step) x[n++] = std::bit_cast<float>(static_cast<std::uint32_t>(at));
    for (std::size_t i = 0; i < n; ++i) wide[i] = static_cast<double>(x[i]);
    run(lane_for(row, DType::f64, isas.back()), wide.data(), want.data(), n);
    for (const std::size_t isa : isas) {
      run(lane_for(row, DType::f32, isa), x.data(), out.data(), n);
      if (isa == isas.front()) first = out;
      for (std::size_t i = 0; i < n; ++i) {
        if (std::bit_cast<std::uint32_t>(out[i]) == std::bit_cast<std::uint32_t>(first[i])) continue;
        if (out[i] != out[i] && first[i] != first[i]) continue;
        wrong = "has other bits on " + std::string(kIsaNames[isa]) + " at " + std::to_string(x[i]);
      }
    }
    for (std::size_t i = 0; i < n; ++i) {
      const double got = static_cast<double>(first[i]);
      if (got == want[i] || (got != got && want[i] != want[i])) continue;
      double error = std::numeric_limits<double>::infinity();
      if (std::abs(want[i]) < 0x1p-126) {
        error = std::abs(got - want[i]) / 0x1p-126;
      } else if (std::abs(got) <= 0x1.fffffep127 && std::abs(want[i]) <= 0x1.fffffep127) {
        const std::uint64_t exponent = std::bit_cast<std::uint64_t>(want[i]) & 0x7ff0000000000000;
        error = std::abs(got - want[i]) / (std::bit_cast<double>(exponent) * 0x1p-23);
      } else if (std::abs(want[i]) >= 0x1.ffffffp127 && std::isinf(got) && (got > 0) == (want[i] > 0)) {
        error = 0;  // overflow, both
      }
      if (error > worst.ulp) worst = {error, x[i]};
    }
  }
  return worst;
}

TEST(Accuracy, OfFloats) {
  const char* const wish = std::getenv("EBB_ALL_FLOATS");
  const bool all = wish != nullptr;
  const std::string wanted = all ? "," + std::string(wish) + "," : "";
  for_each_function([&](const Row& row) {
    if (all && wanted != ",all," && wanted.find("," + std::string(row.name) + ",") == std::string::npos) return;
    std::string wrong[2];
    Worst worst[2];
    const std::uint64_t step = all ? 1 : 4099;
    std::thread other([&] { worst[1] = worst_of(row, 0x80000000, 0x100000000, step, wrong[1]); });
    worst[0] = worst_of(row, 0, 0x80000000, step, wrong[0]);
    other.join();
    const Worst& most = worst[0].ulp > worst[1].ulp ? worst[0] : worst[1];
    EXPECT_EQ(wrong[0] + wrong[1], "");
    EXPECT_LE(most.ulp, row.ulp) << "at " << most.at;
    if (all) {
      std::printf("%-12s %.4f ulp at %.9g (stated %.1f)\n", std::string(row.name).c_str(), most.ulp,
                  static_cast<double>(most.at), row.ulp);
      std::fflush(stdout);
    }
  });
}

// Of two numbers a sample must do: bases of every exponent, exponents that keep the power a number.
template <class T>
void check_powers() {
  const Row& row = *find_row("pow");
  std::mt19937_64 bits(19);
  const auto uniform = [&](double lo, double hi) { return std::uniform_real_distribution<double>(lo, hi)(bits); };
  std::vector<T> a, b;
  for (int i = 0; i < 100000; ++i) {
    const bool near_one = i % 4 == 0;
    const int e = static_cast<int>(uniform(std::numeric_limits<T>::min_exponent, std::numeric_limits<T>::max_exponent));
    const double base = near_one ? 1 + uniform(-1, 1) * std::exp2(uniform(-20, -1)) : std::ldexp(uniform(0.5, 1), e);
    a.push_back(static_cast<T>(base));
    const double reach = std::numeric_limits<T>::max_exponent / std::max(1e-6, std::abs(std::log2(base)));
    b.push_back(static_cast<T>(uniform(-1.05, 1.05) * reach));
    if (i % 8 == 1) {
      a.back() = -a.back();
      b.back() = std::nearbyint(b.back());
    }
  }
  for (const std::size_t isa : sets()) {
    std::vector<T> out(a.size());
    LaneCall call;
    call.in = {a.data(), b.data()};
    call.out = out.data();
    call.n = static_cast<std::int64_t>(a.size());
    call.steps = 3;
    lane_for(row, dtype_of<T>, isa)(call);
    int failures = 0;
    for (std::size_t i = 0; i < a.size() && failures < 5; ++i) {
      const long double x[2] = {a[i], b[i]};
      const long double want = row.oracle(x);
      if (within_ulp(static_cast<double>(out[i]), want, want, row.ulp, dtype_of<T>)) continue;
      ++failures;
      ADD_FAILURE() << "pow(" << a[i] << ", " << b[i] << ") is " << out[i] << ", should be "
                    << static_cast<double>(want) << ": off by "
                    << static_cast<double>(std::abs(static_cast<long double>(out[i]) - want) / std::abs(want) /
                                           static_cast<long double>(std::numeric_limits<T>::epsilon()))
                    << " epsilon on " << kIsaNames[isa];
    }
  }
}

TEST(Accuracy, OfPowers) {
  check_powers<float>();
  check_powers<double>();
}

}  // namespace
}  // namespace ebb::test
