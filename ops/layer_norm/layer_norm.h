// Layer normalisation (Ba, Kiros and Hinton 2016, arXiv 1607.06450): batchnorm's nine steps, with statistics of each
// sample over its trailing axes instead of each channel over the batch. A composition: its backward is derived.
#pragma once

#include <ebb/engine/row/structural.h>

#include <optional>

namespace ebb {

struct LayerNormOptions {
  int normalized_ndim = 1;  ///< how many trailing axes the statistics run over
  double eps = 1e-5;        ///< added to the variance, inside the square root
};

/// (x - mean) / sqrt(variance + eps) * gamma + beta, with the statistics of each sample (the variance biased).
///
/// Shapes    x [..., D], gamma, beta [D], where D stands for the trailing axes -> x.shape. With one value per sample
///           out = beta.
/// Gradient  as batch_norm's, over the trailing axes; dgamma, dbeta summed over the leading ones.
/// Throws    ShapeError for more normalised axes than x has, for none, or for a gamma or beta of another shape;
///           DTypeError unless all are of one floating dtype; UsageError for a bad eps.
/// Error     grows with |mean| / deviation, as the mean is rounded to x's dtype.
/// Example   layer_norm(x, gamma, beta);   // f32[8, 20, 64], f32[64], f32[64] -> f32[8, 20, 64]
Var layer_norm(const Operand& x, const std::optional<Var>& gamma = {}, const std::optional<Var>& beta = {},
               const LayerNormOptions& options = {});

}  // namespace ebb
