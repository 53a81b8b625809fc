// What batch_norm refuses, in exact words, and what it takes though it looks odd. Tests bear the numbers of the
// contract's rows.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/batch_norm/kernels.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

class Notes {
 public:
  Notes() : before_(set_note_handler([this](std::string_view text) { texts.emplace_back(text); })) {}
  ~Notes() { set_note_handler(before_); }
  std::vector<std::string> texts;

 private:
  NoteHandler before_;
};

/// The text of the error that batch_norm throws for these tensors; %0 is x, then gamma and beta.
template <class E>
std::string refused(const Tensor& x, const std::optional<Tensor>& gamma, const std::optional<Tensor>& beta,
                    const BatchNormOptions& options) {
  Tape tape;
  const Var input = tape.leaf(x, "x");
  const auto leaf = [&](const std::optional<Tensor>& t, const char* name) {
    return t ? std::optional(tape.leaf(*t, name)) : std::nullopt;
  };
  const std::optional<Var> scale = leaf(gamma, "gamma");
  const std::optional<Var> shift = leaf(beta, "beta");
  const std::size_t size = tape.size();
  const std::string text = thrown<E>([&] { batch_norm(input, scale, shift, options); });
  EXPECT_EQ(tape.size(), size) << "the tape is as it was";
  const std::size_t line = text.rfind(" (bad_input_test.cpp:");
  EXPECT_NE(line, std::string::npos) << text;
  return text.substr(0, line);
}

BatchNormOptions with(BatchNormKernel kernel) {
  BatchNormOptions options;
  options.kernel = kernel;
  return options;
}

// First: a note is given once.
TEST(BatchNorm, T2TwoValuesPerChannelAreNoted) {
  Notes notes;
  Problem p = problem({2, 3});
  for (const BatchNormKernel kernel : kKernels) {
    const Results r = run(p, kernel);
    const Results want = truth(p);
    EXPECT_LT(relative_difference(r.out, want.out), 1e-12);
    for (std::int64_t i = 0; i < 6; ++i) {
      EXPECT_NEAR(std::abs((r.out.at(i) - p.beta->at(i % 3)) / p.gamma->at(i % 3)), 1, 1e-4);
      EXPECT_NEAR(r.dx.at(i), 0, 1e-3);
    }
  }
  ASSERT_EQ(notes.texts.size(), 1u);
  EXPECT_EQ(notes.texts[0], "batch_norm: 2 values per channel: normalised values are +-1, input gradient is O(eps)");
}

TEST(BatchNorm, T1OneValuePerChannelIsRefused) {
  for (const BatchNormKernel kernel : {BatchNormKernel::staged, BatchNormKernel::fused, BatchNormKernel::both}) {
    EXPECT_EQ(refused<ShapeError>(samples({1, 512}), {}, {}, with(kernel)),
              "batch_norm: expected more than 1 value per channel when training, got shape [1, 512]: 1 value per "
              "channel; got f64[1, 512] (%0 \"x\"). Use eval mode, a larger batch, or another single_value policy.");
    EXPECT_EQ(refused<ShapeError>(samples({1, 2, 1, 1}), samples({2}), samples({2}), with(kernel)),
              "batch_norm: expected more than 1 value per channel when training, got shape [1, 2, 1, 1]: 1 value per "
              "channel; got f64[1, 2, 1, 1] (%0 \"x\"), f64[2] (%1 \"gamma\"), f64[2] (%2 \"beta\"). Use eval mode, a "
              "larger batch, or another single_value policy.");
    Tape tape;
    EXPECT_EQ(batch_norm(tape.leaf(samples({1, 4, 8, 8})), {}, {}, with(kernel)).shape(), (Shape{1, 4, 8, 8}))
        << "values count, not samples";
  }
}

TEST(BatchNorm, T1Allow) {
  for (const BatchNormKernel kernel : kKernels) {
    Problem p = problem({1, 5, 1});
    p.options.single_value = SingleValue::allow;
    const Results r = run(p, kernel);
    EXPECT_TRUE(identical(r.out, p.beta->reshaped({1, 5, 1}))) << name(kernel);
    EXPECT_TRUE(identical(r.dbeta, p.dout.reshaped({5})));
    for (std::int64_t c = 0; c < 5; ++c) {
      EXPECT_EQ(r.dx.at(c), 0);
      EXPECT_EQ(r.dgamma.at(c), 0);
    }
  }
}

