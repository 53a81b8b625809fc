// Cross-entropy of class scores against labels: as a composition, and as one fused row.
//
// Both forms take the same input and refuse the same input, with the same words. A row of logits without a finite
// softmax (a +inf, or -inf everywhere) is an error rather than a NaN that is found a hundred steps later; NaN itself
// passes through, so that anomaly mode finds where it came from.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// How the losses of the rows become the result.
enum class Reduction : std::uint8_t { mean, sum, none };

enum class CrossEntropyKernel : std::uint8_t {
  fused,   ///< one row forward, one backward; while tracing, the composition
  staged,  ///< log_softmax, gather
};

struct CrossEntropyOptions {
  Reduction reduction = Reduction::mean;
  CrossEntropyKernel kernel = CrossEntropyKernel::fused;
};

/// -log(softmax(logits)[label]) for each row, then their mean, sum, or none of them.
///
/// Shapes    logits [N, C], labels i64 [N] -> [], or [N] for Reduction::none.
/// Gradient  dlogits = (softmax(logits) - one_hot(labels)) ct, divided by N for the mean; none for labels.
/// Throws    ShapeError unless the shapes are these, or for the mean over no rows; DTypeError unless logits are
/// floating
///           and labels i64; UsageError for a label outside of [0, C), for a row that is -inf everywhere or holds +inf.
/// Error     8 ulp of max |logits|.
/// Example   cross_entropy(net(x), labels);   // f32[32, 10], i64[32] -> f32[]
Var cross_entropy(const Operand& logits, const Operand& labels, const CrossEntropyOptions& options = {});

std::span<const Row* const> loss_rows();

}  // namespace ebb
