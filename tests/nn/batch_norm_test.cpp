// The batch normalization layer against the traps of its contract; tests bear the numbers of the contract's rows.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

using nn::BatchNorm;
using nn::BatchNormLayerOptions;
using nn::Momentum;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor samples(const Shape& shape, std::uint64_t seed = 0, DType dtype = DType::f32) {
  Tensor tensor = Tensor::empty(shape, dtype);
  Random(seed).fill_normal(tensor, 0.5, 2);
  return tensor;
}

/// One call in a step of its own; returns the output.
Tensor call(const nn::Module& module, const Tensor& x) {
  Tape tape;
  return tape.step([&] { return module(tape.leaf(x, "x")).value(); });
}

/// Everything that a layer keeps.
std::vector<Tensor> snapshot(const nn::Module& module) {
  std::vector<Tensor> out;
  for (const State& state : module.buffers()) out.push_back(state.value());
  return out;
}
void expect_unchanged(const nn::Module& module, const std::vector<Tensor>& before) {
  const std::vector<Tensor> now = snapshot(module);
  for (std::size_t i = 0; i < now.size(); ++i) EXPECT_TRUE(identical(now[i], before[i])) << i;
}

/// Collects the notes while it lives.
class Notes {
 public:
  Notes() : before_(set_note_handler([this](std::string_view text) { texts.emplace_back(text); })) {}
  ~Notes() { set_note_handler(before_); }
  std::vector<std::string> texts;

 private:
  NoteHandler before_;
};

double mean_of(const Tensor& x, std::int64_t channel, std::int64_t channels) {
  double sum = 0;
  for (std::int64_t i = channel; i < x.numel(); i += channels) sum += x.at(i);
  return sum * static_cast<double>(channels) / static_cast<double>(x.numel());
}
double variance_of(const Tensor& x, std::int64_t channel, std::int64_t channels, int correction) {
  const double mean = mean_of(x, channel, channels);
  double sum = 0;
  for (std::int64_t i = channel; i < x.numel(); i += channels) sum += (x.at(i) - mean) * (x.at(i) - mean);
  return sum / (static_cast<double>(x.numel() / channels) - correction);
}

TEST(BatchNormLayer, T1SingleValueIsAnErrorBeforeAnyStateIsTouched) {
  BatchNorm bn(512);
  const auto before = snapshot(bn);
  const Tensor x = samples({1, 512});
  Tape tape;
  const std::string text = thrown<ShapeError>([&] { tape.step([&] { bn(tape.leaf(x, "x")); }); });
  EXPECT_NE(
      text.find("batch_norm: expected more than 1 value per channel when training, got shape [1, 512]: 1 value per "
                "channel; got f32[1, 512] (%0 \"x\")"),
      std::string::npos)
      << text;
  EXPECT_NE(text.find("Use eval mode, a larger batch, or another single_value policy. (batch_norm_test.cpp:"),
            std::string::npos)
      << text;
  expect_unchanged(bn, before);
  call(BatchNorm(4), samples({1, 4, 8, 8}));  // values count, not samples
  bn.eval();
  call(bn, x);
}

TEST(BatchNormLayer, T1Policies) {
  const Tensor x = Tensor::of<float>({1, 2}, {3, -4});
  BatchNormLayerOptions options;
  options.single_value = nn::SingleValuePolicy::use_running;
  BatchNorm running(2, options);
  const auto before = snapshot(running);
  EXPECT_NEAR(call(running, x).at(0), 3 / std::sqrt(1 + 1e-5), 1e-6);
  expect_unchanged(running, before);

  options.single_value = nn::SingleValuePolicy::allow;
  BatchNorm allow(2, options);
  allow.set_bias(Tensor::of<float>({2}, {7, 8}));
  EXPECT_EQ(call(allow, x).at(1), 8);
  EXPECT_NEAR(allow.running_mean().value().at(0), 0.3, 1e-7);
  EXPECT_EQ(allow.running_var().value().at(0), 1);
  EXPECT_EQ(allow.num_batches_tracked().value().item(), 1);
}