TEST(BatchNorm, T3NoSamples) {
  for (const BatchNormKernel kernel : {BatchNormKernel::staged, BatchNormKernel::fused, BatchNormKernel::both}) {
    for (const Shape& shape : {Shape{0, 3}, Shape{0, 3, 4}, Shape{2, 3, 0, 5}}) {
      const Results r = run(problem(shape), kernel);
      EXPECT_EQ(r.out.shape(), shape);
      EXPECT_EQ(r.dx.shape(), shape);
      EXPECT_TRUE(identical(r.dgamma, Tensor::zeros({3}, DType::f64))) << r.dgamma;
      EXPECT_TRUE(identical(r.dbeta, Tensor::zeros({3}, DType::f64))) << r.dbeta;
    }
    EXPECT_EQ(refused<ShapeError>(Tensor::zeros({4, 0}), {}, {}, with(kernel)),
              "batch_norm: num_features must be positive, got 0; got f32[4, 0] (%0 \"x\").");
  }
}

TEST(BatchNorm, T9BadEps) {
  const auto refused_eps = [](double eps) {
    BatchNormOptions options;
    options.eps = eps;
    return refused<UsageError>(samples({4, 3}), {}, {}, options);
  };
  EXPECT_EQ(refused_eps(-1e-5), "batch_norm: eps must be >= 0 and finite, got -1e-05; got f64[4, 3] (%0 \"x\").");
  EXPECT_EQ(refused_eps(kNan), "batch_norm: eps must be >= 0 and finite, got nan; got f64[4, 3] (%0 \"x\").");
  EXPECT_EQ(refused_eps(kInf), "batch_norm: eps must be >= 0 and finite, got inf; got f64[4, 3] (%0 \"x\").");
}

TEST(BatchNorm, T9EpsBelowTheSmallestNumberIsNoted) {
  Notes notes;
  Problem p = problem({4, 3}, DType::f32);
  p.options.eps = 1e-40;
  run(p, BatchNormKernel::staged);
  run(p, BatchNormKernel::fused);
  ASSERT_EQ(notes.texts.size(), 1u);
  EXPECT_EQ(notes.texts[0], "batch_norm: eps 1e-40 is 0 in f32: a channel without variance gives out = beta");
}

// A channel that does not vary, beside one that does: by rule it gives beta and takes no gradient, at any order.
TEST(BatchNorm, T9NoEpsAndNoVariance) {
  for (const BatchNormKernel kernel : kKernels) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      Problem p = problem({5, 2}, dtype);
      p.options.eps = 0;
      Tensor x = p.x.to(DType::f64);
      for (std::int64_t n = 0; n < 5; ++n) x.mutable_data<double>()[static_cast<std::size_t>(2 * n)] = 0.1;
      p.x = x.to(dtype);
      const Results r = run(p, kernel);
      for (std::int64_t n = 0; n < 5; ++n) {
        EXPECT_EQ(r.out.at(2 * n), p.beta->at(0)) << name(kernel);
        EXPECT_EQ(r.dx.at(2 * n), 0);
        EXPECT_NE(r.dx.at(2 * n + 1), 0);
      }
      EXPECT_EQ(r.dgamma.at(0), 0);

      Tape tape;
      const Var input = tape.leaf(p.x);
      const Var gamma = tape.leaf(*p.gamma);
      const Var dout = tape.leaf(p.dout);
      BatchNormOptions options = p.options;
      options.kernel = kernel;
      const Var dx = pullback(batch_norm(input, gamma, {}, options), dout, input);
      for (const Var& second : pullback(dx, tape.leaf(samples({5, 2}, 9, dtype)), {input, gamma, dout})) {
        for (std::int64_t i = 0; i < second.numel(); ++i) EXPECT_TRUE(std::isfinite(second.value().at(i)));
        EXPECT_EQ(second.value().at(0), 0);
        EXPECT_NE(second.value().at(1), 0);
      }
    }
  }
}

