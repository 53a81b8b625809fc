// Matrix products.
#pragma once

#include <ebb/engine/row/structural.h>

namespace ebb {

struct MatmulOptions {
  bool transpose_a = false;
  bool transpose_b = false;
};

/// Matrix product, batched over leading axes.
///
/// Shapes    a [..., M, K], b [..., K, N] -> [..., M, N]; leading axes broadcast. With transpose_a a is [..., K, M],
/// with
///           transpose_b b is [..., N, K]. A vector [K] is a row on the left, a column on the right, and its axis is
///           dropped from the result.
/// Gradient  da = ct @ b^T, db = a^T @ ct, each summed to its input's shape.
/// Throws    ShapeError if the two K differ or the leading axes do not broadcast; DTypeError unless both are floating.
/// Error     at most K ulp relative to |a| @ |b|.
/// Example   matmul(x, w);   // f32[32, 784], f32[784, 128] -> f32[32, 128]
Var matmul(const Operand& a, const Operand& b, const MatmulOptions& options = {});

std::span<const Row* const> linalg_rows();

}  // namespace ebb