TEST(BatchNormLayer, T3EmptyBatchLeavesEverything) {
  BatchNorm bn(3);
  const auto before = snapshot(bn);
  EXPECT_EQ(call(bn, Tensor::zeros({0, 3})).shape(), (Shape{0, 3}));
  expect_unchanged(bn, before);
  EXPECT_EQ(thrown<ShapeError>([] { BatchNorm(0); }), "batch_norm: num_features must be positive, got 0.");
}

TEST(BatchNormLayer, T4MomentumIsTyped) {
  const Tensor x = samples({8, 2});
  const auto mean_after = [&](const Momentum& momentum) {
    BatchNorm bn(2, {.momentum = momentum});
    call(bn, x);
    return bn.running_mean().value().at(1);
  };
  const double batch = mean_of(x, 1, 2);
  EXPECT_NEAR(mean_after(0.25), 0.25 * batch, 1e-6);
  EXPECT_NEAR(mean_after(Momentum::new_weight(0.25)), 0.25 * batch, 1e-6);
  EXPECT_NEAR(mean_after(Momentum::old_weight(0.75)), 0.25 * batch, 1e-6);
  const std::string text = thrown<UsageError>([] { Momentum(1.1); });
  EXPECT_EQ(text.find("batch_norm: momentum 1.1 outside [0,1]"), 0u) << text;
  thrown<UsageError>([] { Momentum::old_weight(-0.1); });
  thrown<UsageError>([] { Momentum::new_weight(kNan); });

  Notes notes;
  Momentum::old_weight(0.99);
  Momentum::new_weight(0.99);
  EXPECT_TRUE(notes.texts.empty());
  Momentum(0.99);
  ASSERT_EQ(notes.texts.size(), 1u);
  EXPECT_EQ(notes.texts[0].find("batch_norm: 0.99 is the weight of the NEW batch here; Keras 0.99 is "
                                "Momentum::old_weight(0.99)"),
            0u);
}

TEST(BatchNormLayer, T5Cumulative) {
  const Tensor a = samples({8, 2}, 1);
  const Tensor b = samples({4, 2}, 2);
  const auto mean_after = [&](const Momentum& momentum) {
    BatchNorm bn(2, {.momentum = momentum, .dtype = DType::f64});
    call(bn, a.to(DType::f64));
    call(bn, b.to(DType::f64));
    return bn.running_mean().value().at(0);
  };
  const double of_a = mean_of(a, 0, 2);
  const double of_b = mean_of(b, 0, 2);
  EXPECT_NEAR(mean_after(Momentum::cumulative()), (of_a + of_b) / 2, 1e-12);
  EXPECT_NEAR(mean_after(Momentum::cumulative_by_count()), (8 * of_a + 4 * of_b) / 12, 1e-12);
  EXPECT_NE(BatchNorm(2, {.momentum = Momentum::cumulative()}).describe().find("momentum=cumulative,"),
            std::string::npos);
}

TEST(BatchNormLayer, T6MomentumZeroAndOne) {
  const Tensor x = samples({8, 2});
  BatchNorm none(2, {.momentum = Momentum::new_weight(0)});
  call(none, x);
  EXPECT_EQ(none.running_mean().value().at(0), 0);
  EXPECT_EQ(none.running_var().value().at(0), 1);
  EXPECT_EQ(none.num_batches_tracked().value().item(), 1);
  BatchNorm all(2, {.momentum = Momentum::new_weight(1)});
  call(all, x);
  EXPECT_NEAR(all.running_mean().value().at(0), mean_of(x, 0, 2), 1e-6);
  EXPECT_NEAR(all.running_var().value().at(0), variance_of(x, 0, 2, 1), 1e-5);
}

