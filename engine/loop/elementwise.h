// Running elementwise lanes over whole tensors.
//
// An operand of a smaller shape is read with stride 0; axes that all operands walk alike are merged, so that most calls
// are one contiguous run. Large outputs are written around the cache, and split over the pool at bounds that do not
// change a bit of the result.
#pragma once

#include <ebb/engine/row/row.h>

#include <span>

namespace ebb {

/// Outputs from this size on are written around the cache: they would not survive in it.
inline constexpr std::int64_t kStreamBytes = 16 << 20;
/// And those that nobody is known to read again, from this size on, half of a large second-level cache: what is read
/// again stays there in their place. (A batchnorm step over 1 MiB gains 15-25 %; over less it loses.)
inline constexpr std::int64_t kStreamResultBytes = 1 << 20;

/// An operand: elements in memory under a shape that broadcasts to the output's.
struct Source {
  const void* data;
  const Shape* shape;
};

/// Computes `out` (which has its shape and dtype, and gets its buffer here). `lane_dtype` is that of the last input.
void run_elementwise(const Row& row, std::span<const Source> in, DType lane_dtype, Tensor& out);

/// The lane of a row for a dtype on the instruction set in force; null if the row does not take the dtype.
Lane lane_of(const Row& row, DType dtype);

/// Copies `source` into `out`, repeating it along broadcast axes.
void run_broadcast(const Source& source, Tensor& out);

/// True every other time: then the next walk over a large tensor goes from its end to its beginning, since what one
/// walk touched last is still in the cache.
bool next_direction();
/// What a walk that could not choose has done.
void set_direction(bool back);
/// Elements from which on a loop's direction counts.
inline constexpr std::int64_t kLargeLoop = 16 * 1024;

}  // namespace ebb
