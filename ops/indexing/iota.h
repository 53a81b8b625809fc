// Positions: 0, 1, 2, ... as a tensor, from which masks and indices are made.
#pragma once

#include <ebb/engine/row/structural.h>

#include <span>

namespace ebb {

/// 0, 1, ..., n - 1.
///
/// Shapes    -> [n].
/// Throws    ShapeError if n is negative; DTypeError for bool.
/// Error     exact; in f32 up to n = 2^24, beyond it rounded.
/// Example   iota(tape, 3);   // i64[3]: [0, 1, 2]
Var iota(Tape& tape, std::int64_t n, DType dtype = DType::i64, Location where = Location::current());

std::span<const Row* const> iota_rows();

}  // namespace ebb
