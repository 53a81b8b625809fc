// Batch normalisation (Ioffe and Szegedy 2015, arXiv 1502.03167), as nine recorded steps and as a fused kernel.
//
// The staged form is the procedure that students know, one line per step; its backward is derived by the engine and
// bears the fourteen well-known names. The fused form is the hand-written kernel that it is measured and checked
// against. Both are right at every order of differentiation.
#pragma once

#include <ebb/engine/row/structural.h>

#include <optional>
#include <string>
#include <vector>

namespace ebb {

enum class BatchNormKernel : std::uint8_t {
  staged,  ///< the nine steps
  fused,   ///< the hand-written kernel; while tracing, the nine steps
  both,    ///< fused, after both were run forward and backward and found to agree
};

/// What to do in training with one value per channel, whose variance is 0 and tells nothing.
enum class SingleValue : std::uint8_t {
  error,
  allow,  ///< out = beta, dx = 0
};

struct BatchNormOptions {
  double eps = 1e-5;     ///< added to the variance, inside the square root
  int channel_axis = 1;  ///< statistics run over all other axes; negative axes count from the back
  BatchNormKernel kernel = BatchNormKernel::staged;
  SingleValue single_value = SingleValue::error;
};

/// The output, and the statistics it was normalised with.
struct BatchNormResult {
  Var out;
  Var mean;      ///< [C], in x's dtype
  Var variance;  ///< [C], biased (divided by n), in x's dtype; no gradient flows through either
};

/// (x - mean) / sqrt(variance + eps) * gamma + beta, with the statistics of this batch.
///
/// Shapes    x [N, C], [N, C, L], [N, C, H, W], ... or the channel-last twins; gamma, beta [C] -> x.shape.
/// Gradient  dx = gamma ivar / n (n dout - sum(dout) - xhat sum(dout xhat)), dgamma = sum(dout xhat), dbeta =
/// sum(dout). Throws    ShapeError for a rank below 2, an axis outside of x, no channels, a gamma or beta that is not
/// [C], or one
///           value per channel; DTypeError unless all are of one floating dtype; UsageError for a bad eps, and with
///           kernel `both` where the kernels disagree.
/// Error     fused: 8 ulp of max |out| whatever the mean (32 where a channel begins with an outlier); staged: grows
/// with |mean| / deviation, as step 1 rounds the
///           mean to x's dtype.
Var batch_norm(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
               const BatchNormOptions& options = {});

/// The same, with the statistics beside the output.
BatchNormResult batch_norm_with_statistics(const Operand& x, const std::optional<Var>& gamma,
                                           const std::optional<Var>& beta, const BatchNormOptions& options = {});

/// Evaluation: normalises with given statistics, which are constants.
///
/// Shapes    as batch_norm; mean, variance [C].
/// Gradient  dx = dout gamma ivar, dgamma = sum(dout (x - mean) ivar), dbeta = sum(dout).
Var batch_norm_eval(const Operand& x, const Var& mean, const Var& variance, const std::optional<Var>& gamma,
                    const std::optional<Var>& beta, const BatchNormOptions& options = {});

/// How far two kernels are apart in one tensor.
struct Disagreement {
  std::string name;       ///< out, dx, dgamma, dbeta
  double difference = 0;  ///< the largest |staged - fused|
  double bound = 0;       ///< what the tolerance allows there
  /// Equal results agree, whatever the bound: with an input that is not finite it is NaN.
  bool agrees() const;
};

/// Runs the staged and the fused kernel forward, and backward with a fixed random cotangent, on a tape of its own.
std::vector<Disagreement> compare_batch_norm_kernels(const Tensor& x, const std::optional<Tensor>& gamma,
                                                     const std::optional<Tensor>& beta,
                                                     const BatchNormOptions& options = {});

std::span<const Row* const> batch_norm_rows();

}  // namespace ebb
