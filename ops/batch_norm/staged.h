// The nine steps, and what both kernels of batchnorm share: how statistics run over a shape. Private to ops/;
// layer_norm takes steps 5 to 9 from here.
#pragma once

#include <ebb/ops/batch_norm/batch_norm.h>

namespace ebb::batch_norm_detail {

/// The statistics of [N, C, ...]: which axes they run over, and how many values each channel has.
struct Statistics {
  int channel_axis;   ///< counted from the front
  IntList axes;       ///< all others
  bool keepdim;       ///< false where [C] broadcasts by itself: the channel axis is the last
  Shape per_channel;  ///< [C], or [C, 1, 1] where axes follow the channel's
  std::int64_t channels;
  std::int64_t count;  ///< values per channel

  Statistics(const Shape& x, int channel_axis);
};

/// The statistics that a call's inputs may have, or an error that names them.
Statistics check(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
                 const BatchNormOptions& options);

struct Steps {
  Var out;
  Var mean, variance;  ///< of the staged form
  Var moments;         ///< of the fused form: f64 [2, C]
};

/// Steps 1 to 9, named; without gamma and beta steps 8 and 9 are left out.
Steps nine_steps(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
                 const BatchNormOptions& options);

/// Steps 5 to 9: from the centred values and their variance to the output, gamma and beta reshaped to `parameter`.
Var normalise(const Var& xmu, const Var& variance, const std::optional<Var>& gamma, const std::optional<Var>& beta,
              const Shape& parameter, double eps);

/// The fused kernel's output and moments.
Steps fused(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
            const BatchNormOptions& options);

}  // namespace ebb::batch_norm_detail
