// Where the innermost axis is reduced, the extremum of a block is found with the reduction's packs, and only the block
// that holds the best is searched for its place. Columns keep places beside values in packs. Extrema are exact, so any
// cut gives the same result.
#include <ebb/ops/reduction/arg.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>

#include <algorithm>
#include <cmath>

namespace ebb {

namespace base {
extern const std::array<ArgTable, 1> kArgTables;
}
namespace avx2 {
extern const std::array<ArgTable, 1> kArgTables;
}
namespace avx512 {
extern const std::array<ArgTable, 1> kArgTables;
}

namespace {

constexpr std::int64_t kBlock = 4096;        // elements whose extremum is found at once
constexpr std::int64_t kShort = 32;          // runs up to here are searched one by one
constexpr std::int64_t kTile = 256;          // columns side by side
constexpr std::int64_t kGrain = 16 * 1024;   // elements worth a thread
constexpr std::int64_t kPiece = 64 * 1024;   // elements of a lone run that are worth a thread
constexpr std::int64_t kManyRows = 1 << 30;  // rows whose number an int32 holds

template <class T>
bool is_nan(T x) {
  return x != x;  // true of NaN alone
}

template <class T>
struct Best {
  T value{};
  std::int64_t at = -1;

  // Takes in a later candidate.
  void take(T other, std::int64_t place, bool largest) {
    if (at >= 0 && !(largest ? other > value : other < value) && !(is_nan(other) && !is_nan(value))) return;
    if (at >= 0 && is_nan(value)) return;
    value = other;
    at = place;
  }
};

template <class T>
class Runs {
 public:
  Runs(const Reducer& reducer, bool largest) : reducer_(reducer), largest_(largest) {}

  // The extremum of n elements, the first of which is at place `first`.
  void search(const T* x, std::int64_t n, std::int64_t first, Best<T>& best) const {
    if (n <= kShort) {
      const Best<T> found = largest_ ? first_of<true>(x, n) : first_of<false>(x, n);
      best.take(found.value, first + found.at, largest_);
      return;
    }
    Best<T> block;
    for (std::int64_t i = 0; i < n; i += kBlock) {
      std::int64_t cell;
      reducer_.init(&cell, 1);
      reducer_.run(x + i, 1, 0, 1, 0, std::min(kBlock, n - i), &cell);
      T value;
      reducer_.finish(&cell, 1, 1, &value);
      block.take(value, i, largest_);
    }
    const Best<T> before = best;
    best.take(block.value, first, largest_);
    if (best.at == before.at && before.at >= 0) return;
    const T* at = x + block.at;
    while (!(*at == block.value || (is_nan(*at) && is_nan(block.value)))) ++at;
    best.at = first + (at - x);
  }

 private:
  // One by one, without a branch: which element is better cannot be foreseen.
  template <bool kLargest>
  static Best<T> first_of(const T* x, std::int64_t n) {
    T value = x[0];
    std::int64_t at = 0;
    for (std::int64_t i = 1; i < n; ++i) {
      const int better = kLargest ? x[i] > value : x[i] < value;
      const int first_nan = static_cast<int>(is_nan(x[i])) & static_cast<int>(!is_nan(value));
      const bool take = (better | first_nan) != 0;
      value = take ? x[i] : value;
      at = take ? i : at;
    }
    return {value, at};
  }

  const Reducer& reducer_;
  bool largest_;
};

template <class T>
void run_arg_of(KernelCall& call, bool largest, const Row& extremum) {
  const Tensor& x = *call.in[0];
  std::int64_t* const out = call.allocate<std::int64_t>();
  if (call.out.numel() == 0) return;
  const T* const data = call.data<T>(0);
  const Plan plan(x.shape(), call.attrs.list("axes"));
  const std::int64_t inner = plan.inner();
  const std::int64_t rows = plan.outer_reduced();
  const std::int64_t total = x.numel();

  if (plan.inner_reduced() || plan.rank() == 0) {
    const Runs<T> runs(*reducer_of(extremum, x.dtype()), largest);
    if (plan.outer_kept() == 1 && rows == 1 && total >= 2 * kPiece) {  // one run, in pieces
      constexpr std::int64_t kPieces = 16;
      std::array<Best<T>, kPieces> best;
      const std::int64_t piece = (total / kPieces + kBlock) / kBlock * kBlock;
      parallel_for(kPieces, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin; p < end; ++p) {
          const std::int64_t first = std::min(total, p * piece);
          const std::int64_t n = std::min(total, first + piece) - first;
          if (n > 0) runs.search(data + first, n, first, best[static_cast<std::size_t>(p)]);
        }
      });
      for (const Best<T>& b : best) {
        if (b.at >= 0) best[0].take(b.value, b.at, largest);
      }
      out[0] = best[0].at;
      return;
    }
    const bool lines = plan.rank() <= 2;  // one behind another
    const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (rows * inner));
    parallel_for((plan.outer_kept() + grain - 1) / grain, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t kept = begin * grain; kept < std::min(plan.outer_kept(), end * grain); ++kept) {
        const T* const base = data + (lines ? kept * inner : plan.offset(false, kept, plan.strides()));
        Best<T> best;
        for (std::int64_t row = 0; row < rows; ++row) {
          runs.search(base + plan.offset(true, row, plan.strides()), inner, row * inner, best);
        }
        out[kept] = best.at;
      }
    });
    return;
  }

  const ArgTable& table =
      *per_isa(base::kArgTables, avx2::kArgTables, avx512::kArgTables, 0)[static_cast<std::size_t>(active_isa())];
  const ArgColumns columns = (largest ? table.largest : table.smallest)[static_cast<std::size_t>(x.dtype())];
  const std::size_t axis = plan.row_axis(true);
  const std::int64_t segment = axis < plan.rank() ? std::min(plan.size(axis), kManyRows) : 1;
  const std::int64_t stride = axis < plan.rank() ? plan.strides()[axis] : 0;
  const std::int64_t tiles = (inner + kTile - 1) / kTile;
  const std::int64_t tasks = plan.outer_kept() * tiles;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain * tasks / total);
  parallel_for((tasks + grain - 1) / grain, [&](std::int64_t begin, std::int64_t end) {
    std::array<T, kTile> value;
    std::array<std::int64_t, kTile> place;
    std::array<Best<T>, kTile> best;
    for (std::int64_t task = begin * grain; task < std::min(tasks, end * grain); ++task) {
      const std::int64_t kept = task / tiles;
      const std::int64_t first = task % tiles * kTile;
      const std::int64_t n = std::min(kTile, inner - first);
      std::fill_n(best.begin(), n, Best<T>{});
      const T* const base = data + plan.offset(false, kept, plan.strides()) + first;
      for (std::int64_t row = 0; row < rows;) {
        const std::int64_t size = axis < plan.rank() ? plan.size(axis) : 1;
        const std::int64_t count = std::min(segment, size - row % size);
        columns(base + plan.offset(true, row, plan.strides()), count, stride, n, value.data(), place.data());
        for (std::int64_t c = 0; c < n; ++c) {
          const auto k = static_cast<std::size_t>(c);
          best[k].take(value[k], row + place[k], largest);
        }
        row += count;
      }
      for (std::int64_t c = 0; c < n; ++c) out[kept * inner + first + c] = best[static_cast<std::size_t>(c)].at;
    }
  });
}

}  // namespace

void run_arg(KernelCall& call, bool largest, const Row& extremum) {
  with_type(call.in[0]->dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (!std::is_same_v<T, bool>) run_arg_of<T>(call, largest, extremum);
  });
}

}  // namespace ebb
