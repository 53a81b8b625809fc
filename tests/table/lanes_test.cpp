// The lanes of every instruction set this CPU has, called directly, for what check_row cannot know of a row: special
// values, and the stated error over the whole range and not only the domain. Tails and held operands are its business.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <random>

#include "tests/table/table.h"

namespace ebb::test {
namespace {

template <class T>
std::string show(T x) {
  char text[64];
  std::snprintf(text, sizeof text, "%.17g", static_cast<double>(x));
  return text;
}

// Calls f(row, lane, isa) for every lane of T.
template <class T, class F>
void for_each_lane(F f) {
  for (const Row* row : all_rows()) {
    if (!row->oracle) continue;
    for (std::size_t isa = 0; isa < kIsaCount; ++isa) {
      if (!supported(Isa(isa))) continue;
      const Lane lane = row->lanes[isa]->by_dtype[static_cast<std::size_t>(dtype_of<T>)];
      if (!lane) continue;
      SCOPED_TRACE(std::string(row->name) + " " + std::string(name(dtype_of<T>)) + " " + std::string(kIsaNames[isa]));
      f(*row, lane, isa);
    }
  }
}

std::size_t arity_of(const Row& row) { return static_cast<std::size_t>(row.arity); }

// One run of n elements; an input advances where its bit of `steps` is set.
LaneCall run_of(const void* const* in, std::size_t arity, void* out, std::int64_t n, unsigned steps) {
  LaneCall call;
  std::copy_n(in, arity, call.in.begin());
  call.out = out;
  call.n = n;
  call.steps = steps;
  return call;
}

// The oracle is libm in long double, which follows IEEE 754 and C's Annex F.
template <class T>
void check_special() {
  using Limits = std::numeric_limits<T>;
  const T special[] = {T(0),
                       -T(0),
                       T(1),
                       T(-1),
                       Limits::infinity(),
                       -Limits::infinity(),
                       Limits::quiet_NaN(),
                       Limits::min(),
                       -Limits::min(),
                       Limits::denorm_min(),
                       -Limits::denorm_min(),
                       Limits::min() / 2,
                       Limits::max(),
                       Limits::lowest(),
                       Limits::epsilon(),
                       -Limits::epsilon(),
                       T(1e-4),
                       T(1e4),
                       T(-1e4),
                       T(88.8),
                       T(-87.5),
                       T(709.9),
                       T(-708.5),
                       T(20),
                       T(-20)};
  for_each_lane<T>([&](const Row& row, Lane lane, std::size_t) {
    if (row.signature != Signature::same) return;
    for (const T a : special) {
      for (const T b : special) {
        if (row.arity == 1 && &b != &special[0]) continue;
        const T x[2] = {a, b};
        const void* in[2] = {&x[0], &x[1]};
        T got = 0;
        lane(run_of(in, arity_of(row), &got, 1, (1U << row.arity) - 1));
        const long double wide[2] = {static_cast<long double>(a), static_cast<long double>(b)};
        const long double want = row.oracle(wide);
        const std::string call = std::string(row.name) + "(" + show(a) + (row.arity == 2 ? ", " + show(b) : "") + ")";
        EXPECT_TRUE(within_ulp(static_cast<double>(got), want, want, row.ulp, dtype_of<T>))
            << call << " is " << show(got) << ", should be " << show(want);
        if (want == 0 && got == 0) {
          EXPECT_EQ(std::signbit(got), std::signbit(want)) << call;
        }
      }
    }
  });
}

TEST(Lanes, SpecialValues) {
  check_special<float>();
  check_special<double>();
}

TEST(Lanes, ComparisonsOfSpecialValues) {
  const double nan = std::nan("");
  const double inf = std::numeric_limits<double>::infinity();
  const double values[] = {0.0, -0.0, 1.0, inf, -inf, nan};
  for_each_lane<double>([&](const Row& row, Lane lane, std::size_t) {
    if (row.signature != Signature::predicate) return;
    for (const double a : values) {
      for (const double b : values) {
        const void* in[2] = {&a, &b};
        bool got = false;
        lane(run_of(in, arity_of(row), &got, 1, (1U << row.arity) - 1));
        const long double x[2] = {a, b};
        EXPECT_EQ(got, row.oracle(x) != 0) << row.name << "(" << a << ", " << b << ")";
      }
    }
  });
}

// What a reduction of numbers computes, and elements whose result stays in range.
struct Fold {
  long double start;
  long double (*step)(long double, long double);
  double lo = -100, hi = 100;
};
const std::map<std::string_view, Fold>& folds() {
  static const auto add = [](long double a, long double b) { return a + b; };
  static const std::map<std::string_view, Fold> table{
      {"sum", {0, add}},
      {"mean", {0, add}},
      {"prod", {1, [](long double a, long double b) { return a * b; }, 0.95, 1.04}},
      {"max", {-INFINITY, [](long double a, long double b) { return std::max(a, b); }}},
      {"min", {INFINITY, [](long double a, long double b) { return std::min(a, b); }}},
  };
  return table;
}

template <class T>
void check_reducers() {
  std::mt19937_64 bits(17);
  for (const Row* row : all_rows()) {
    if (!folds().contains(row->name)) continue;
    const Fold& fold = folds().at(row->name);
    for (const std::int64_t n : {0, 1, 5, 15, 16, 17, 40, 1023, 1024, 1025, 5000}) {
      std::vector<T> x;
      for (std::int64_t i = 0; i < n * 37; ++i) {
        x.push_back(static_cast<T>(std::uniform_real_distribution<double>(fold.lo, fold.hi)(bits)));
      }
      std::vector<T> first;
      for (std::size_t isa = 0; isa < kIsaCount; ++isa) {
        if (!supported(Isa(isa))) continue;
        const Reducer* r = row->reducer[isa]->by_dtype[static_cast<std::size_t>(dtype_of<T>)];
        if (!r) continue;
        SCOPED_TRACE(std::string(row->name) + " " + std::string(kIsaNames[isa]) + " " + std::to_string(n));
        // One run, 37 columns of n rows, and the same elements as n runs of 37, of which the last two are left out.
        std::vector<double> cells(39);
        r->init(cells.data(), 39);
        r->run(x.data(), 1, 0, 1, n, n, cells.data());
        r->columns(x.data(), n, 37, 37, cells.data() + 1);
        r->run(x.data(), 1, 0, n, 37, 35, cells.data() + 38);
        // Ten runs of n, and ten times three: each cell as it is by itself.
        for (const std::int64_t runs : {1, 3}) {
          std::vector<double> alone(10), beside(10);
          r->init(alone.data(), 10);
          r->init(beside.data(), 10);
          for (std::int64_t k = 0; k < 10; ++k) r->run(x.data() + k * n, 1, 0, runs, 10 * n, n, alone.data() + k);
          r->run(x.data(), 10, n, runs, 10 * n, n, beside.data());
          EXPECT_EQ(std::memcmp(alone.data(), beside.data(), sizeof(double) * 10), 0) << "runs differ side by side";
        }
        std::vector<T> out(39);
        r->finish(cells.data(), 39, std::max<std::int64_t>(n, 1), out.data());
        if (isa == 0) first = out;
        EXPECT_EQ(std::memcmp(first.data(), out.data(), sizeof(T) * out.size()), 0)
            << "the bits differ from those of base";
        for (std::int64_t c = -1; c < 38; ++c) {
          long double want = fold.start;
          long double scale = 0;
          long double count = 0;
          const auto take = [&](std::int64_t at) {
            const auto v = static_cast<long double>(x[static_cast<std::size_t>(at)]);
            want = fold.step(want, v);
            scale += std::abs(v);
            ++count;
          };
          for (std::int64_t i = 0; i < n; ++i) {
            if (c < 37) take(c < 0 ? i : i * 37 + c);
            for (std::int64_t k = 0; c == 37 && k < 35; ++k) take(i * 37 + k);
          }
          if (row->name == "mean") {
            want /= static_cast<long double>(std::max<std::int64_t>(n, 1));
            scale /= static_cast<long double>(std::max<std::int64_t>(n, 1));
          }
          if (row->name == "prod") scale = count * want;
          const T got = out[static_cast<std::size_t>(c + 1)];
          if (n == 0 && std::isinf(fold.start)) continue;
          const DType dtype = std::is_integral_v<T> ? DType::f64 : dtype_of<T>;
          ASSERT_TRUE(within_ulp(static_cast<double>(got), want, scale, row->ulp, dtype))
              << "column " << c << ": " << show(got) << ", should be " << show(want);
        }
      }
    }
  }
}

// A NaN reaches the result wherever it stands, and infinities of both signs make one.
template <class T>
void check_nan() {
  for (const Row* row : all_rows()) {
    if (!folds().contains(row->name)) continue;
    for (std::size_t isa = 0; isa < kIsaCount; ++isa) {
      if (!supported(Isa(isa))) continue;
      const Reducer* r = row->reducer[isa]->by_dtype[static_cast<std::size_t>(dtype_of<T>)];
      for (std::size_t at = 0; at < 45; ++at) {
        std::vector<T> x(45, T(1));
        x[at] = std::numeric_limits<T>::quiet_NaN();
        std::vector<double> cells(46);
        r->init(cells.data(), 46);
        r->run(x.data(), 1, 0, 1, 45, 45, cells.data());
        r->columns(x.data(), 1, 45, 45, cells.data() + 1);
        std::vector<T> out(46);
        r->finish(cells.data(), 46, 45, out.data());
        EXPECT_TRUE(std::isnan(out[0])) << row->name << " " << kIsaNames[isa] << " " << at;
        for (std::size_t c = 0; c < 45; ++c) {
          EXPECT_EQ(std::isnan(out[c + 1]), c == at) << row->name << " " << kIsaNames[isa] << " " << at;
        }
      }
    }
  }
}

TEST(Lanes, EveryReductionOfNumbersIsFolded) {
  for (const Row* row : all_rows()) {
    // Cells of several words hold more than a fold; their bits are compared in tests/lanes, their values as rows.
    const bool of_numbers =
        row->reducer[0] && row->reducer[0]->by_dtype[0] && row->reducer[0]->by_dtype[0]->cell_words == 1;
    EXPECT_TRUE(!of_numbers || folds().contains(row->name)) << row->name;
  }
}

TEST(Lanes, ReducersPassNan) {
  check_nan<float>();
  check_nan<double>();
}

TEST(Lanes, Reducers) {
  check_reducers<float>();
  check_reducers<double>();
  check_reducers<std::int64_t>();
}

}  // namespace
}  // namespace ebb::test
