#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/reduction.h>

namespace ebb {

// Where a block begins: in the whole shape, and in each source.
struct Loop::Place {
  std::int64_t rows, n;
  std::int64_t offset;
  std::array<std::int64_t, kMaxSources> source_offset;
};

void Loop::clear() {
  for (std::size_t i = 0; i < sources_; ++i) source_[i].tensor = Tensor();
  steps_ = sources_ = reductions_ = 0;
  axes_.reset();
}

void Loop::begin(const Shape& shape) {
  clear();
  shape_ = shape;
}

bool Loop::fits(const Shape& shape) const {
  if (!axes_ || shape == shape_ || shape.numel() == 1) return true;
  Strides ignored{};
  return Plan(shape_, *axes_).strides_of(shape, ignored);
}

bool Loop::can_reduce(const IntList& axes) const {
  if (axes_) return *axes_ == axes;
  const Plan plan(shape_, axes);
  Strides ignored{};
  for (std::size_t i = 0; i < sources_; ++i) {
    const Shape& shape = source_[i].tensor.shape();
    if (!(shape == shape_) && !plan.strides_of(shape, ignored)) return false;
  }
  return true;
}

Loop::Operand Loop::add_source(const Tensor& tensor) {
  for (std::size_t i = 0; i < sources_; ++i) {
    if (source_[i].tensor.shares_buffer_with(tensor) && source_[i].tensor.shape() == tensor.shape()) return {false, i};
  }
  source_[sources_].tensor = tensor;
  return {false, sources_++};
}

Loop::Operand Loop::add_step(const Row& row, std::span<const Operand> operands, DType lane_dtype, DType dtype) {
  Step& step = step_[steps_];
  step = Step{};
  step.lane = lane_of(row, lane_dtype);
  step.arity = operands.size();
  for (std::size_t k = 0; k < operands.size(); ++k) {
    step.operands[k] = operands[k];
    const bool condition = k == 0 && row.signature == Signature::select;
    step.size[k] = condition ? 1 : static_cast<std::int64_t>(size_of(lane_dtype));
  }
  step.out_size = static_cast<std::int64_t>(size_of(dtype));
  step.sources = sources_;
  return {true, steps_++};
}

std::size_t Loop::add_reduction(const Row& row, Operand operand, DType dtype, const IntList& axes) {
  axes_ = axes;
  const std::int64_t size = static_cast<std::int64_t>(size_of(dtype));
  reduction_[reductions_] = {reducer_of(row, dtype), operand, size, size, nullptr, sources_};
  return reductions_++;
}

void Loop::pop_step() {
  --steps_;
  trim_sources();
}

void Loop::pop_reduction() {
  if (--reductions_ == 0) axes_.reset();
  trim_sources();
}

// Steps and reductions come and go in one order, so what is left knows how many sources it has.
void Loop::trim_sources() {
  std::size_t left = steps_ > 0 ? step_[steps_ - 1].sources : 0;
  if (reductions_ > 0) left = std::max(left, reduction_[reductions_ - 1].sources);
  while (sources_ > left) source_[--sources_].tensor = Tensor();
}

// False if there is nothing to compute.
bool Loop::mark_used() {
  bool any = false;
  for (std::size_t i = 0; i < steps_; ++i) step_[i].used = false;
  for (std::size_t i = 0; i < reductions_; ++i) {
    if (!reduction_[i].place) continue;
    any = true;
    if (reduction_[i].operand.is_step) step_[reduction_[i].operand.index].used = true;
  }
  for (std::size_t i = steps_; i-- > 0;) {
    Step& step = step_[i];
    if (!step.used && !step.place) continue;  // nobody wants it
    any = true;
    for (std::size_t k = 0; k < step.arity; ++k) {
      if (step.operands[k].is_step) step_[step.operands[k].index].used = true;
    }
  }
  return any;
}

// Gives each step that has no place a region of the scratch. A region is used again once the last reader of its step is
// done: the fewer there are, the nearer they stay.
void Loop::give_scratch() {
  constexpr std::size_t kRegion = Cut::kBlockElements * 8 + 64;  // a cache line apart: blocks do not fight for sets
  std::array<std::size_t, kMaxSteps> last{};
  for (std::size_t i = 0; i < steps_; ++i) {
    if (!step_[i].used && !step_[i].place) continue;
    for (std::size_t k = 0; k < step_[i].arity; ++k) {
      if (step_[i].operands[k].is_step) last[step_[i].operands[k].index] = i;
    }
  }
  for (std::size_t i = 0; i < reductions_; ++i) {  // these read after all steps
    if (reduction_[i].place && reduction_[i].operand.is_step) last[reduction_[i].operand.index] = steps_;
  }
  std::array<std::size_t, kMaxSteps> busy_until{};
  std::size_t regions = 0;
  for (std::size_t i = 0; i < steps_; ++i) {
    if (!step_[i].used || !in_scratch(step_[i])) continue;
    // A step's result must not overlap its operands: theirs are free from the next step on.
    std::size_t region = 0;
    while (region < regions && busy_until[region] >= i) ++region;
    regions = std::max(regions, region + 1);
    busy_until[region] = last[i];
    step_[i].scratch = region * kRegion;
  }
  scratch_bytes_ = regions * kRegion;
}

// What is the same for all blocks.
void Loop::prepare(const Plan& plan, std::size_t axis) {
  const auto row_of = [&](const Strides& strides) { return axis < plan.rank() ? strides[axis] : 0; };
  row_stride_ = row_of(plan.strides());
  for (std::size_t i = 0; i < sources_; ++i) {
    plan.strides_of(source_[i].tensor.shape(), source_[i].strides);
    source_[i].row = row_of(source_[i].strides);
  }
  for (std::size_t i = 0; i < steps_; ++i) {
    Step& step = step_[i];
    step.moves = 0;
    for (std::size_t k = 0; k < step.arity; ++k) {
      const Operand& operand = step.operands[k];
      const bool moves = operand.is_step || (plan.rank() > 0 && source_[operand.index].strides[plan.rank() - 1] != 0);
      step.moves |= (moves ? 1u : 0u) << k;
    }
  }
}

Loop::Place Loop::locate(const Plan& plan, const Block& block, bool reduced) const {
  Strides index{};
  plan.indices(reduced, block.row, index);
  if (reduced) plan.indices(false, block.kept, index);
  const std::size_t rank = plan.rank();
  if (rank > 0) index[rank - 1] = block.column;
  const auto of = [&](const Strides& strides) {
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < rank; ++axis) at += index[axis] * strides[axis];
    return at;
  };
  Place at;
  at.rows = block.rows;
  at.n = block.n;
  at.offset = of(plan.strides());
  for (std::size_t i = 0; i < sources_; ++i) at.source_offset[i] = of(source_[i].strides);
  return at;
}

