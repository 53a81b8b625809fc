// Cross-entropy: both forms agree at every order, and refuse the same input with the same words.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr CrossEntropyKernel kKernels[] = {CrossEntropyKernel::fused, CrossEntropyKernel::staged};

std::string before_place(const std::string& text) { return text.substr(0, text.rfind(" (")); }

Tensor some_logits(const Shape& shape, DType dtype, double scale) {
  Tensor t = Tensor::zeros(shape, DType::f64);
  double k = 0;
  for (double& v : t.mutable_data<double>()) v = scale * std::sin(k += 1.7);
  return t.to(dtype);
}

Tensor some_labels(std::int64_t n, std::int64_t classes) {
  Tensor t = Tensor::zeros({n}, DType::i64);
  std::int64_t k = 0;
  for (std::int64_t& v : t.mutable_data<std::int64_t>()) v = (k += 7) % classes;
  return t;
}

void expect_near(const Var& a, const Var& b, double bound) {
  ASSERT_EQ(a.shape(), b.shape());
  for (std::int64_t i = 0; i < a.numel(); ++i) EXPECT_NEAR(a.value().at(i), b.value().at(i), bound) << i;
}

// The text of the error of both kernels, which must be one text.
template <class E>
std::string refused(const Tensor& logits, const Tensor& labels, Reduction reduction = Reduction::mean) {
  std::string texts[2];
  for (std::size_t k = 0; k < 2; ++k) {
    Tape tape;
    const Var x = tape.leaf(logits, "logits");
    const Var y = tape.leaf(labels, "y");
    texts[k] = before_place(thrown<E>([&] { cross_entropy(x, y, {reduction, kKernels[k]}); }));
    EXPECT_EQ(tape.size(), 2U);
  }
  EXPECT_EQ(texts[0], texts[1]);
  return texts[0];
}

TEST(CrossEntropy, KnownValues) {
  for (const auto kernel : kKernels) {
    Tape tape;
    const Var x = tape.leaf(Tensor::of<double>({2, 3}, {0, 0, 0, 1, 2, 3}));
    const Var y = tape.leaf(Tensor::of<std::int64_t>({2}, {1, 2}));
    const double first = std::log(3.0);
    const double second = std::log(std::exp(-2.0) + std::exp(-1.0) + 1);
    const Var each = cross_entropy(x, y, {Reduction::none, kernel});
    EXPECT_NEAR(each.value().at(0), first, 1e-15);
    EXPECT_NEAR(each.value().at(1), second, 1e-15);
    EXPECT_NEAR(cross_entropy(x, y, {Reduction::sum, kernel}).item(), first + second, 1e-15);
    EXPECT_NEAR(cross_entropy(x, y, {Reduction::mean, kernel}).item(), (first + second) / 2, 1e-15);
  }
}

TEST(CrossEntropy, KernelsAgreeAtThreeOrders) {
  Tape tape;
  const Var x = tape.leaf(some_logits({5, 4}, DType::f64, 2), "x");
  const Var y = tape.leaf(some_labels(5, 4));
  const Var w = tape.leaf(some_logits({5}, DType::f64, 3));
  Var value[2], first[2], second[2], third[2], by_weight[2];
  for (std::size_t k = 0; k < 2; ++k) {
    const Var each = cross_entropy(x, y, {Reduction::none, kKernels[k]});
    value[k] = sum(each * w);
    first[k] = grad(value[k], x);
    const Vars both = grad(sum(square(first[k]) * first[k]), {x, w});
    second[k] = both[0];
    by_weight[k] = both[1];
    third[k] = grad(sum(square(second[k])), x);
  }
  expect_near(value[0], value[1], 1e-13);
  expect_near(first[0], first[1], 1e-13);
  expect_near(second[0], second[1], 1e-12);
  expect_near(by_weight[0], by_weight[1], 1e-12);
  expect_near(third[0], third[1], 1e-10);
}

TEST(CrossEntropy, TracingRecordsTheComposition) {
  Tape tape(Tape::Mode::trace);
  const Var x = tape.leaf(some_logits({5, 4}, DType::f32, 2));
  const Var loss = cross_entropy(x, tape.leaf(some_labels(5, 4)));
  EXPECT_EQ(loss.shape(), Shape{});
  for (NodeId id = 0; id < tape.size(); ++id) EXPECT_NE(tape.node(id).row->name, "cross_entropy");
}

TEST(CrossEntropy, HugeLogitsAreFinite) {
  for (const auto kernel : kKernels) {
    Tape tape;
    const Var x = tape.leaf(Tensor::of<float>({2, 3}, {1e4F, -1e4F, 0, -1e4F, -1e4F, -1e4F}));
    const Var y = tape.leaf(Tensor::of<std::int64_t>({2}, {1, 2}));
    const Var each = cross_entropy(x, y, {Reduction::none, kernel});
    EXPECT_FLOAT_EQ(static_cast<float>(each.value().at(0)), 2e4F);
    EXPECT_NEAR(each.value().at(1), std::log(3.0), kernel == CrossEntropyKernel::fused ? 1e-6 : 1e-3);
    const Var dx = grad(sum(each), x);
    EXPECT_EQ(dx.value().at(0), 1);
    EXPECT_EQ(dx.value().at(1), -1);
  }
}

