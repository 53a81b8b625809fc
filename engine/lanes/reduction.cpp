#include <ebb/engine/lanes/reduction.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

constexpr std::int64_t kChunkWork = 64 * 1024;  // elements worth a chunk of their own
constexpr std::int64_t kMaxChunks = 16;
constexpr std::int64_t kRunBlock = 1024;        // runs are cut at multiples of this
constexpr std::int64_t kRowBlock = 64;          // rows are cut at multiples of this

struct Axis {
  std::int64_t size;
  std::int64_t stride;  // in elements of x
};

// The kept axes and the reduced ones, outermost first, after merging neighbours of one sort. The innermost axis of the
// tensor is held apart: it is a run or a row of columns.
struct Plan {
  std::array<Axis, kMaxRank> kept{}, reduced{};
  std::size_t kept_rank = 0, reduced_rank = 0;
  std::int64_t inner = 1;
  bool inner_reduced = false;
  std::int64_t outer_kept = 1;  // product of `kept`
  std::int64_t outer_reduced = 1;

  Plan(const Shape& shape, const IntList& axes) {
    std::array<std::int64_t, kMaxRank> size{};
    std::array<bool, kMaxRank> is_reduced{};
    std::size_t rank = 0;
    for (int i = 0; i < shape.rank(); ++i) {
      if (shape[i] == 1) continue;
      const bool r = axes.contains(i);
      if (rank > 0 && is_reduced[rank - 1] == r) {
        size[rank - 1] *= shape[i];
      } else {
        size[rank] = shape[i];
        is_reduced[rank++] = r;
      }
    }
    if (rank == 0) return;
    inner = size[rank - 1];
    inner_reduced = is_reduced[rank - 1];
    std::int64_t stride = inner;
    std::array<std::int64_t, kMaxRank> strides{};
    for (std::size_t i = rank - 1; i-- > 0;) {
      strides[i] = stride;
      stride *= size[i];
    }
    for (std::size_t i = 0; i + 1 < rank; ++i) {
      if (is_reduced[i]) {
        reduced[reduced_rank++] = {size[i], strides[i]};
        outer_reduced *= size[i];
      } else {
        kept[kept_rank++] = {size[i], strides[i]};
        outer_kept *= size[i];
      }
    }
  }

  static std::int64_t offset(std::span<const Axis> axes, std::int64_t index) {
    std::int64_t at = 0;
    for (std::size_t i = axes.size(); i-- > 0;) {
      at += index % axes[i].size * axes[i].stride;
      index /= axes[i].size;
    }
    return at;
  }
  std::int64_t kept_offset(std::int64_t i) const { return offset({kept.data(), kept_rank}, i); }
  std::int64_t reduced_offset(std::int64_t i) const { return offset({reduced.data(), reduced_rank}, i); }
};

}  // namespace

const Reducer* reducer_of(const Row& row, DType dtype) {
  const ReducerTable* table = row.reducer[static_cast<std::size_t>(active_isa())];
  return table ? table->by_dtype[static_cast<std::size_t>(dtype)] : nullptr;
}

void run_reduction(const Row& row, const Tensor& x, const IntList& axes, Tensor& out) {
  const Reducer& reducer = *reducer_of(row, x.dtype());
  out = Tensor::empty(out.shape(), out.dtype());
  const std::int64_t cells = out.numel();
  if (cells == 0) return;
  const std::int64_t count = x.numel() / cells;
  if (count == 0) {  // over nothing
    CachedVector<std::int64_t> carry(static_cast<std::size_t>(cells));
    reducer.init(carry.data(), cells);
    reducer.finish(carry.data(), cells, 0, out.mutable_raw());
    return;
  }

  const Plan plan(x.shape(), axes);
  const std::byte* const data = x.raw();
  const std::int64_t size = static_cast<std::int64_t>(size_of(x.dtype()));
  const std::int64_t cells_per_kept = plan.inner_reduced ? 1 : plan.inner;

  // Chunks cut the reduced extent where there is too little to keep the pool busy otherwise.
  const std::int64_t runs = plan.inner_reduced && plan.outer_reduced == 1
                                ? (plan.inner + kRunBlock - 1) / kRunBlock
                                : plan.outer_reduced;
  const std::int64_t grain = plan.inner_reduced ? 1 : std::min(kRowBlock, runs);
  std::int64_t chunks = plan.outer_kept >= kMaxChunks ? 1 : std::clamp<std::int64_t>(x.numel() / kChunkWork, 1, kMaxChunks);
  chunks = std::min(chunks, (runs + grain - 1) / grain);
  const auto cut = [&](std::int64_t chunk) {
    return std::min(runs, (runs * chunk / chunks + grain - 1) / grain * grain);
  };

  CachedVector<std::int64_t> carry(static_cast<std::size_t>(chunks * cells));
  const auto work = [&](std::int64_t kept, std::int64_t chunk) {
    std::int64_t* const cell = carry.data() + chunk * cells + kept * cells_per_kept;
    reducer.init(cell, cells_per_kept);
    const std::int64_t base = plan.kept_offset(kept);
    const std::int64_t first = cut(chunk);
    const std::int64_t last = cut(chunk + 1);
    if (plan.inner_reduced && plan.outer_reduced == 1) {
      const std::int64_t begin = first * kRunBlock;
      const std::int64_t end = std::min(plan.inner, last * kRunBlock);
      if (begin < end) reducer.run(data + (base + begin) * size, 1, 0, end - begin, cell);
    } else if (plan.reduced_rank == 0) {  // nothing is reduced
      reducer.columns(data + base * size, 1, 0, plan.inner, cell);
    } else {
      const Axis& rows = plan.reduced[plan.reduced_rank - 1];
      const auto take = plan.inner_reduced ? reducer.run : reducer.columns;
      for (std::int64_t r = first; r < last;) {  // rows of one stride, up to the end of their axis
        const std::int64_t n = std::min(last - r, rows.size - r % rows.size);
        take(data + (base + plan.reduced_offset(r)) * size, n, rows.stride, plan.inner, cell);
        r += n;
      }
    }
  };
  const std::int64_t tasks = plan.outer_kept * chunks;
  const std::int64_t per_task = std::max<std::int64_t>(1, kChunkWork / 4 / std::max<std::int64_t>(1, x.numel() / tasks));
  parallel_for((tasks + per_task - 1) / per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin * per_task; t < std::min(tasks, end * per_task); ++t) work(t / chunks, t % chunks);
  });
  for (std::int64_t chunk = 1; chunk < chunks; ++chunk) {
    reducer.merge(carry.data(), carry.data() + chunk * cells, cells);
  }
  reducer.finish(carry.data(), cells, count, out.mutable_raw());
}

}  // namespace ebb
