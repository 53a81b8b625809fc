// Products larger than the examples of the row, and tiny ones: every way that they are cut, against a plain product in
// double, and the same bits for any number of threads.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/wave.h"

namespace ebb {
namespace {

using test::wave;

struct Size {
  std::int64_t m, n, k;
};

// Around the edges of tiles of rows, of what is worth a call of the BLAS and of what is transposed first; with few
// rows, one row and one column.
const Size kSizes[] = {{200, 130, 400}, {515, 70, 801}, {28, 700, 900},  {30, 1001, 385},
                       {1, 3000, 700},  {2500, 1, 700}, {61, 99, 103},   {97, 101, 103},
                       {13, 5, 1500},   {7, 17, 33},    {384, 2050, 20}, {8, 16, 8},
                       {9, 16, 8},      {803, 130, 77}, {1800, 46, 101}, {1161, 7, 950}};

double element(const Tensor& x, bool transposed, std::int64_t row, std::int64_t column) {
  return x.at(transposed ? column * x.shape()[1] + row : row * x.shape()[1] + column);
}

class Products : public testing::TestWithParam<DType> {};
INSTANTIATE_TEST_SUITE_P(DTypes, Products, testing::Values(DType::f32, DType::f64),
                         [](const auto& instance) { return std::string(name(instance.param)); });

TEST_P(Products, AreRightHoweverTheyAreCutAndStored) {
  const int before = threads();
  const double epsilon = GetParam() == DType::f32 ? 0x1p-23 : 0x1p-52;
  for (const Size& s : kSizes) {
    for (const bool ta : {false, true}) {
      for (const bool tb : {false, true}) {
        SCOPED_TRACE(testing::Message() << s.m << " x " << s.n << " x " << s.k << (ta ? " ta" : "")
                                        << (tb ? " tb" : ""));
        const Tensor a = wave(ta ? Shape{s.k, s.m} : Shape{s.m, s.k}, {.dtype = GetParam()});
        const Tensor b = wave(tb ? Shape{s.n, s.k} : Shape{s.k, s.n}, {.phase = 1, .dtype = GetParam()});
        Tensor first;
        for (const int n : {1, 2, 5}) {
          set_threads(n);
          Tape tape;
          const Tensor out = matmul(tape.leaf(a), tape.leaf(b), {ta, tb}).value();
          if (n == 1) first = out;
          EXPECT_TRUE(identical(first, out)) << n << " threads";
        }
        std::int64_t wrong = 0;
        for (std::int64_t i = 0; i < first.numel(); i += 1 + first.numel() / 3000) {
          double want = 0, scale = 0;
          for (std::int64_t k = 0; k < s.k; ++k) {
            const double product = element(a, ta, i / s.n, k) * element(b, tb, k, i % s.n);
            want += product;
            scale += std::abs(product);
          }
          wrong += std::abs(first.at(i) - want) > 32 * epsilon * scale;
        }
        EXPECT_EQ(wrong, 0) << "elements";
      }
    }
  }
  set_threads(before);
}

TEST(Matmul, ANumberThatIsNotFiniteStaysInItsRowAndColumn) {
  Tape tape;
  Tensor a = Tensor::full({40, 30}, 1);
  a.mutable_data<float>()[5 * 30 + 7] = NAN;
  const Tensor out = matmul(tape.leaf(a), tape.leaf(Tensor::full({30, 19}, 1))).value();
  for (std::int64_t i = 0; i < out.numel(); ++i) EXPECT_EQ(std::isnan(out.at(i)), i / 19 == 5) << i;
}

TEST(Matmul, DerivativesAreRightForEveryWayToBroadcast) {
  struct Case {
    Shape a, b;
    bool ta = false, tb = false;
  };
  const Case cases[] = {{{3}, {3}},
                        {{3}, {3, 2}},
                        {{2, 3}, {3}},
                        {{3}, {2, 3, 2}},
                        {{2, 2, 3}, {3}},
                        {{2, 1, 2, 3}, {4, 3, 2}},
                        {{2, 3}, {4, 3, 2}},
                        {{4, 2, 3}, {3, 2}},
                        {{1, 2, 3}, {2, 3, 2}},
                        {{2, 3, 2}, {2, 3, 2}, true},
                        {{3, 2}, {2, 2, 3}, true, true}};
  for (const Case& c : cases) {
    SCOPED_TRACE(to_string(c.a) + " @ " + to_string(c.b));
    const auto f = [&](std::span<const Var> x) { return Vars{matmul(x[0], x[1], {c.ta, c.tb})}; };
    const GradcheckReport report = gradcheck_function(
        f, std::vector<Tensor>{wave(c.a, {.dtype = DType::f64}), wave(c.b, {.phase = 1, .dtype = DType::f64})});
    EXPECT_TRUE(report.passed()) << report.text();
  }
}

}  // namespace
}  // namespace ebb