TEST(BatchNorm, T24Layouts) {
  const BatchNormOptions options;
  EXPECT_EQ(refused<ShapeError>(samples({8, 3, 32, 32}), samples({32}), {}, options),
            "batch_norm: expected 32 channels on axis 1 of [8, 3, 32, 32], got 3; got f64[8, 3, 32, 32] (%0 \"x\"), "
            "f64[32] (%1 \"gamma\"). Did you mean channel_axis = -1?");
  EXPECT_EQ(refused<ShapeError>(samples({8, 3, 32}), {}, samples({32}), options),
            "batch_norm: expected 32 channels on axis 1 of [8, 3, 32], got 3; got f64[8, 3, 32] (%0 \"x\"), f64[32] "
            "(%1 \"beta\"). Did you mean channel_axis = -1?");
  EXPECT_EQ(refused<ShapeError>(samples({8, 3, 4}), samples({5}), {}, options),
            "batch_norm: expected 5 channels on axis 1 of [8, 3, 4], got 3; got f64[8, 3, 4] (%0 \"x\"), f64[5] (%1 "
            "\"gamma\").");
  BatchNormOptions last;
  last.channel_axis = -1;
  EXPECT_EQ(refused<ShapeError>(samples({8, 3, 4}), samples({3}), {}, last),
            "batch_norm: expected 3 channels on axis 2 of [8, 3, 4], got 4; got f64[8, 3, 4] (%0 \"x\"), f64[3] (%1 "
            "\"gamma\"). Did you mean channel_axis = 1?");
  EXPECT_EQ(refused<ShapeError>(samples({8}), {}, {}, options),
            "batch_norm: needs a batch axis and a channel axis; got f64[8] (%0 \"x\"). Reshape x to [N, C].");
  BatchNormOptions far;
  far.channel_axis = 2;
  EXPECT_EQ(refused<ShapeError>(samples({8, 3}), {}, {}, far),
            "batch_norm: axis 2 is outside of 2 axes; got f64[8, 3] (%0 \"x\"). Axes run from -2 to 1.");
}

TEST(BatchNorm, T54TypesDoNotMix) {
  EXPECT_EQ(refused<DTypeError>(samples({4, 3}, 0, DType::f32), samples({3}), {}, {}),
            "batch_norm: x is f32 but gamma is f64; got f32[4, 3] (%0 \"x\"), f64[3] (%1 \"gamma\"). Convert one with "
            "cast(x, DType::f32).");
  EXPECT_EQ(refused<DTypeError>(samples({4, 3}), {}, samples({3}, 0, DType::f32), {}),
            "batch_norm: x is f64 but beta is f32; got f64[4, 3] (%0 \"x\"), f32[3] (%1 \"beta\"). Convert one with "
            "cast(x, DType::f64).");
}

TEST(BatchNorm, T54T55ResultsHaveTheTypeOfX) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const BatchNormKernel kernel : kKernels) {
      const Results r = run(problem({4, 3}, dtype), kernel);
      EXPECT_EQ(r.out.dtype(), dtype);
      EXPECT_EQ(r.dx.dtype(), dtype);
      EXPECT_EQ(r.dgamma.dtype(), dtype);
      EXPECT_EQ(r.dbeta.dtype(), dtype);
      Tape tape;
      const BatchNormResult s = batch_norm_with_statistics(tape.leaf(samples({4, 3}, 0, dtype)), {}, {}, with(kernel));
      EXPECT_EQ(s.mean.dtype(), dtype);
      EXPECT_EQ(s.variance.dtype(), dtype);
      EXPECT_EQ(s.mean.shape(), (Shape{3}));
      EXPECT_EQ(s.variance.shape(), (Shape{3}));
      // Given statistics may have another type than x: they are taken in x's.
      const Var x = tape.leaf(samples({4, 3}, 0, dtype));
      const Var given = tape.leaf(samples({3}, 1, DType::f64, 3, 0.1));
      EXPECT_EQ(batch_norm_eval(x, given, given, {}, {}).dtype(), dtype);
    }
  }
}

TEST(BatchNorm, T56Integers) {
  EXPECT_EQ(refused<DTypeError>(Tensor::zeros({4, 3}, DType::i64), {}, {}, {}),
            "batch_norm: needs a floating type, got i64; got i64[4, 3] (%0 \"x\"). Convert x with cast(x, "
            "DType::f32).");
}

TEST(BatchNorm, T25GivenStatisticsOfAnotherLength) {
  Tape tape;
  const Var x = tape.leaf(samples({4, 8}), "x");
  const Var right = tape.leaf(samples({8}), "right");
  const Var empty = tape.leaf(Tensor::zeros({0}, DType::f64), "empty");
  const auto refused_at = [](const std::string& text) { return text.substr(0, text.rfind(" (")); };
  EXPECT_EQ(refused_at(thrown<ShapeError>([&] { batch_norm_eval(x, empty, right, {}, {}); })),
            "batch_norm: running mean should contain 8 elements not 0; got f64[0] empty.");
  EXPECT_EQ(refused_at(thrown<ShapeError>([&] { batch_norm_eval(x, right, empty, {}, {}); })),
            "batch_norm: running variance should contain 8 elements not 0; got f64[0] empty.");
}

}  // namespace
}  // namespace ebb::test
