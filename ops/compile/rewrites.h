// The compiler's passes in the order in which they run, with the algebra of the ops.
#pragma once

#include <ebb/engine/program/passes/passes.h>
#include <ebb/engine/program/passes/rewriter.h>

#include <span>

namespace ebb {

/// What is gathered from an elementwise op is gathered from its operand.
extern const Pass kGathers;
/// What is scattered into zeros is scattered into what they are added to; its sums are those of what is scattered.
extern const Pass kScatters;
/// mean is a sum, a division by something smaller a product.
extern const Pass kLower;
/// Products and sums of products in normal form.
extern const Pass kAlgebra;
/// Sums over axes of products: factors come out, sums split.
extern const Pass kLinearity;

/// The mean and the squared deviations from it in one pass.
extern const Pass kMoments;

/// All of them, the engine's too.
std::span<const Pass> all_passes();

}  // namespace ebb
