// Copying a box of elements from one layout to another: the one kernel of every movement row, and of what comes
// in from foreign memory.
//
// Slices, paddings, permutations and concatenations differ in their strides only. Axes that both sides walk alike are
// merged and small tiles are copied at a time, so that a transposition reads and writes whole cache lines.
#pragma once

#include <ebb/engine/tensor/dtype.h>
#include <ebb/engine/tensor/shape.h>

#include <cstddef>

namespace ebb {

/// The strides of a row-major tensor, in elements.
Strides strides_of(const Shape& shape);

/// Copies the elements of the box `sizes`: the one at index i goes from from[i . from_strides] to to[i . to_strides].
void copy_strided(const Shape& sizes, DType dtype, const std::byte* from, const Strides& from_strides, std::byte* to,
                  const Strides& to_strides);

}  // namespace ebb
