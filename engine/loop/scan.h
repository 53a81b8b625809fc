// Running one scan along an axis.
#pragma once

#include <ebb/engine/row/row.h>

#include <span>

namespace ebb {

/// Scans the inputs, which have one shape and dtype, along the attribute `axis` (counted from the front), from its end
/// to its beginning if the attribute `reverse` is set. `out` has its shape and dtype and gets its buffer here.
void run_scan(const Row& row, std::span<const Tensor* const> in, const Attrs& attrs, Tensor& out);

}  // namespace ebb
