// What a batch normalization layer keeps and how, in every convention that is in use.
//
// Frameworks disagree on what `momentum` weighs, on the variance that is kept, on eps and on the layout, and a number
// carried from one to another goes wrong in silence. So the weight is typed, and each framework's habits have a preset.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/ops/batch_norm/batch_norm.h>

#include <string>

namespace ebb::nn {

/// How running statistics move towards a batch's.
class Momentum {
 public:
  /// The weight of the new batch. From 0.9 on a note says that Keras counts the other way round. Throws UsageError
  /// outside of [0, 1], as do new_weight() and old_weight().
  Momentum(double new_weight, Location where = Location::current());

  /// running = (1 - w) running + w batch: PyTorch's momentum.
  static Momentum new_weight(double w, Location where = Location::current());
  /// running = w running + (1 - w) batch: the momentum of Keras, Flax and ONNX.
  static Momentum old_weight(double w, Location where = Location::current());
  /// The mean over all batches, each counted once, whatever its size: PyTorch's momentum=None.
  static Momentum cumulative() { return Momentum(Kind::cumulative, 0); }
  /// The mean over all batches, each counted by its number of values per channel.
  static Momentum cumulative_by_count() { return Momentum(Kind::by_count, 0); }

  bool is_cumulative() const { return kind_ == Kind::cumulative; }
  bool is_by_count() const { return kind_ == Kind::by_count; }
  /// The weight of the new batch, and of the old value, as it was given or as 1 - the other; 0 where cumulative.
  double weight_of_new() const { return kind_ == Kind::old_weight ? 1 - weight_ : weight_; }
  double weight_of_old() const { return kind_ == Kind::new_weight ? 1 - weight_ : weight_; }

  /// `new 0.1`, `old 0.99`, `cumulative`, `cumulative by count`.
  std::string describe() const;

 private:
  enum class Kind : std::uint8_t { new_weight, old_weight, cumulative, by_count };
  Momentum(Kind kind, double weight) : kind_(kind), weight_(weight) {}
  Kind kind_;
  double weight_;
};

/// Which variance is kept. Batches are normalised with the biased one (divided by n) in either case.
enum class RunningVariance : std::uint8_t {
  unbiased,  ///< divided by n - 1
  biased,    ///< divided by n
};

/// What training does with one value per channel, whose variance is 0 and tells nothing.
enum class SingleValuePolicy : std::uint8_t {
  error,
  use_running,  ///< normalise with the running statistics, and leave them
  allow,        ///< out = shift, dx = 0; the running mean is updated, the running variance left
};

/// What training does with a batch whose statistics are NaN or infinite. The output has the NaN in any case.
enum class OnNonfinite : std::uint8_t {
  skip_update,  ///< leave the running statistics, and count the batch in num_batches_skipped
  propagate,    ///< update all the same, as PyTorch does: evaluation gives NaN from then on
  error,        ///< throw; in anomaly mode this is always so. While tracing there is no value to judge: as skip_update
};

/// What evaluation does in a layer that keeps no running statistics.
enum class EvalWithoutStats : std::uint8_t { use_batch, error };

struct BatchNormLayerOptions {
  double eps = 1e-5;  ///< added to the variance, inside the square root
  Momentum momentum = Momentum::new_weight(0.1);
  RunningVariance running_variance = RunningVariance::unbiased;
  bool scale = true;  ///< gamma, the parameter `weight`
  bool shift = true;  ///< beta, the parameter `bias`
  bool track_running_stats = true;
  int channel_axis = 1;  ///< negative axes count from the back
  BatchNormKernel kernel = BatchNormKernel::fused;
  SingleValuePolicy single_value = SingleValuePolicy::error;
  OnNonfinite on_nonfinite = OnNonfinite::skip_update;
  EvalWithoutStats eval_without_stats = EvalWithoutStats::use_batch;
  double initial_mean = 0;
  double initial_variance = 1;
  DType dtype = DType::f32;  ///< of parameters and statistics

  /// PyTorch and libtorch, and tinygrad: the defaults.
  static BatchNormLayerOptions pytorch() { return {}; }
  /// Keras: old weight 0.99, eps 1e-3, biased, channels last.
  static BatchNormLayerOptions keras();
  /// Flax: old weight 0.99, biased, channels last.
  static BatchNormLayerOptions flax();
  /// MLX: as PyTorch, channels last.
  static BatchNormLayerOptions mlx();
  /// ONNX from opset 15 on: old weight 0.9, biased.
  static BatchNormLayerOptions onnx();
  /// The CS231n course: old weight 0.9, biased, and both statistics begin at 0, so early evaluations are far off.
  static BatchNormLayerOptions cs231n();
  /// Algorithm 2 of the paper: the population's statistics are means over batches, of the unbiased variance.
  static BatchNormLayerOptions paper();
};

}  // namespace ebb::nn