TEST(BatchNormLayer, T7NormalisesBiasedAndKeepsByOption) {
  const Tensor x = samples({5, 1});
  for (const auto kept : {nn::RunningVariance::unbiased, nn::RunningVariance::biased}) {
    BatchNorm bn(1, {.momentum = Momentum::new_weight(1), .running_variance = kept});
    const Tensor y = call(bn, x);
    EXPECT_NEAR(variance_of(y, 0, 1, 0), 1, 1e-4);
    EXPECT_NEAR(bn.running_var().value().at(0), variance_of(x, 0, 1, kept == nn::RunningVariance::unbiased), 1e-5);
  }
}

TEST(BatchNormLayer, T8T9Eps) {
  BatchNorm bn(1, {.eps = 0.5});
  bn.eval();
  EXPECT_NEAR(call(bn, Tensor::of<float>({1, 1}, {3})).at(0), 3 / std::sqrt(1.5), 1e-6);
  EXPECT_EQ(thrown<UsageError>([] { BatchNorm(1, {.eps = -1e-5}); }),
            "batch_norm: eps must be >= 0 and finite, got -1e-05.");
  thrown<UsageError>([] { BatchNorm(1, {.eps = kNan}); });
}

TEST(BatchNormLayer, T10ScaleAndShiftAreIndependent) {
  for (const bool scale : {false, true}) {
    for (const bool shift : {false, true}) {
      BatchNorm bn(3, {.scale = scale, .shift = shift});
      EXPECT_EQ(bn.parameters().size(), static_cast<std::size_t>(scale + shift));
      call(bn, samples({4, 3}));
    }
  }
  EXPECT_EQ(thrown<UsageError>([] { BatchNorm(3, {.scale = false}).weight(); }),
            "batch_norm: no scale parameter (scale=false)");
}

TEST(BatchNormLayer, T11EvalBackwardTakesStatisticsAsConstants) {
  BatchNorm bn(2, {.dtype = DType::f64});
  bn.set_running_mean(Tensor::of<double>({2}, {1, 2}));
  bn.set_running_var(Tensor::of<double>({2}, {4, 9}));
  bn.set_weight(Tensor::of<double>({2}, {3, 5}));
  bn.eval();
  Tape tape;
  const Var x = tape.leaf(Tensor::of<double>({1, 2}, {7, 8}));
  const Vars d = grad(sum(bn(x)), {x, tape.read(bn.weight())});
  EXPECT_NEAR(d[0].value().at(1), 5 / std::sqrt(9 + 1e-5), 1e-12);
  EXPECT_NEAR(d[1].value().at(0), 6 / std::sqrt(4 + 1e-5), 1e-12);
}

TEST(BatchNormLayer, T12NodeKeepsItsMode) {
  const Tensor x = samples({6, 2});
  const Tensor w = samples({6, 2}, 1);
  const auto dx = [&](bool switches) {
    BatchNorm bn(2);
    Tape tape;
    const Var input = tape.leaf(x);
    const Var loss = sum(bn(input) * tape.leaf(w));
    if (switches) bn.eval();
    return grad(loss, input).value();
  };
  EXPECT_TRUE(identical(dx(false), dx(true)));
}

TEST(BatchNormLayer, T13EvalWithoutStatistics) {
  const Tensor x = samples({6, 2});
  BatchNorm bn(2, {.track_running_stats = false});
  const Tensor trained = call(bn, x);
  bn.eval();
  EXPECT_TRUE(identical(call(bn, x), trained));
  BatchNorm strict(2, {.track_running_stats = false, .eval_without_stats = nn::EvalWithoutStats::error});
  strict.eval();
  const std::string text = thrown<UsageError>([&] { call(strict, x); });
  EXPECT_EQ(text.find("batch_norm: running statistics requested but track_running_stats=false; got f32[6, 2]"), 0u)
      << text;
  thrown<UsageError>([&] { strict.freeze_stats(); });
}

