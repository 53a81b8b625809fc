// The places of extrema in columns, once per instruction set: plain loops, which the compiler turns into packs.
#include <ebb/ops/reduction/arg.h>

#include <type_traits>

namespace ebb::EBB_ISA {

// The first NaN wins, as in max and min.
template <class T, bool kLargest>
void columns(const void* data, std::int64_t rows, std::int64_t stride, std::int64_t n, void* values,
             std::int64_t* out) {
  using Place = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;  // as wide as T: they share a mask
  constexpr std::int64_t kTile = 64;
  for (std::int64_t first = 0; first < n; first += kTile) {
    const std::int64_t m = n - first < kTile ? n - first : kTile;
    const T* x = static_cast<const T*>(data) + first;
    T best[kTile] = {};
    Place place[kTile] = {};
    for (std::int64_t c = 0; c < m; ++c) best[c] = x[c];
    for (std::int64_t r = 1; r < rows; ++r) {
      const T* __restrict row = x + r * stride;
      for (std::int64_t c = 0; c < m; ++c) {
        const bool better = kLargest ? row[c] > best[c] : row[c] < best[c];
        const bool take = better | ((row[c] != row[c]) & (best[c] == best[c]));
        best[c] = take ? row[c] : best[c];
        place[c] = take ? static_cast<Place>(r) : place[c];
      }
    }
    for (std::int64_t c = 0; c < m; ++c) {
      static_cast<T*>(values)[first + c] = best[c];
      out[first + c] = place[c];
    }
  }
}

extern const std::array<ArgTable, 1> kArgTables;
const std::array<ArgTable, 1> kArgTables{
    ArgTable{{columns<float, true>, columns<double, true>, columns<std::int64_t, true>, nullptr},
             {columns<float, false>, columns<double, false>, columns<std::int64_t, false>, nullptr}}};

}  // namespace ebb::EBB_ISA