TEST(CrossEntropy, AnImpossibleClassIsNoError) {
  for (const auto kernel : kKernels) {
    Tape tape;
    const Var x = tape.leaf(Tensor::of<double>({1, 3}, {-kInf, 0, 0}));
    const Var y = tape.leaf(Tensor::of<std::int64_t>({1}, {1}));
    const Var loss = cross_entropy(x, y, {.kernel = kernel});
    EXPECT_NEAR(loss.item(), std::log(2.0), 1e-15);
    EXPECT_EQ(grad(loss, x).value().at(0), 0);
  }
}

TEST(CrossEntropy, NanPassesThrough) {
  for (const auto kernel : kKernels) {
    for (const double other : {0.0, -kInf}) {
      Tape tape;
      const Var x = tape.leaf(Tensor::of<double>({2, 2}, {other, std::nan(""), 1, 1}));
      const Var y = tape.leaf(Tensor::of<std::int64_t>({2}, {0, 1}));
      const Var each = cross_entropy(x, y, {Reduction::none, kernel});
      EXPECT_TRUE(std::isnan(each.value().at(0)));
      EXPECT_NEAR(each.value().at(1), std::log(2.0), 1e-15);
    }
  }
}

TEST(CrossEntropy, NoRows) {
  const Tensor logits = Tensor::zeros({0, 3});
  const Tensor labels = Tensor::zeros({0}, DType::i64);
  EXPECT_EQ(
      refused<ShapeError>(logits, labels),
      "cross_entropy: the mean over no rows does not exist; got f32[0, 3] (%0 \"logits\"), i64[0] (%1 \"y\"). Give "
      "at least one row, or use Reduction::sum.");
  for (const auto kernel : kKernels) {
    Tape tape;
    EXPECT_EQ(cross_entropy(tape.leaf(logits), tape.leaf(labels), {Reduction::sum, kernel}).item(), 0);
  }
}

TEST(CrossEntropy, RefusesTypes) {
  const Tensor logits = Tensor::zeros({3, 2});
  const auto labels = [](const Shape& shape, DType dtype = DType::i64) { return Tensor::zeros(shape, dtype); };
  EXPECT_EQ(refused<ShapeError>(logits, labels({3, 1})),
            "cross_entropy: labels must be [3], one per row of logits, not [3, 1]; got f32[3, 2] (%0 \"logits\"), "
            "i64[3, 1] (%1 \"y\"). Drop the other axes with reshape(labels, {-1}).");
  EXPECT_EQ(refused<ShapeError>(logits, labels({2})),
            "cross_entropy: labels must be [3], one per row of logits, not [2]; got f32[3, 2] (%0 \"logits\"), i64[2] "
            "(%1 \"y\").");
  EXPECT_EQ(
      refused<DTypeError>(logits, labels({3}, DType::f32)),
      "cross_entropy: labels must be i64, not f32; got f32[3, 2] (%0 \"logits\"), f32[3] (%1 \"y\"). Convert them "
      "with cast(labels, DType::i64).");
  EXPECT_EQ(refused<DTypeError>(logits.to(DType::i64), labels({3})),
            "cross_entropy: needs a floating type, input 0 is i64; got i64[3, 2] (%0 \"logits\"), i64[3] (%1 \"y\"). "
            "Convert it with cast(x, DType::f32).");
  EXPECT_EQ(refused<ShapeError>(Tensor::zeros({3}), labels({3})),
            "cross_entropy: logits must be [N, C], not [3]; got f32[3] (%0 \"logits\"), i64[3] (%1 \"y\").");
}

TEST(CrossEntropy, RefusesValues) {
  const Tensor logits = Tensor::zeros({3, 2});
  const auto labels = [](std::int64_t third) { return Tensor::of<std::int64_t>({3}, {0, 1, third}); };
  EXPECT_EQ(
      refused<UsageError>(logits, labels(-1), Reduction::none),
      "cross_entropy: label -1 of row 2 is outside of 2 classes; got f32[3, 2] (%0 \"logits\"), i64[3] (%1 \"y\"). "
      "Labels run from 0 to 1.");
  EXPECT_EQ(
      refused<UsageError>(logits, labels(2), Reduction::none),
      "cross_entropy: label 2 of row 2 is outside of 2 classes; got f32[3, 2] (%0 \"logits\"), i64[3] (%1 \"y\"). "
      "Labels run from 0 to 1.");
  EXPECT_EQ(refused<UsageError>(Tensor::of<double>({3, 2}, {0, 1, -kInf, -kInf, 0, 1}), labels(0), Reduction::none),
            "cross_entropy: row 1 of logits is -inf everywhere: no class is possible; got f64[3, 2] (%0 \"logits\"), "
            "i64[3] (%1 \"y\").");
  EXPECT_EQ(
      refused<UsageError>(Tensor::of<double>({3, 2}, {0, 1, 0, 1, kInf, 1}), labels(0), Reduction::none),
      "cross_entropy: row 2 of logits holds +inf: its loss is undefined; got f64[3, 2] (%0 \"logits\"), i64[3] (%1 "
      "\"y\").");
}

}  // namespace
}  // namespace ebb::test
