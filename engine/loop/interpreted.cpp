// A loop interpreted: block by block, every step's lane on a piece that fits the cache, then the reductions on it.
//
// A step's result lies in its thread's scratch until its last reader is done, or where it is kept.
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/loop/scratch.h>

#include <algorithm>
#include <cstring>
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
    if (!(step_[i].used || step_[i].over) || !in_scratch(step_[i])) continue;
    // A step's result must not overlap its operands: theirs are free from the next step on.
    std::size_t region = 0;
    while (region < regions && busy_until[region] >= i) ++region;
    regions = std::max(regions, region + 1);
    busy_until[region] = std::max(last[i], i);
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
    if ((step.used || step.over) && in_scratch(step)) run(scratch + step.scratch, at.n, at.n * at.rows, false);
    if (step.over) {
      const std::byte* from = scratch + step.scratch;
      for (std::int64_t row = 0; row < at.planes * at.rows; ++row, from += at.n * step.out_size) {
        const std::int64_t to = at.offset + row / at.rows * plane_ + row % at.rows * row_;
        std::memcpy(step.place + to * step.out_size, from, static_cast<std::size_t>(at.n * step.out_size));
      }
      continue;
    }
    if (step.place && (!step.used || stream_ || !in_scratch(step))) {
      run(step.place + at.offset * step.out_size, row_, plane_, stream_);
    }
  }
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
