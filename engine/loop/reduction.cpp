#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>

namespace ebb {

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
  const Cut cut(plan, x.numel(), cells);
  const std::int64_t size = static_cast<std::int64_t>(size_of(x.dtype()));
  CachedVector<std::int64_t> carry(static_cast<std::size_t>(cut.chunks * cells));
  const std::size_t axis = cut.row_axis();
  const std::int64_t stride = axis < plan.rank() ? plan.strides()[axis] : 0;
  const auto take = cut.apart ? reducer.each : plan.inner_reduced() ? reducer.run : reducer.columns;
  parallel_for((cut.tasks + cut.tasks_per_grain - 1) / cut.tasks_per_grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t task = begin * cut.tasks_per_grain; task < std::min(cut.tasks, end * cut.tasks_per_grain);
         ++task) {
      reducer.init(carry.data() + cut.first_cell(task), cut.cells_of(task));
      cut.walk(task, false, [&](const Block& block) {
        const std::int64_t at = plan.offset(false, block.kept, plan.strides()) +
                                plan.offset(true, block.row, plan.strides()) + block.column;
        take(x.raw() + at * size, block.rows, stride, block.n, carry.data() + block.cell);
      });
    }
  });
  for (std::int64_t chunk = 1; chunk < cut.chunks; ++chunk) {
    reducer.merge(carry.data(), carry.data() + chunk * cells, cells);
  }
  reducer.finish(carry.data(), cells, count, out.mutable_raw());
}

}  // namespace ebb
