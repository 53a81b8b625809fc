#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>

namespace ebb {

const Reducer* reducer_of(const Row& row, DType dtype) {
  const ReducerTable* table = row.reducer[static_cast<std::size_t>(active_isa())];
  return table ? table->by_dtype[static_cast<std::size_t>(dtype)] : nullptr;
}

void run_reduction(const Row& row, const Tensor& x, const IntList& axes, Tensor& out) {
  const Reducer& reducer = *reducer_of(row, x.dtype());
  std::byte* const result = out.result_raw();
  const std::int64_t cells = out.numel();
  if (cells == 0) return;
  const std::int64_t count = x.numel() / cells;
  if (count == 0) {  // over nothing
    CachedVector<std::int64_t> carry(static_cast<std::size_t>(cells * reducer.cell_words));
    reducer.init(carry.data(), cells);
    reducer.finish(carry.data(), cells, 0, result);
    return;
  }

  const Plan plan(x.shape(), axes);
  const Cut cut(plan, x.numel());
  const std::int64_t size = static_cast<std::int64_t>(size_of(x.dtype()));
  CachedVector<std::int64_t> carry(static_cast<std::size_t>(cut.chunks * cells * reducer.cell_words));
  cut.share([&](std::int64_t begin, std::int64_t end) {
    cut.walk(begin, end, false, false, [&](const Block& block) {
      const std::int64_t at =
          plan.offset(false, block.kept, plan.strides()) + plan.offset(true, block.row, plan.strides()) + block.column;
      reduce_block(reducer, cut, block, x.raw() + at * size, size, plan.step(1), plan.step(2), carry.data());
    });
  });
  merge_chunks(reducer, cut, carry.data());
  reducer.finish(carry.data(), cells, count, result);
}

void reduce_block(const Reducer& reducer, const Cut& cut, const Block& block, const std::byte* x, std::int64_t size,
                  std::int64_t row_step, std::int64_t plane_step, std::int64_t* carry) {
  std::int64_t* const cells = carry + block.cell * reducer.cell_words;
  if (cut.plan.inner_reduced()) {  // a row is a kept index
    if (block.fresh) reducer.init(cells, block.kepts);
    reducer.run(x, block.kepts, row_step, block.rows, plane_step, block.n, cells);
    return;
  }
  for (std::int64_t k = 0; k < block.kepts; ++k) {
    std::int64_t* const of_plane = cells + k * cut.cells_per_kept * reducer.cell_words;
    if (block.fresh) reducer.init(of_plane, block.n);
    reducer.columns(x + k * plane_step * size, block.rows, row_step, block.n, of_plane);
  }
}

void merge_chunks(const Reducer& reducer, const Cut& cut, std::int64_t* carry) {
  for (std::int64_t chunk = 1; chunk < cut.chunks; ++chunk) {
    reducer.merge(carry, carry + chunk * cut.cells * reducer.cell_words, cut.cells);
  }
}

}  // namespace ebb