void Loop::compute(const Place& at, std::byte* scratch) const {
  LaneCall call;  // one for all: to clear it for each step would make the lane wait for those stores
  call.rows = at.rows;
  call.n = at.n;
  for (std::size_t i = 0; i < steps_; ++i) {
    const Step& step = step_[i];
    if (!step.used && !step.place) continue;
    for (std::size_t k = 0; k < step.arity; ++k) {
      const std::int64_t size = step.size[k];
      const Operand& operand = step.operands[k];
      if (!operand.is_step) {
        const Source& source = source_[operand.index];
        call.in[k] = source.tensor.raw() + at.source_offset[operand.index] * size;
        call.row_step[k] = source.row * size;
        continue;
      }
      const Step& from = step_[operand.index];
      call.in[k] = in_scratch(from) ? scratch + from.scratch : from.place + at.offset * size;
      call.row_step[k] = (in_scratch(from) ? at.n : row_stride_) * size;
    }
    call.steps = step.moves;
    if (step.used && in_scratch(step)) {
      call.out = scratch + step.scratch;
      call.out_step = at.n * step.out_size;
      call.stream = false;
      step.lane(call);
    }
    if (step.place && (!step.used || stream_ || !in_scratch(step))) {
      call.out = step.place + at.offset * step.out_size;
      call.out_step = row_stride_ * step.out_size;
      call.stream = stream_;
      step.lane(call);
    }
  }
}

namespace {

// A block's results that nobody keeps, one region per thread.
std::byte* thread_scratch(std::size_t bytes) {
  thread_local CachedVector<std::byte> scratch;
  if (scratch.size() < bytes) scratch.resize(bytes);
  return scratch.data();
}

}  // namespace

void Loop::run() {
  if (!mark_used()) return;
  stream_ = false;
  for (std::size_t i = 0; i < steps_; ++i) {
    stream_ |= step_[i].place && shape_.numel() * step_[i].out_size >= kStreamBytes;
  }
  give_scratch();
  Plan plan(shape_, axes_.value_or(IntList{}));
  if (!axes_) {
    for (std::size_t i = 0; i < sources_; ++i) plan.split_for(source_[i].tensor.shape());
  }
  reductions_ > 0 ? run_reductions(plan) : run_steps(plan);
}

