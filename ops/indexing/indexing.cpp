#include <ebb/ops/indexing/indexing.h>

#include <vector>

namespace ebb {

std::span<const Row* const> indexing_rows() {
  static const auto rows = [] {
    std::vector<const Row*> out;
    for (const auto family : {gather_rows(), slice_rows(), permute_rows(), iota_rows()}) {
      out.insert(out.end(), family.begin(), family.end());
    }
    return out;
  }();
  return rows;
}

}  // namespace ebb