TEST(BatchNormLayer, T14EvalBeforeTrainingIsNotedOnce) {
  nn::Sequential net("t14", nn::named("bn", BatchNorm(2)));
  net.eval();
  Notes notes;
  call(net, samples({3, 2}));
  call(net, samples({3, 2}));
  ASSERT_EQ(notes.texts.size(), 1u);
  EXPECT_EQ(notes.texts[0],
            "batch_norm t14.bn: eval() with num_batches_tracked=0: using initial statistics mean 0, var 1");
  BatchNorm set(2);
  EXPECT_FALSE(set.stats_initialised());
  set.set_running_mean(Tensor::of<float>({2}, {1, 1}));
  EXPECT_TRUE(set.stats_initialised());
}

TEST(BatchNormLayer, T15FreezingSurvivesTrain) {
  BatchNorm bn(2);
  call(bn, samples({6, 2}));
  const auto before = snapshot(bn);
  bn.freeze_stats();
  bn.train();
  EXPECT_TRUE(bn.frozen());
  const Tensor x = samples({6, 2}, 1);
  const Tensor frozen = call(bn, x);
  expect_unchanged(bn, before);
  EXPECT_NE(bn.describe().find("frozen=true"), std::string::npos);
  bn.set_training_statistics({.use_batch = true, .update = false});
  EXPECT_FALSE(identical(call(bn, x), frozen));
  expect_unchanged(bn, before);
  bn.eval();
  EXPECT_TRUE(identical(call(bn, x), frozen));
  bn.unfreeze_stats();
  bn.train();
  call(bn, x);
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 2);
  // Frozen statistics say nothing of the parameters.
  bn.freeze_stats();
  Tape tape;
  EXPECT_NE(grad(sum(bn(tape.leaf(x))), bn.bias()).value().at(0), 0);
}

class NonFinite : public testing::TestWithParam<BatchNormKernel> {
 protected:
  // Channel 3 of sample 17 is not finite.
  static Tensor bad(double value) {
    Tensor x = samples({20, 5});
    x.mutable_data<float>()[17 * 5 + 3] = static_cast<float>(value);
    return x;
  }
  static BatchNormLayerOptions options(nn::OnNonfinite policy) {
    BatchNormLayerOptions o;
    o.on_nonfinite = policy;
    o.kernel = GetParam();
    return o;
  }
};

TEST_P(NonFinite, T16SkipUpdate) {
  BatchNorm bn(5, options(nn::OnNonfinite::skip_update));
  call(bn, samples({20, 5}, 1));
  const Tensor mean = bn.running_mean().value();
  const Tensor variance = bn.running_var().value();
  Notes notes;
  for (const double value : {kNan, kInf, -kInf}) {
    const Tensor y = call(bn, bad(value));
    EXPECT_TRUE(std::isnan(y.at(3))) << "T59: the whole channel";
    EXPECT_TRUE(std::isfinite(y.at(2)));
  }
  EXPECT_TRUE(identical(bn.running_mean().value(), mean));
  EXPECT_TRUE(identical(bn.running_var().value(), variance));
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 1);
  EXPECT_EQ(bn.num_batches_skipped().value().item(), 3);
  ASSERT_EQ(notes.texts.size(), 1u);
  EXPECT_EQ(notes.texts[0].find("batch_norm: non-finite batch statistic in channel 3 (NaN from x[17]); running "
                                "statistics not updated (batch_norm_test.cpp:"),
            0u)
      << notes.texts[0];
  call(bn, samples({20, 5}, 2));
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 2);
}

TEST_P(NonFinite, T16Propagate) {
  BatchNorm bn(5, options(nn::OnNonfinite::propagate));
  call(bn, bad(kNan));
  EXPECT_TRUE(std::isnan(bn.running_mean().value().at(3)));
  EXPECT_TRUE(std::isfinite(bn.running_mean().value().at(2)));
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 1);
}