// Without reductions every axis is kept: rows along the axis next to the innermost, or pieces of the only one.
void Loop::run_steps(const Plan& plan) {
  prepare(plan, plan.row_axis(false));
  const std::int64_t total = shape_.numel();
  const std::int64_t inner = plan.inner();
  const std::int64_t rows = total / inner;
  const bool back = next_direction();
  const std::int64_t per_task =
      rows == 1 ? Cut::kBlockElements : std::max<std::int64_t>(1, Cut::kBlockElements / inner);
  const std::int64_t extent = rows == 1 ? total : rows;
  const std::size_t axis = plan.row_axis(false);
  const std::int64_t tasks = (extent + per_task - 1) / per_task;
  // Where a reduction is one chunk, and so one thread's work, the steps stay with that thread and its caches.
  const std::int64_t per_thread = total < 2 * Cut::kChunkWork ? tasks : 2;
  parallel_for((tasks + per_thread - 1) / per_thread, [&](std::int64_t begin, std::int64_t end) {
    std::byte* const scratch = thread_scratch(scratch_bytes_);
    const std::int64_t first = begin * per_thread;
    const std::int64_t last = std::min(tasks, end * per_thread);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t task = back ? first + last - 1 - i : i;
      const std::int64_t stop = std::min(extent, (task + 1) * per_task);
      Block block;
      if (rows == 1) {
        block.column = task * per_task;
        block.n = stop - block.column;
        compute(locate(plan, block, false), scratch);
        continue;
      }
      for (block.row = task * per_task; block.row < stop; block.row += block.rows) {
        block.rows = std::min(stop - block.row, plan.size(axis) - block.row % plan.size(axis));
        // A row that is longer than a block comes in pieces.
        for (block.column = 0; block.column < inner; block.column += block.n) {
          block.n = std::min(inner - block.column, Cut::kBlockElements);
          compute(locate(plan, block, false), scratch);
        }
        block.column = 0;
      }
    }
  });
}

void Loop::run_reductions(const Plan& plan) {
  const std::int64_t elements = shape_.numel();
  const std::int64_t cells = plan.outer_kept() * (plan.inner_reduced() ? 1 : plan.inner());
  const Cut cut(plan, elements, cells);
  prepare(plan, cut.row_axis());
  const std::int64_t carry_size = cut.chunks * cells;
  CachedVector<std::int64_t> carry(static_cast<std::size_t>(carry_size) * reductions_);
  const auto cell_of = [&](std::size_t reduction, std::int64_t cell) {
    return carry.data() + static_cast<std::int64_t>(reduction) * carry_size + cell;
  };
  parallel_for((cut.tasks + cut.tasks_per_grain - 1) / cut.tasks_per_grain, [&](std::int64_t begin, std::int64_t end) {
    std::byte* const scratch = thread_scratch(scratch_bytes_);
    for (std::int64_t task = begin * cut.tasks_per_grain; task < std::min(cut.tasks, end * cut.tasks_per_grain);
         ++task) {
      for (std::size_t r = 0; r < reductions_; ++r) {
        if (reduction_[r].place) reduction_[r].reducer->init(cell_of(r, cut.first_cell(task)), cut.cells_of(task));
      }
      cut.walk(task, steps_ > 0, [&](const Block& block) {
        const Place at = locate(plan, block, true);
        compute(at, scratch);
        for (std::size_t r = 0; r < reductions_; ++r) {
          const Reduction& reduction = reduction_[r];
          if (!reduction.place) continue;
          const std::byte* x = nullptr;
          std::int64_t stride = row_stride_;
          if (!reduction.operand.is_step) {
            x = source_[reduction.operand.index].tensor.raw() + at.offset * reduction.size;
          } else if (const Step& step = step_[reduction.operand.index]; !in_scratch(step)) {
            x = step.place + at.offset * reduction.size;
          } else {
            x = scratch + step.scratch;
            stride = at.n;
          }
          const Reducer& reducer = *reduction.reducer;
          const auto take = cut.apart ? reducer.each : plan.inner_reduced() ? reducer.run : reducer.columns;
          take(x, at.rows, stride, at.n, cell_of(r, block.cell));
        }
      });
    }
  });
  for (std::size_t r = 0; r < reductions_; ++r) {
    if (!reduction_[r].place) continue;
    const Reducer& reducer = *reduction_[r].reducer;
    for (std::int64_t chunk = 1; chunk < cut.chunks; ++chunk) {
      reducer.merge(cell_of(r, 0), cell_of(r, chunk * cells), cells);
    }
    reducer.finish(cell_of(r, 0), cells, elements / cells, reduction_[r].place);
  }
}

}  // namespace ebb
