#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/generated.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/loop/scratch.h>

#include <algorithm>
#include <utility>

namespace ebb {
namespace {

constexpr std::int64_t kShortRow = 16;  // elements: up to here a row costs more than its elements

}  // namespace

// A block as planes of rows, and where it begins: in the whole shape, and in each source.
struct Loop::Place {
  std::int64_t planes, rows, n;
  std::int64_t offset;
  std::array<std::int64_t, kMaxSources> source_offset;
};

Loop::Loop() = default;
Loop::~Loop() = default;

void Loop::clear() {
  generated_.reset();
  for (std::size_t i = 0; i < sources_; ++i) source_[i].tensor = Tensor();
  steps_ = sources_ = reductions_ = 0;
  axes_.reset();
  walk_axes_.reset();
  backward_ = false;
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
  source_[sources_].data = tensor.raw();
  return {false, sources_++};
}

Loop::Operand Loop::add_step(const Row& row, std::span<const Operand> operands, DType lane_dtype, DType dtype) {
  Step& step = step_[steps_];
  step = Step{};
  step.row = &row;
  step.lane = lane_of(row, lane_dtype);
  step.dtype = lane_dtype;
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
  reduction_[reductions_] = {&row, reducer_of(row, dtype), dtype, operand, size, size, nullptr, sources_};
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
  std::array<std::size_t, kMaxSteps> last{};
  std::int64_t widest = 0;
  for (std::size_t i = 0; i < steps_; ++i) {
    if (!step_[i].used && !step_[i].place) continue;
    widest = std::max(widest, step_[i].out_size);
    for (std::size_t k = 0; k < step_[i].arity; ++k) {
      widest = std::max(widest, step_[i].size[k]);
      if (step_[i].operands[k].is_step) last[step_[i].operands[k].index] = i;
    }
  }
  for (std::size_t i = 0; i < reductions_; ++i) {  // these read after all steps
    if (reduction_[i].place && reduction_[i].operand.is_step) last[reduction_[i].operand.index] = steps_;
  }
  region_ = static_cast<std::size_t>(Cut::kMostElements * widest) + 64;  // a line apart: blocks do not fight for sets
  std::array<std::size_t, kMaxSteps> busy_until{};
  std::size_t regions = 0;
  for (std::size_t i = 0; i < steps_; ++i) {
    if (!step_[i].used || !in_scratch(step_[i])) continue;
    // A step's result must not overlap its operands: theirs are free from the next step on.
    std::size_t region = 0;
    while (region < regions && busy_until[region] >= i) ++region;
    regions = std::max(regions, region + 1);
    busy_until[region] = last[i];
    step_[i].scratch = region * region_;
  }
  scratch_bytes_ = regions * region_;
}

// What is the same for all blocks.
void Loop::prepare(const Plan& plan) {
  row_ = plan.step(1);
  plane_ = plan.step(2);
  for (std::size_t i = 0; i < sources_; ++i) {
    plan.strides_of(source_[i].tensor.shape(), source_[i].strides);
    source_[i].row = plan.step(source_[i].strides, 1);
    source_[i].plane = plan.step(source_[i].strides, 2);
    source_[i].spread = false;
  }
  for (std::size_t i = 0; i < steps_; ++i) {
    Step& step = step_[i];
    step.moves = 0;
    if (!step.used && !step.place) continue;
    for (std::size_t k = 0; k < step.arity; ++k) {
      const Operand& operand = step.operands[k];
      bool moves = operand.is_step || (plan.rank() > 0 && source_[operand.index].strides[plan.rank() - 1] != 0);
      if (!moves && source_[operand.index].row != 0 && plan.inner() <= kShortRow) {
        Source& source = source_[operand.index];
        if (!std::exchange(source.spread, true))
          source.scratch = std::exchange(scratch_bytes_, scratch_bytes_ + region_);
        moves = true;
      }
      step.moves |= (moves ? 1u : 0u) << k;
    }
  }
}

Loop::Place Loop::locate(const Plan& plan, const Block& block, bool reduced) const {
  const Strides index = plan.begin_of(block, reduced);
  Place at;
  // The axis next to the innermost is of the other sort.
  at.planes = plan.inner_reduced() ? block.rows : block.kepts;
  at.rows = plan.inner_reduced() ? block.kepts : block.rows;
  at.n = block.n;
  at.offset = plan.offset(index, plan.strides());
  for (std::size_t i = 0; i < sources_; ++i) at.source_offset[i] = plan.offset(index, source_[i].strides);
  return at;
}

namespace {

// Rows that follow one another without a gap, for the output and every input, are one row; and so for planes.
void merge_levels(LaneCall& call, std::span<const std::int64_t> sizes, std::int64_t out_size) {
  for (int level = 0; level < 2; ++level) {
    if (call.rows > 1) {
      if (call.out_step != call.n * out_size) return;
      for (std::size_t k = 0; k < sizes.size(); ++k) {
        if (call.row_step[k] != ((call.steps >> k & 1) != 0 ? call.n * sizes[k] : 0)) return;
      }
      call.n *= call.rows;
    }
    call.rows = call.planes;
    call.row_step = call.plane_step;
    call.out_step = call.out_plane;
    call.planes = 1;
  }
}

}  // namespace

// Writes out the rows of what is repeated along them: rows that are too short for a loop of their own become one.
void Loop::spread(const Place& at, std::byte* scratch) const {
  for (std::size_t i = 0; i < sources_; ++i) {
    const Source& source = source_[i];
    if (!source.spread) continue;
    with_type(source.tensor.dtype(), [&]<class T>(std::type_identity<T>) {
      const T* const from = reinterpret_cast<const T*>(source.data) + at.source_offset[i];
      T* to = reinterpret_cast<T*>(scratch + source.scratch);
      for (std::int64_t plane = 0; plane < (source.plane != 0 ? at.planes : 1); ++plane) {
        for (std::int64_t row = 0; row < at.rows; ++row) {
          std::fill_n(to, at.n, from[plane * source.plane + row * source.row]);
          to += at.n;
        }
      }
    });
  }
}

void Loop::compute(const Place& at, std::byte* scratch) const {
  spread(at, scratch);
  LaneCall call;  // one for all: to clear it for each step would make the lane wait for those stores
  for (std::size_t i = 0; i < steps_; ++i) {
    const Step& step = step_[i];
    if (!step.used && !step.place) continue;
    const auto run = [&](std::byte* out, std::int64_t row, std::int64_t plane, bool stream) {
      call.planes = at.planes;
      call.rows = at.rows;
      call.n = at.n;
      for (std::size_t k = 0; k < step.arity; ++k) {
        const std::int64_t size = step.size[k];
        const Operand& operand = step.operands[k];
        const auto set = [&](const std::byte* in, std::int64_t row_step, std::int64_t plane_step) {
          call.in[k] = in;
          call.row_step[k] = row_step * size;
          call.plane_step[k] = plane_step * size;
        };
        if (!operand.is_step && source_[operand.index].spread) {
          const Source& source = source_[operand.index];
          set(scratch + source.scratch, at.n, source.plane != 0 ? at.n * at.rows : 0);
        } else if (!operand.is_step) {
          const Source& source = source_[operand.index];
          set(source.data + at.source_offset[operand.index] * size, source.row, source.plane);
        } else if (const Step& from = step_[operand.index]; in_scratch(from)) {
          set(scratch + from.scratch, at.n, at.n * at.rows);
        } else {
          set(from.place + at.offset * size, row_, plane_);
        }
      }
      call.out = out;
      call.out_step = row * step.out_size;
      call.out_plane = plane * step.out_size;
      call.steps = step.moves;
      call.stream = stream;
      merge_levels(call, {step.size.data(), step.arity}, step.out_size);
      step.lane(call);
    };
    if (step.used && in_scratch(step)) run(scratch + step.scratch, at.n, at.n * at.rows, false);
    if (step.place && (!step.used || stream_ || !in_scratch(step))) {
      run(step.place + at.offset * step.out_size, row_, plane_, stream_);
    }
  }
}

bool Loop::generate() {
  mark_used();
  generated_ = Generated::make(*this);
  return is_generated();
}

bool Loop::run_together(std::span<Loop* const> loops) {
  if (!std::ranges::all_of(loops, [](const Loop* l) { return l->generated_ && l->generated_->ready(*l); }))
    return false;
  Generated::run_together(loops);
  return true;
}

void Loop::run() {
  if (generated_ && generated_->ready(*this)) return generated_->run(*this);
  if (!mark_used()) return;
  stream_ = false;
  for (std::size_t i = 0; i < steps_; ++i) {
    stream_ |= step_[i].place && shape_.numel() * step_[i].out_size >= kStreamBytes;
  }
  give_scratch();
  if (const std::optional<IntList> axes = axes_ ? axes_ : repeated_axes()) {
    const Plan plan(shape_, *axes);
    prepare(plan);
    run_cut(plan);
    return;
  }
  Plan plan(shape_, IntList{});
  for (std::size_t i = 0; i < sources_; ++i) plan.split_for(source_[i].tensor.shape());
  prepare(plan);
  run_flat(plan);
}

// A loop in the cache that reduces nothing is cut as one that reduces what its operands are repeated along: such loops
// come before and after it, and each thread finds its part in its own cache. Nothing if there is no such operand, or
// another does not fit.
std::optional<IntList> Loop::repeated_axes() const {
  if (walk_axes_) return walk_axes_;
  if (shape_.numel() > Cut::kNear) return std::nullopt;
  for (std::size_t i = 0; i < sources_; ++i) {
    const Shape& shape = source_[i].tensor.shape();
    if (shape.numel() == 1 || shape.numel() == shape_.numel()) continue;
    IntList axes;
    for (int axis = 0; axis < shape_.rank(); ++axis) {
      const int own = axis - shape_.rank() + shape.rank();
      if (own < 0 || shape[own] != shape_[axis]) axes.push_back(axis);
    }
    const Plan plan(shape_, axes);
    for (std::size_t k = 0; k < sources_; ++k) {
      Strides ignored{};
      if (!plan.strides_of(source_[k].tensor.shape(), ignored)) return std::nullopt;
    }
    return axes;
  }
  return std::nullopt;
}

// Every axis is kept: rows along the axis next to the innermost, or pieces of the only one.
void Loop::run_flat(const Plan& plan) {
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
  Scratch parts(scratch_bytes_);
  parallel_for((tasks + per_thread - 1) / per_thread, [&](std::int64_t begin, std::int64_t end) {
    std::byte* const scratch = parts.take();
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

// A large loop goes the other way than the one before, as far as it may: what that has touched last is still in the
// cache. Small ones in between do not count. Sums of columns that are not cut into chunks have their own direction.
bool Loop::direction(const Cut& cut) const {
  if (cut.by_columns && reductions_ > 0) {
    set_direction(backward_);
    return backward_;
  }
  return shape_.numel() >= kLargeLoop && next_direction();
}

void Loop::run_cut(const Plan& plan) {
  const Cut cut(plan, shape_.numel());
  // Reductions of one family over one operand accumulate once.
  std::array<std::int64_t, kMaxReductions> first_cell{};
  std::int64_t words = 0;
  for (std::size_t r = 0; r < reductions_; ++r) {
    Reduction& reduction = reduction_[r];
    reduction.accumulates = r;
    if (!reduction.place) continue;
    for (std::size_t k = 0; k < r && reduction.accumulates == r; ++k) {
      const Reduction& other = reduction_[k];
      const bool same_operand = other.operand == reduction.operand;
      if (other.place && same_operand && other.reducer->run == reduction.reducer->run) reduction.accumulates = k;
    }
    if (reduction.accumulates == r) {
      first_cell[r] = words;
      words += cut.chunks * cut.cells * reduction.reducer->cell_words;
    }
  }
  CachedVector<std::int64_t> carry(static_cast<std::size_t>(words));
  const auto carry_of = [&](std::size_t r) { return carry.data() + first_cell[reduction_[r].accumulates]; };
  const bool back = direction(cut);
  Scratch parts(scratch_bytes_);
  cut.share([&](std::int64_t begin, std::int64_t end) {
    std::byte* const scratch = parts.take();
    cut.walk(begin, end, back, steps_ > 0, [&](const Block& block) {
      const Place at = locate(plan, block, true);
      compute(at, scratch);
      for (std::size_t r = 0; r < reductions_; ++r) {
        const Reduction& reduction = reduction_[r];
        if (!reduction.place || reduction.accumulates != r) continue;
        const auto take = [&](const std::byte* x, std::int64_t row, std::int64_t plane) {
          reduce_block(*reduction.reducer, cut, block, x, reduction.size, row, plane, carry_of(r));
        };
        if (!reduction.operand.is_step) {
          take(source_[reduction.operand.index].data + at.offset * reduction.size, row_, plane_);
        } else if (const Step& step = step_[reduction.operand.index]; in_scratch(step)) {
          take(scratch + step.scratch, at.n, at.n * at.rows);
        } else {
          take(step.place + at.offset * reduction.size, row_, plane_);
        }
      }
    });
  });
  for (std::size_t r = 0; r < reductions_; ++r) {
    const Reduction& reduction = reduction_[r];
    if (reduction.place && reduction.accumulates == r) merge_chunks(*reduction.reducer, cut, carry_of(r));
  }
  for (std::size_t r = 0; r < reductions_; ++r) {
    const Reduction& reduction = reduction_[r];
    if (reduction.place) reduction.reducer->finish(carry_of(r), cut.cells, shape_.numel() / cut.cells, reduction.place);
  }
}

}  // namespace ebb