TEST_P(NonFinite, T16Error) {
  BatchNorm bn(5, options(nn::OnNonfinite::error));
  const auto before = snapshot(bn);
  const std::string text = thrown<UsageError>([&] { call(bn, bad(kInf)); });
  EXPECT_EQ(text.find("batch_norm: non-finite batch statistic in channel 3 (inf from x[17]); running statistics not "
                      "updated; got f32[20, 5] (%0 \"x\")."),
            0u)
      << text;
  expect_unchanged(bn, before);
}

INSTANTIATE_TEST_SUITE_P(Kernels, NonFinite, testing::Values(BatchNormKernel::staged, BatchNormKernel::fused),
                         [](const auto& k) { return k.param == BatchNormKernel::staged ? "staged" : "fused"; });

TEST(BatchNormLayer, T16IsRecordedSoThatATraceHasItToo) {
  BatchNorm bn(5);
  Tape tape(Tape::Mode::trace);
  bn(tape.leaf(samples({20, 5})));
  bool selects = false;
  for (NodeId id = 0; id < tape.size(); ++id) selects = selects || tape.node(id).row->name == "where";
  EXPECT_TRUE(selects);
}

TEST(BatchNormLayer, T24LayoutsAndAdvice) {
  for (const Shape& shape : {Shape{6, 4}, Shape{3, 4, 5}, Shape{2, 4, 3, 2}, Shape{2, 4, 2, 2, 2}}) {
    BatchNorm first(4);
    EXPECT_EQ(call(first, samples(shape)).shape(), shape);
  }
  BatchNormLayerOptions last;
  last.channel_axis = -1;
  BatchNorm bn(4, last);
  EXPECT_EQ(call(bn, samples({2, 3, 2, 4})).shape(), (Shape{2, 3, 2, 4}));
  const std::string text = thrown<ShapeError>([] { call(BatchNorm(32), samples({8, 3, 32, 32})); });
  EXPECT_EQ(text.find("batch_norm: expected 32 channels on axis 1 of [8, 3, 32, 32], got 3; got f32[8, 3, 32, 32] (%0 "
                      "\"x\"). Did you mean channel_axis = -1? (batch_norm_test.cpp:"),
            0u)
      << text;
  thrown<ShapeError>([] { call(BatchNorm(4), samples({4})); });
}

TEST(BatchNormLayer, T25T26SettersCheck) {
  BatchNorm bn(8);
  EXPECT_EQ(thrown<ShapeError>([&] { bn.set_running_mean(Tensor::zeros({0})); }),
            "batch_norm: running_mean should contain 8 elements not 0; got f32[0].");
  thrown<ShapeError>([&] { bn.set_weight(Tensor::zeros({4})); });
  thrown<DTypeError>([&] { bn.set_running_var(Tensor::zeros({8}, DType::f64)); });
  Tensor mean = Tensor::full({8}, 3);
  bn.set_running_mean(mean);
  mean.mutable_data<float>()[0] = 100;  // T48: it was copied
  EXPECT_EQ(bn.running_mean().value().at(0), 3);
}

TEST(BatchNormLayer, T32NothingMovesWithoutACommit) {
  BatchNorm bn(2);
  const auto before = snapshot(bn);
  Tape tape;
  bn(tape.leaf(samples({4, 2})));
  expect_unchanged(bn, before);
  thrown<UsageError>([&] {
    tape.step([&] {
      bn(tape.leaf(samples({4, 2})));
      throw UsageError("later");
    });
  });
  expect_unchanged(bn, before);
  tape.commit();
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 1);
}

TEST(BatchNormLayer, T49BuffersAreNotParameters) {
  BatchNorm bn(2);
  EXPECT_EQ(bn.parameters().size(), 2u);
  for (const State& p : bn.parameters()) EXPECT_FALSE(p == bn.running_mean() || p == bn.running_var());
}

