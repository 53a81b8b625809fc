// Reductions, scans and sorting: what the loops over the rows cannot say, which is conventions - ties, NaN, infinities,
// zeros, nothing at all - and compositions.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ebb {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

template <class T = double>
std::vector<T> values(const Var& x) {
  const auto data = x.value().data<T>();
  return {data.begin(), data.end()};
}
using D = std::vector<double>;
using I = std::vector<std::int64_t>;

struct Reductions : testing::Test {
  Tape tape;
  Var leaf(const D& list) {
    return tape.leaf(Tensor::from({static_cast<std::int64_t>(list.size())}, std::span<const double>(list)));
  }
  Var leaf(const Shape& shape, const D& list) { return tape.leaf(Tensor::from(shape, std::span<const double>(list))); }
  Var large(const Shape& shape) {
    Tensor t = Tensor::empty(shape, DType::f64);
    Random(1).fill_normal(t);
    return tape.leaf(t);
  }
  double item(const Var& x) { return x.value().at(0); }
};

// --- extrema ---------------------------------------------------------------------------------------------------------

TEST_F(Reductions, TiesShareTheGradientOrTheFirstTakesIt) {
  const Var x = leaf({2, 3}, {1, 5, 5, 5, 0, 5});
  EXPECT_EQ(values(grad(sum(max(x, 1)), x)), (D{0, 0.5, 0.5, 0.5, 0, 0.5}));
  EXPECT_EQ(values(grad(sum(max(x, 1, false, Ties::first)), x)), (D{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(values(grad(max(x, kAllAxes, false, Ties::first), x)), (D{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(values(grad(sum(min(-x, 0, true, Ties::first)), x)), (D{0, -1, -1, -1, 0, 0}));
}

TEST_F(Reductions, PlacesAreOfTheFirstExtremumInRowMajorOrder) {
  const Var x = leaf({2, 3}, {1, 5, 5, 5, 0, 0});
  EXPECT_EQ(argmax(x).item(), 1);
  EXPECT_EQ(argmin(x).item(), 4);
  EXPECT_EQ(values<std::int64_t>(argmax(x, 1)), (I{1, 0}));
  EXPECT_EQ(values<std::int64_t>(argmin(x, 0)), (I{0, 1, 1}));
  EXPECT_EQ(argmax(x, 0, true).shape(), (Shape{1, 3}));
}

// Over every kind of walk: short runs, long ones, a lone one in pieces, columns.
TEST_F(Reductions, NaNIsTheExtremumAndItsFirstPlaceWins) {
  for (const std::int64_t n : {5, 100, 5000, 300000}) {
    Tensor t = Tensor::zeros({n}, DType::f64);
    t.mutable_data<double>()[0] = kInf;
    t.mutable_data<double>()[static_cast<std::size_t>(n - 1)] = -kInf;
    for (const std::int64_t at : {n - 2, n / 2}) {  // the second is before the first
      t.mutable_data<double>()[static_cast<std::size_t>(at)] = kNaN;
      const Var x = tape.leaf(t);
      for (const Shape& shape : {Shape{n}, Shape{n, 1}, Shape{1, n}}) {
        EXPECT_TRUE(std::isnan(max(reshape(x, shape)).item()));
        EXPECT_TRUE(std::isnan(min(reshape(x, shape)).item()));
        EXPECT_EQ(argmax(reshape(x, shape)).item(), static_cast<double>(at)) << n;
        EXPECT_EQ(argmin(reshape(x, shape)).item(), static_cast<double>(at)) << n;
      }
      const Var columns = concat({reshape(x, {n, 1}), reshape(-x, {n, 1})}, 1);
      EXPECT_EQ(values<std::int64_t>(argmax(columns, 0)), (I{at, at})) << n;
    }
  }
  // Infinities alone still have a place.
  EXPECT_EQ(argmax(leaf({-kInf, -kInf})).item(), 0);
  EXPECT_EQ(argmin(leaf({kInf, kInf, -kInf})).item(), 2);
}

TEST_F(Reductions, ExtremaOfIntegers) {
  const Var x = tape.leaf(Tensor::of<std::int64_t>({4}, {3, -9007199254740993, 9007199254740993, 3}));
  EXPECT_EQ(max(x).value().data<std::int64_t>()[0], 9007199254740993);
  EXPECT_EQ(min(x).value().data<std::int64_t>()[0], -9007199254740993);
  EXPECT_EQ(prod(tape.leaf(Tensor::of<std::int64_t>({3}, {3, 3, 1000000007}))).value().data<std::int64_t>()[0],
            9000000063);
}

// --- products --------------------------------------------------------------------------------------------------------

TEST_F(Reductions, ProductsOfZerosHaveExactGradientsAtEveryOrder) {
  const Var one = leaf({2, 0, 3, 4});
  EXPECT_EQ(values(grad(prod(one), one)), (D{0, 24, 0, 0}));
  const Var two = leaf({2, 0, 3, 0});
  const Var d = grad(prod(two), two);
  EXPECT_EQ(values(d), (D{0, 0, 0, 0}));
  EXPECT_EQ(values(grad(sum(d), two)), (D{0, 6, 0, 6}));  // the mixed derivatives by the two zeros
  const Var table = leaf({2, 3}, {2, 0, 3, 4, 5, 6});
  EXPECT_EQ(values(grad(prod(table), table)), (D{0, 720, 0, 0, 0, 0}));
  EXPECT_EQ(values(grad(sum(prod(table, 1)), table)), (D{0, 6, 0, 30, 24, 20}));
}

TEST_F(Reductions, OverNothing) {
  const Var none = tape.leaf(Tensor::zeros({3, 0}, DType::f64));
  EXPECT_EQ(values(prod(none, 1)), (D{1, 1, 1}));
  EXPECT_EQ(prod(none).item(), 1);
  EXPECT_EQ(grad(prod(none), none).shape(), (Shape{3, 0}));
  const Var nothing = tape.leaf(Tensor::zeros({2, 0}, DType::boolean));
  EXPECT_EQ(values<bool>(any(nothing, 1)), (std::vector<bool>{false, false}));
  EXPECT_EQ(values<bool>(all(nothing, 1)), (std::vector<bool>{true, true}));
}

TEST_F(Reductions, AnyAndAllFindTheOneThatDecides) {
  for (const bool decides : {true, false}) {
    for (const std::int64_t at : {0, 4095, 69999}) {
      Tensor t = Tensor::full({70000}, decides ? 0 : 1, DType::boolean);
      t.mutable_data<bool>()[static_cast<std::size_t>(at)] = decides;
      const Var x = tape.leaf(t);
      EXPECT_EQ(values<bool>(decides ? any(x) : all(x))[0], decides);
      const Var table = reshape(x, {700, 100});
      for (const int axis : {0, 1}) {
        const std::int64_t kept = axis == 0 ? at % 100 : at / 100;
        const std::vector<bool> got = values<bool>(decides ? any(table, axis) : all(table, axis));
        for (std::size_t i = 0; i < got.size(); ++i) {
          EXPECT_EQ(got[i] == decides, static_cast<std::int64_t>(i) == kept) << axis << " " << i;
        }
      }
    }
  }
}

// --- moments ---------------------------------------------------------------------------------------------------------

TEST_F(Reductions, VarianceAndDeviation) {
  const Var x = leaf({2, 2}, {1, 3, 2, 2});
  EXPECT_EQ(values(var(x, 1)), (D{2, 0}));
  EXPECT_EQ(values(var(x, 1, {.correction = 0})), (D{1, 0}));
  EXPECT_EQ(var(x, -1, {.keepdim = true}).shape(), (Shape{2, 1}));
  EXPECT_EQ(values(ebb::std(x, 1, {.correction = 0})), (D{1, 0}));
  // Constant data: the slope is 0, not the NaN of 0 times infinity.
  EXPECT_EQ(values(grad(sum(ebb::std(x, 1, {.correction = 0})), x)), (D{-0.5, 0.5, 0, 0}));
  EXPECT_TRUE(std::isnan(ebb::std(leaf({1, kNaN})).item()));
}

TEST_F(Reductions, NormHasNoSlopeAtZero) {
  const Var x = leaf({2, 2}, {3, 4, 0, 0});
  EXPECT_EQ(values(norm(x, 1)), (D{5, 0}));
  EXPECT_EQ(values(grad(sum(norm(x, 1)), x)), (D{3 * 0.2, 4 * 0.2, 0, 0}));
  EXPECT_EQ(norm(leaf({kInf, 1})).item(), kInf);
}

// --- softmax ---------------------------------------------------------------------------------------------------------

TEST_F(Reductions, SoftmaxTakesInfinitiesAndLargeValues) {
  const Var x = leaf({2, 3}, {-kInf, 1000, 1000, -1e308, 0, -kInf});
  EXPECT_EQ(values(softmax(x)), (D{0, 0.5, 0.5, 0, 1, 0}));
  EXPECT_EQ(values(softmax(x + 1e15)), values(softmax(leaf({2, 3}, {-kInf, 1, 1, -1e308, 0, -kInf}))));
  EXPECT_EQ(values(log_softmax(x, 1))[1], -std::log(2.0));
  EXPECT_EQ(values(logsumexp(x, 1)), (D{1000 + std::log(2.0), 0}));
  EXPECT_EQ(logsumexp(leaf({-kInf, -kInf})).item(), -kInf);
  EXPECT_EQ(logsumexp(leaf({-kInf, kInf})).item(), kInf);
  const Var ct = leaf({2, 3}, {1, 2, 4, 1, 2, 4});
  const Var d = pullback(softmax(x), ct, x);
  EXPECT_EQ(values(d), (D{0, -0.5, 0.5, 0, 0, 0}));
  EXPECT_EQ(values(grad(sum(square(d)), x)), (D{0, 0, 0, 0, 0, 0}));  // finite where an entry is -inf
}

TEST_F(Reductions, SoftmaxOverSeveralAxes) {
  const Var x = large({3, 4, 5});
  const Var both = softmax(x, {0, 2});
  const Var flat = softmax(reshape(permute(x, {1, 0, 2}), {4, 15}), 1);
  for (const double total : values(sum(both, {0, 2}))) EXPECT_NEAR(total, 1, 1e-15);
  EXPECT_LT(max(norm(reshape(permute(both, {1, 0, 2}), {4, 15}) - flat, 1)).item(), 1e-15);
}

// --- scans -----------------------------------------------------------------------------------------------------------

TEST_F(Reductions, ScansRunBothWays) {
  const Var x = leaf({1, 2, 3});
  constexpr ScanOptions kReverse{.reverse = true};
  EXPECT_EQ(values(cumsum(x, 0)), (D{1, 3, 6}));
  EXPECT_EQ(values(cumsum(x, -1, kReverse)), (D{6, 5, 3}));
  EXPECT_EQ(values(cumprod(x, 0)), (D{1, 2, 6}));
  EXPECT_EQ(values(cumprod(x, 0, kReverse)), (D{6, 6, 3}));
  EXPECT_EQ(values(linear_recurrence(x, x, 0)), (D{1, 4, 15}));
  EXPECT_EQ(values(linear_recurrence(0.5, x, 0, kReverse)), (D{2.75, 3.5, 3}));
  EXPECT_EQ(values(shift(x, 0, 7)), (D{7, 1, 2}));
  EXPECT_EQ(values(shift(x, 0, 7, kReverse)), (D{2, 3, 7}));
}

TEST_F(Reductions, RunningProductsWithZerosHaveExactGradients) {
  const Var x = leaf({2, 0, 3, 0, 5});
  // d/dx_k of the sum of all running products.
  EXPECT_EQ(values(grad(sum(cumprod(x, 0)), x)), (D{1, 2 + 6, 0, 0, 0}));
  // Behind a zero every product is 0, even where the rest would overflow.
  const Var wild = leaf({0, 1e300, 1e300, -1});
  EXPECT_EQ(values(cumprod(wild, 0)), (D{0, 0, 0, 0}));
}

TEST_F(Reductions, ALongRunningSumIsExactForIntegersInAnyPieces) {
  for (const std::int64_t n : {65535, 65536, 65537, 100003, 1000000}) {
    const Var x = iota(tape, n);
    const auto up = values<std::int64_t>(cumsum(x, 0));
    const auto down = values<std::int64_t>(cumsum(x, 0, {.reverse = true}));
    for (std::int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(up[static_cast<std::size_t>(i)], i * (i + 1) / 2);
      ASSERT_EQ(down[static_cast<std::size_t>(i)], n * (n - 1) / 2 - i * (i - 1) / 2);
    }
  }
}

// --- order -----------------------------------------------------------------------------------------------------------

TEST_F(Reductions, SortsAreStableAndPutNaNLast) {
  const D list{0.0, kNaN, -0.0, kInf, -1, kNaN, -kInf, 2};
  for (const std::int64_t copies : {1, 40}) {  // compared, and counted by digits
    D many;
    for (std::int64_t i = 0; i < copies; ++i) many.insert(many.end(), list.begin(), list.end());
    for (const DType dtype : {DType::f64, DType::f32}) {
      const Var x = cast(leaf(many), dtype);
      I up, down;
      const auto add = [&](I& order, std::initializer_list<std::int64_t> group) {
        for (std::int64_t c = 0; c < copies; ++c) {
          for (const std::int64_t i : group) order.push_back(c * static_cast<std::int64_t>(list.size()) + i);
        }
      };
      for (const auto& group : {std::initializer_list<std::int64_t>{6}, {4}, {0, 2}, {7}, {3}, {1, 5}}) add(up, group);
      for (const auto& group : {std::initializer_list<std::int64_t>{3}, {7}, {0, 2}, {4}, {6}, {1, 5}}) {
        add(down, group);
      }
      EXPECT_EQ(values<std::int64_t>(argsort(x)), up);
      EXPECT_EQ(values<std::int64_t>(argsort(x, 0, {.descending = true})), down);
    }
  }
}

TEST_F(Reductions, SortAndTopKAreDifferentiable) {
  const Var x = leaf({2, 3}, {3, 1, 2, 4, 6, 5});
  EXPECT_EQ(values(sort(x)), (D{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(values(sort(x, 0, {.descending = true})), (D{4, 6, 5, 3, 1, 2}));
  const Var weights = leaf({2, 3}, {10, 20, 30, 40, 50, 60});
  EXPECT_EQ(values(grad(sum(sort(x) * weights), x)), (D{30, 10, 20, 40, 60, 50}));
  const TopK top = top_k(x, 2);
  EXPECT_EQ(values(top.values), (D{3, 2, 6, 5}));
  EXPECT_EQ(values<std::int64_t>(top.indices), (I{0, 2, 1, 2}));
  EXPECT_EQ(values(grad(sum(square(top.values)), x)), (D{6, 0, 4, 0, 12, 10}));
  EXPECT_EQ(values(top_k(x, 1, 0, {.largest = false}).values), (D{3, 1, 2}));
  EXPECT_EQ(top_k(x, 0).values.shape(), (Shape{2, 0}));
}

TEST_F(Reductions, ManyLanesSortAsOneByOne) {
  const Var x = large({3, 200, 37});
  const auto order = values<std::int64_t>(argsort(x, 1));
  const auto data = values(x);
  for (std::int64_t outer = 0; outer < 3; ++outer) {
    for (std::int64_t inner = 0; inner < 37; ++inner) {
      const auto at = [&](std::int64_t k) {
        const std::int64_t place = order[static_cast<std::size_t>((outer * 200 + k) * 37 + inner)];
        return data[static_cast<std::size_t>((outer * 200 + place) * 37 + inner)];
      };
      for (std::int64_t k = 1; k < 200; ++k) ASSERT_LT(at(k - 1), at(k));
    }
  }
}

}  // namespace
}  // namespace ebb
