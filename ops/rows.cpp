#include <ebb/ops/rows.h>

#include <ebb/engine/row/structural.h>
#include <ebb/ops/batch_norm/batch_norm.h>
#include <ebb/ops/derivatives/jacobian.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/indexing.h>
#include <ebb/ops/linalg/matmul.h>
#include <ebb/ops/loss/cross_entropy.h>
#include <ebb/ops/random/random.h>
#include <ebb/ops/reduction/moments.h>
#include <ebb/ops/reduction/reduction.h>
#include <ebb/ops/scan/scan.h>
#include <ebb/ops/sorting/sorting.h>

#include <vector>

namespace ebb {

std::span<const Row* const> all_rows() {
  static const auto rows = [] {
    std::vector<const Row*> out;
    for (const auto family :
         {structural_rows(), elementwise_rows(), reduction_rows(), moment_rows(), scan_rows(), sorting_rows(),
          random_rows(), linalg_rows(), indexing_rows(), loss_rows(), batch_norm_rows(), derivative_rows()}) {
      out.insert(out.end(), family.begin(), family.end());
    }
    return out;
  }();
  return rows;
}

const Row* find_row(std::string_view name) {
  for (const Row* row : all_rows()) {
    if (row->name == name) return row;
  }
  return nullptr;
}

}  // namespace ebb
