// The batch normalization layer: the op, its parameters, and the running statistics that evaluation uses.
//
// Whether running statistics are updated depends on the mode alone, never on whether gradients are recorded. An update
// is recorded like any other op and noted on the tape: it takes effect when the step commits, and not at all if the
// step throws. A node keeps the mode that it was recorded in, so switching modes before the backward pass changes
// nothing.
#pragma once

#include <ebb/nn/layers/batch_norm_options.h>
#include <ebb/nn/module.h>

namespace ebb::nn {

/// What training does with a layer's statistics.
struct TrainingStatistics {
  bool use_batch = true;  ///< normalise with the batch's; false: with the running ones, as evaluation does
  bool update = true;     ///< move the running ones
};

/// (x - mean) / sqrt(variance + eps) * weight + bias, per channel.
///
/// Shapes    x [N, C], [N, C, L], [N, C, H, W], ... or the channel-last twins; all states [C] -> x.shape.
/// Modes     training: the batch's statistics, biased variance; evaluation: the running ones, as constants.
/// Running   running = (1 - w) running + w batch, after every training call; with a batch of no values nothing moves.
/// Throws    ShapeError if x has not num_features channels, or one value per channel (see SingleValuePolicy);
/// DTypeError
///           if x is not floating or not of the parameters' dtype. Before anything is recorded or noted.
/// Example   nn::BatchNorm bn(100, {.momentum = nn::Momentum::old_weight(0.99)});
class BatchNorm : public Module {
 public:
  explicit BatchNorm(std::int64_t num_features, const BatchNormLayerOptions& options = {});

  std::int64_t num_features() const { return num_features_; }
  const BatchNormLayerOptions& options() const { return options_; }

  /// Throw UsageError that names the option where the layer has none.
  const State& weight() const;
  const State& bias() const;
  const State& running_mean() const;
  const State& running_var() const;
  const State& num_batches_tracked() const;
  const State& num_batches_skipped() const;

  /// Copy and check. Throw ShapeError for a wrong length, DTypeError for another dtype, UsageError where there is none.
  void set_weight(const Tensor& value) { set(weight(), "weight", value); }
  void set_bias(const Tensor& value) { set(bias(), "bias", value); }
  void set_running_mean(const Tensor& value) { set(running_mean(), "running_mean", value); }
  void set_running_var(const Tensor& value) { set(running_var(), "running_var", value); }
  /// Back to the initial mean and variance and a count of 0; weight and bias stay.
  void reset_running_stats();

  /// Uses the running statistics in training too and leaves them as they are; train() does not undo it. Whether weight
  /// and bias learn is another matter.
  void freeze_stats() { set_training_statistics({.use_batch = false, .update = false}); }
  void unfreeze_stats() { set_training_statistics({}); }
  bool frozen() const { return !update_.get(); }
  /// The two switches apart. Throws UsageError for use_batch = false without running statistics.
  void set_training_statistics(const TrainingStatistics& statistics);
  TrainingStatistics training_statistics() const { return {use_batch_.get(), update_.get()}; }

  /// True once a batch was counted, or running statistics were set.
  bool stats_initialised() const;

  std::string_view kind() const override { return "BatchNorm"; }
  std::string describe() const override;

 protected:
  Var forward(const Var& x) const override;
  std::unique_ptr<Module> new_like() const override;
  void copy_settings(const Module& other) override;

 private:
  void check(const Operand& x) const;
  Var normalise_with_running(const Operand& x) const;
  void update(const Operand& x, const BatchNormResult& batch, std::int64_t count) const;
  void report_nonfinite(const Operand& x, const BatchNormResult& batch) const;
  void set(const State& state, std::string_view name, const Tensor& value);
  std::string path() const;

  std::int64_t num_features_;
  BatchNormLayerOptions options_;
  Flag use_batch_{true}, update_{true};  // TrainingStatistics, as traces look at them
  State weight_, bias_;
  State running_mean_, running_var_;
  State batches_;  // i64 []
  State skipped_;  // i64 []; only with skip_update
  State values_;   // i64 []: values per channel seen so far; only with cumulative_by_count
};

}  // namespace ebb::nn
