// The places of extrema: what argmax and argmin compute.
#pragma once

#include <ebb/engine/row/row.h>

namespace ebb {

/// Columns of an array: out[c] becomes the first row whose element c is the extremum among `rows` rows, `stride`
/// elements apart, and best[c] that element. At most 2^31 - 1 rows.
using ArgColumns = void (*)(const void* x, std::int64_t rows, std::int64_t stride, std::int64_t n, void* best,
                            std::int64_t* out);
struct ArgTable {
  std::array<ArgColumns, kDTypeCount> largest{};
  std::array<ArgColumns, kDTypeCount> smallest{};
};

/// The kernel of argmax, or of argmin. `extremum` is the row whose reducer finds the value.
void run_arg(KernelCall& call, bool largest, const Row& extremum);

}  // namespace ebb