TEST(BatchNormLayer, T51CalledTwiceUpdatesTwice) {
  BatchNorm bn(2, {.dtype = DType::f64});
  const Tensor a = samples({4, 2}, 1, DType::f64);
  const Tensor b = samples({4, 2}, 2, DType::f64);
  Tape tape;
  tape.step([&] {
    bn(tape.leaf(a));
    bn(tape.leaf(b));
  });
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 2);
  EXPECT_NEAR(bn.running_mean().value().at(0), 0.9 * 0.1 * mean_of(a, 0, 2) + 0.1 * mean_of(b, 0, 2), 1e-12);
}

TEST(BatchNormLayer, T53UpdatesDoNotDependOnRecording) {
  BatchNorm recorded(2);
  BatchNorm unrecorded(2);
  const Tensor x = samples({4, 2});
  call(recorded, x);
  Tape tape;
  tape.step([&] { tape.no_record([&] { return unrecorded(tape.leaf(x)); }); });
  EXPECT_TRUE(identical(recorded.running_mean().value(), unrecorded.running_mean().value()));
  EXPECT_EQ(unrecorded.num_batches_tracked().value().item(), 1);
}

TEST(BatchNormLayer, T54T55DTypes) {
  BatchNorm bn(2);
  const std::string text = thrown<DTypeError>([&] { call(bn, samples({4, 2}, 0, DType::f64)); });
  EXPECT_NE(text.find("x is f64 but gamma is f32"), std::string::npos) << text;
  // Without parameters x may have another dtype; statistics are kept in the layer's.
  BatchNorm plain(2, {.scale = false, .shift = false});
  EXPECT_EQ(call(plain, samples({4, 2}, 0, DType::f64)).dtype(), DType::f64);
  EXPECT_EQ(plain.running_mean().value().dtype(), DType::f32);
  plain.eval();
  EXPECT_EQ(call(plain, samples({4, 2}, 0, DType::f64)).dtype(), DType::f64);
}

TEST(BatchNormLayer, T56IntegerInput) {
  const std::string text = thrown<DTypeError>([] { call(BatchNorm(2), Tensor::zeros({4, 2}, DType::i64)); });
  EXPECT_EQ(text.find("batch_norm: needs a floating type, got i64; got i64[4, 2] (%0 \"x\"). Convert x with cast(x, "
                      "DType::f32). (batch_norm_test.cpp:"),
            0u)
      << text;
}

TEST(BatchNormLayer, T60Printing) {
  EXPECT_EQ(BatchNorm(64).describe(), "BatchNorm(64, eps=1e-05, momentum=new 0.1, affine, track, frozen=false)");
  EXPECT_EQ(BatchNorm(8, BatchNormLayerOptions::keras()).describe(),
            "BatchNorm(8, eps=0.001, momentum=old 0.99, affine, track, frozen=false, biased, channel_axis=-1)");
  EXPECT_EQ(BatchNorm(8, {.momentum = Momentum::cumulative(), .scale = false, .track_running_stats = false}).describe(),
            "BatchNorm(8, eps=1e-05, momentum=cumulative, shift, no track, frozen=false)");
}

TEST(BatchNormLayer, Presets) {
  const BatchNormLayerOptions course = BatchNormLayerOptions::cs231n();
  EXPECT_EQ(course.initial_variance, 0);
  EXPECT_EQ(course.momentum.weight_of_old(), 0.9);
  EXPECT_EQ(BatchNormLayerOptions::onnx().running_variance, nn::RunningVariance::biased);
  EXPECT_EQ(BatchNormLayerOptions::flax().channel_axis, -1);
  EXPECT_EQ(BatchNormLayerOptions::mlx().running_variance, nn::RunningVariance::unbiased);
  EXPECT_TRUE(BatchNormLayerOptions::paper().momentum.is_cumulative());
  EXPECT_NEAR(BatchNormLayerOptions::pytorch().momentum.weight_of_new(), 0.1, 1e-15);
}

}  // namespace
}  // namespace ebb::test
