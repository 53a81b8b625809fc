#include <ebb/engine/loop/generated.h>

#include <ebb/engine/lanes/fold.h>
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/loop/scratch.h>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace ebb {
namespace {

using codegen::Id;
using codegen::KernelSpec;
using codegen::Piece;

constexpr std::int64_t kColumnsTogether = 1024;  // whose accumulators stay in the first-level cache
constexpr std::int64_t kRunsTogether = 64;
constexpr std::int64_t kCallBytes = 32 * 1024;   // of a row's operand that are worth a call
constexpr std::int64_t kRowsTogether = 32;       // where nothing is reduced
constexpr std::int64_t kNearBytes = 768 * 1024;  // of operands that stay in a second-level cache, if nobody says more
constexpr std::int64_t kTask = 16 * 1024;        // elements of a task where nothing is reduced
constexpr std::size_t kLongFormula = 24;         // values
constexpr int kFetchAhead = 2048;                // bytes
// Accumulators begin out of step with each other and with rows of 4 KiB: a load that follows a store at the same offset
// within a page waits for it.
constexpr std::size_t kStagger = 1024 + 64;

// Of operands that stay in this machine's second-level cache. What is computed does not depend on it.
std::int64_t near_bytes() {
#ifdef _SC_LEVEL2_CACHE_SIZE
  static const std::int64_t known = sysconf(_SC_LEVEL2_CACHE_SIZE) / 8 * 7;
  return std::max(known, kNearBytes);
#else
  return kNearBytes;
#endif
}

std::vector<lane::Symbol> names(std::size_t count) {
  std::vector<lane::Symbol> out;
  for (std::size_t k = 0; k < count; ++k) out.push_back(lane::Symbol::name("", static_cast<double>(k)));
  return out;
}

}  // namespace

std::unique_ptr<Loop::Generated> Loop::Generated::make(const Loop& loop) {
  if (!codegen::available() || loop.shape_.numel() == 0) return nullptr;
  const std::optional<IntList> axes = loop.axes_ ? loop.axes_ : loop.repeated_axes();
  Plan plan(loop.shape_, axes.value_or(IntList{}));
  if (!axes) {
    for (std::size_t i = 0; i < loop.sources_; ++i) plan.split_for(loop.source_[i].tensor.shape());
  }
  std::unique_ptr<Generated> out(new Generated(plan));
  if (axes) out->cut_.emplace(out->plan_, loop.shape_.numel());
  KernelSpec spec;
  if (!out->describe(loop, spec)) return nullptr;
  out->set_strides(loop, spec);
  out->choose_pieces();
  out->kernel_ = codegen::generate(spec);
  return out->kernel_ ? std::move(out) : nullptr;
}

bool Loop::Generated::describe(const Loop& loop, KernelSpec& spec) {
  const std::optional<DType> dtype = number_dtype(loop);
  if (!dtype) return false;
  spec.formula = codegen::Formula(*dtype);
  size_ = static_cast<std::int64_t>(size_of(*dtype));
  std::vector<std::optional<Id>> of_source(loop.sources_), of_step(loop.steps_);
  const auto operand = [&](const Operand& o) -> std::optional<Id> {
    if (o.is_step) return of_step[o.index];
    if (!of_source[o.index]) {
      const DType own = loop.source_[o.index].tensor.dtype();
      if ((own != *dtype && own != DType::boolean) || inputs_.size() == Piece::kMaxInputs) return {};
      of_source[o.index] =
          own == DType::boolean ? spec.formula.flag(inputs_.size()) : spec.formula.input(inputs_.size());
      inputs_.push_back({.source = o.index, .size = static_cast<std::int64_t>(size_of(own))});
    }
    return of_source[o.index];
  };
  for (std::size_t i = 0; i < loop.steps_; ++i) {
    const Step& step = loop.step_[i];
    if (!step.used && !step.place) continue;
    if (!step.row->record) return false;
    std::array<Id, LaneCall::kMaxArity> operands{};
    for (std::size_t k = 0; k < step.arity; ++k) {
      const std::optional<Id> id = operand(step.operands[k]);
      if (!id) return false;
      operands[k] = *id;
    }
    of_step[i] = step.row->record(spec.formula, step.dtype, {operands.data(), step.arity});
    if (!of_step[i]) return false;
    if (!step.place) continue;
    if (outputs_.size() == Piece::kMaxOutputs) return false;
    spec.outputs.push_back({*of_step[i], false});
    outputs_.push_back({i, step.out_size});
  }
  for (std::size_t r = 0; r < loop.reductions_; ++r) {
    const Reduction& reduction = loop.reduction_[r];
    if (!reduction.place) continue;
    const Row& row = *reduction.row;
    const std::size_t count = row.fold ? 1 : row.accumulators.count;
    const std::optional<Id> x = operand(reduction.operand);
    if (!x || count == 0 || row.reducer[0] == row.reducer[1] || spec.formula[*x].is_truth()) return false;
    const auto shared = std::ranges::find_if(sums_, [&](const Sum& sum) {
      const Reduction& other = loop.reduction_[sum.reductions[0]];
      return other.operand == reduction.operand && other.reducer->run == reduction.reducer->run;
    });
    if (shared != sums_.end()) {
      shared->reductions.push_back(r);
      continue;
    }
    const std::size_t first = spec.accumulators.size();
    if (first + count > Piece::kMaxAccumulators) return false;
    std::vector<Id> ids;
    for (std::size_t k = 0; k < count; ++k) ids.push_back(spec.formula.accumulator(first + k));
    ids.push_back(*x);
    const std::vector<lane::Symbol> parts = names(ids.size());
    const auto next_of = [&](std::size_t k) {
      return row.fold ? row.fold().step : row.accumulators.next(k, std::span(parts).first(count), parts.back());
    };
    for (std::size_t k = 0; k < count; ++k) {
      const auto begin = row.fold ? spec.formula.literal(row.fold().init)
                                  : spec.formula.add(row.accumulators.first(k, parts.back()), ids);
      const auto next = spec.formula.add(next_of(k), ids);
      if (!begin || !next) return false;
      spec.accumulators.push_back({*begin, *next});
    }
    sums_.push_back({reduction.reducer, count, first, 0, {r}});
  }
  accumulators_ = spec.accumulators.size();
  return true;
}

// The dtype of all of the loop's numbers; nothing if there are two, or others than floats.
std::optional<DType> Loop::Generated::number_dtype(const Loop& loop) {
  std::optional<DType> dtype;
  const auto takes = [&](DType d) {
    return d == DType::boolean || (is_floating(d) && *(dtype = dtype.value_or(d)) == d);
  };
  for (std::size_t i = 0; i < loop.steps_; ++i) {
    if ((loop.step_[i].used || loop.step_[i].place) && !takes(loop.step_[i].dtype)) return std::nullopt;
  }
  for (std::size_t r = 0; r < loop.reductions_; ++r) {
    if (loop.reduction_[r].place && !takes(loop.reduction_[r].dtype)) return std::nullopt;
  }
  return dtype.value_or(DType::f32);
}

void Loop::Generated::set_strides(const Loop& loop, KernelSpec& spec) {
  using Walk = KernelSpec::Walk;
  spec.walk = sums_.empty() ? Walk::rows : plan_.inner_reduced() ? Walk::runs : Walk::columns;
  row_ = plan_.step(1);
  plane_ = plan_.step(2);
  for (Input& input : inputs_) {
    plan_.strides_of(loop.source_[input.source].tensor.shape(), input.strides);
    input.row = plan_.step(input.strides, 1) * input.size;
    input.plane = plan_.step(input.strides, 2) * input.size;
    input.moves = plan_.rank() > 0 && input.strides[plan_.rank() - 1] != 0;
    // Long runs are cut, and their pieces are rows.
    const bool in_pieces = spec.walk == Walk::runs && plan_.inner() > Cut::kRunBlock && input.moves;
    const bool flag = loop.source_[input.source].tensor.dtype() == DType::boolean;
    spec.inputs.push_back({input.moves, in_pieces || input.row != 0, flag});
  }
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    const Step& step = loop.step_[outputs_[k].step];
    const std::int64_t least = step.handed_out ? kStreamResultBytes : kStreamBytes;
    outputs_[k].stream = !step.near && loop.shape_.numel() * size_ >= least && plan_.inner() * size_ % 64 == 0 &&
                         !spec.formula[spec.outputs[k].value].is_truth();
    spec.outputs[k].stream = outputs_[k].stream;
  }
  // A short formula has the loads of many packs under way; behind a long one, beside streamed stores, they come late.
  if (streams() && sums_.empty() && spec.formula.size() >= kLongFormula) spec.ahead = kFetchAhead;
}

void Loop::Generated::choose_pieces() {
  if (sums_.empty()) return;
  std::size_t words = 0;
  for (Sum& sum : sums_) {
    sum.cells = words;
    words += static_cast<std::size_t>(cut_->chunks * cut_->cells * sum.reducer->cell_words);
  }
  carry_.resize(words);
  const std::int64_t elements =
      plan_.inner_reduced() ? kRunsTogether * codegen::kPartials : std::min(plan_.inner() + 16, kColumnsTogether);
  accumulator_bytes_ = static_cast<std::size_t>((elements * size_ + 63) / 64 * 64) + kStagger;
  // Few rows at a time, so that the prefetcher follows, but enough to be worth a call.
  together_ =
      std::clamp<std::int64_t>(kCallBytes / (std::min(plan_.inner(), kColumnsTogether) * size_), 1, Cut::kRowBlock);
}

bool Loop::Generated::ready(const Loop& loop) const {
  return std::ranges::all_of(outputs_, [&](const Output& output) {
    return !output.stream || reinterpret_cast<std::uintptr_t>(loop.step_[output.step].place) % 64 == 0;
  });
}

void Loop::Generated::run(const Loop& loop) { cut_ ? run_cut(loop) : run_flat(loop); }

// A call for the block's first row.
Piece Loop::Generated::call_for(const Loop& loop, const Block& block, bool reduced) const {
  Piece call;
  const Strides index = plan_.begin_of(block, reduced);
  const auto of = [&](const Strides& strides) { return plan_.offset(index, strides); };
  for (std::size_t k = 0; k < inputs_.size(); ++k) {
    call.in[k] = loop.source_[inputs_[k].source].data + of(inputs_[k].strides) * inputs_[k].size;
    call.in_step[k] = inputs_[k].row;
  }
  const std::int64_t at = of(plan_.strides());
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    call.out[k] = loop.step_[outputs_[k].step].place + at * outputs_[k].size;
  }
  call.full_step = row_;
  return call;
}

// Moves a call by so many planes, rows and columns.
void Loop::Generated::advance(Piece& call, std::int64_t planes, std::int64_t rows, std::int64_t columns) const {
  for (std::size_t k = 0; k < inputs_.size(); ++k) {
    const Input& input = inputs_[k];
    call.in[k] = static_cast<const std::byte*>(call.in[k]) + planes * input.plane + rows * input.row +
                 (input.moves ? columns * input.size : 0);
  }
  for (std::size_t k = 0; k < outputs_.size(); ++k) {
    call.out[k] = static_cast<std::byte*>(call.out[k]) + (planes * plane_ + rows * row_ + columns) * outputs_[k].size;
  }
}

// Every axis is kept: rows along the axis next to the innermost, or pieces of the only one.
void Loop::Generated::run_flat(const Loop& loop) {
  const std::int64_t total = loop.shape_.numel();
  const std::int64_t inner = plan_.inner();
  const std::int64_t rows = total / inner;
  const bool back = total >= kLargeLoop && next_direction();
  const std::int64_t per_task = rows == 1 ? kTask : std::max<std::int64_t>(1, kTask / inner);
  const std::int64_t extent = rows == 1 ? total : rows;
  const std::size_t axis = plan_.row_axis(false);
  const std::int64_t tasks = (extent + per_task - 1) / per_task;
  // Where a reduction is one chunk, and so one thread's work, the steps stay with that thread and its caches.
  const std::int64_t per_thread = total < 2 * Cut::kChunkWork ? tasks : 1;
  parallel_for((tasks + per_thread - 1) / per_thread, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t first = begin * per_thread;
    const std::int64_t last = std::min(tasks, end * per_thread);
    for (std::int64_t i = first; i < last; ++i) {
      const std::int64_t task = back ? first + last - 1 - i : i;
      const std::int64_t stop = std::min(extent, (task + 1) * per_task);
      Block block;
      if (rows == 1) {
        block.column = task * per_task;
        Piece call = call_for(loop, block, false);
        call.n = stop - block.column;
        (*kernel_)(call);
        continue;
      }
      for (block.row = task * per_task; block.row < stop; block.row += block.rows) {
        block.rows = std::min(stop - block.row, plan_.size(axis) - block.row % plan_.size(axis));
        Piece call = call_for(loop, block, false);
        call.rows = block.rows;
        call.n = inner;
        (*kernel_)(call);
      }
    }
    if (streams()) codegen::finish_streams();
  });
}

void Loop::Generated::run_cut(const Loop& loop) {
  const bool back = loop.direction(*cut_);
  Scratch parts(scratch_bytes());
  cut_->share([&](std::int64_t begin, std::int64_t end) {
    run_tasks(loop, begin, end, back, parts.take());
    if (streams()) codegen::finish_streams();
  });
  for (const Sum& sum : sums_) merge_chunks(*sum.reducer, *cut_, cells_of(sum, 0));
  finish(loop, {0, cut_->cells});
}

void Loop::Generated::run_tasks(const Loop& loop, std::int64_t begin, std::int64_t end, bool back, std::byte* scratch) {
  cut_->walk(begin, end, back, false,
             [&](const Block& block) { visit(block, call_for(loop, block, true), scratch, back); });
}

void Loop::Generated::finish(const Loop& loop, Cut::Cells cells) {
  for (const Sum& sum : sums_) {
    for (const std::size_t r : sum.reductions) {
      const Reduction& reduction = loop.reduction_[r];
      reduction.reducer->finish(cells_of(sum, cells.begin), cells.end - cells.begin, loop.shape_.numel() / cut_->cells,
                                static_cast<std::byte*>(reduction.place) + cells.begin * reduction.out_size);
    }
  }
}

void Loop::Generated::run_together(std::span<Loop* const> loops) {
  const Cut& cut = *loops[0]->generated_->cut_;
  std::size_t scratch_bytes = 0;
  std::int64_t operands = 1;  // whole ones, of the loop that has the most
  bool any_streams = false;
  for (const Loop* loop : loops) {
    const Generated& generated = *loop->generated_;
    scratch_bytes = std::max(scratch_bytes, generated.scratch_bytes());
    any_streams |= generated.streams();
    if (generated.cut_) operands = std::max(operands, generated.whole_operands(*loop));
  }
  const std::int64_t per_task = loops[0]->shape_.numel() / cut.tasks * loops[0]->generated_->size_ * operands;
  // Columns all at once: pieces of rows that lie far apart take longer to fetch than whole rows.
  const std::int64_t at_once = cut.by_columns ? cut.tasks : std::max<std::int64_t>(1, near_bytes() / per_task);
  Scratch parts(scratch_bytes);
  cut.share([&](std::int64_t begin, std::int64_t end) {
    std::byte* const scratch = parts.take();
    bool back = false;
    for (std::int64_t first = begin; first < end; first += at_once) {
      const std::int64_t last = std::min(end, first + at_once);
      const Cut::Cells cells = cut.cells_of(first, last);
      for (Loop* const loop : loops) {
        Generated& generated = *loop->generated_;
        if (generated.cut_) {
          // To and fro, but where the order of rows is part of a sum's bits.
          if (cut.by_columns && loop->reductions_ > 0) back = loop->backward_;
          generated.run_tasks(*loop, first, last, back, scratch);
          generated.finish(*loop, cells);
          back = !back;
          continue;
        }
        Block block;
        block.column = cells.begin;
        Piece call = generated.call_for(*loop, block, false);
        call.n = cells.end - cells.begin;
        (*generated.kernel_)(call);
      }
    }
    if (any_streams) codegen::finish_streams();
  });
}

std::int64_t Loop::Generated::whole_operands(const Loop& loop) const {
  const auto whole = std::ranges::count_if(
      inputs_, [&](const Input& input) { return loop.source_[input.source].tensor.numel() == loop.shape_.numel(); });
  const auto written = std::ranges::count(outputs_, false, &Output::stream);
  return static_cast<std::int64_t>(whole + written);
}

void Loop::Generated::visit(const Block& block, Piece call, std::byte* scratch, bool back) {
  if (sums_.empty()) {
    const bool runs = plan_.inner_reduced();
    const std::int64_t planes = runs ? block.rows : block.kepts;
    const std::int64_t rows = runs ? block.kepts : block.rows;
    call.n = block.n;
    for (std::int64_t p = 0; p < planes; ++p) {
      const std::int64_t plane = back ? planes - 1 - p : p;
      for (std::int64_t done = 0; done < rows; done += call.rows) {
        call.rows = std::min(rows - done, kRowsTogether);
        Piece piece = call;
        advance(piece, plane, back ? rows - done - call.rows : done, 0);
        (*kernel_)(piece);
      }
    }
    return;
  }
  for (std::size_t k = 0; k < accumulators_; ++k) call.accumulators[k] = scratch + k * accumulator_bytes_;
  plan_.inner_reduced() ? visit_runs(block, call) : visit_columns(block, call, back);
}

void Loop::Generated::visit_columns(const Block& block, const Piece& at, bool back) {
  for (std::int64_t kept = 0; kept < block.kepts; ++kept) {
    const std::int64_t cell = block.cell + kept * cut_->cells_per_kept;
    if (block.fresh) {
      for (const Sum& sum : sums_) sum.reducer->init(cells_of(sum, cell), block.n);
    }
    const std::int64_t carries = (block.rows + Cut::kRowBlock - 1) / Cut::kRowBlock;
    for (std::int64_t i = 0; i < carries; ++i) {
      const std::int64_t row = (back && cut_->by_columns ? carries - 1 - i : i) * Cut::kRowBlock;
      const std::int64_t rows = std::min(block.rows - row, Cut::kRowBlock);
      for (std::int64_t column = 0; column < block.n; column += kColumnsTogether) {
        Piece call = at;
        advance(call, kept, row, column);
        call.n = std::min(block.n - column, kColumnsTogether);
        call.fresh = 1;
        for (std::int64_t r = 0; r < rows; r += together_) {
          call.rows = std::min(rows - r, together_);
          (*kernel_)(call);
          advance(call, 0, together_, 0);
          call.fresh = 0;
        }
        for (const Sum& sum : sums_) {
          sum.reducer->carry_columns(&call.accumulators[sum.first], rows, call.n, cells_of(sum, cell + column));
        }
      }
    }
  }
}

// Cells are rows here, and planes follow one another in each. As the reducers do, a run of more than Cut::kRunBlock
// elements is carried after each so many, and shorter ones as many together as have no more.
void Loop::Generated::visit_runs(const Block& block, const Piece& at) {
  if (block.fresh) {
    for (const Sum& sum : sums_) sum.reducer->init(cells_of(sum, block.cell), block.kepts);
  }
  const auto carry = [&](const Piece& call, std::int64_t taken, std::int64_t count, std::int64_t cell,
                         std::int64_t cell_step) {
    for (const Sum& sum : sums_) {
      sum.reducer->carry_runs(&call.accumulators[sum.first], taken, count, cell_step, cells_of(sum, cell));
    }
  };
  if (block.n > Cut::kRunBlock) {
    for (std::int64_t plane = 0; plane < block.rows; ++plane) {
      for (std::int64_t kept = 0; kept < block.kepts; ++kept) {
        Piece call = at;
        advance(call, plane, kept, 0);
        call.full_step = Cut::kRunBlock;
        for (std::size_t k = 0; k < inputs_.size(); ++k) call.in_step[k] = 0;
        for (std::int64_t column = 0; column < block.n;) {
          const std::int64_t left = block.n - column;
          call.rows = std::clamp<std::int64_t>(left / Cut::kRunBlock, 1, kRunsTogether);
          call.n = std::min(left, Cut::kRunBlock);
          (*kernel_)(call);
          carry(call, call.n, call.rows, block.cell + kept, 0);
          column += call.rows * call.n;
          advance(call, 0, 0, call.rows * call.n);
        }
      }
    }
    return;
  }
  const std::int64_t planes = Cut::kRunBlock / block.n;
  for (std::int64_t plane = 0; plane < block.rows; plane += planes) {
    for (std::int64_t kept = 0; kept < block.kepts; kept += kRunsTogether) {
      Piece call = at;
      advance(call, plane, kept, 0);
      call.n = block.n;
      call.rows = std::min(block.kepts - kept, kRunsTogether);
      call.fresh = 1;
      const std::int64_t stop = std::min(block.rows - plane, planes);
      for (std::int64_t p = 0; p < stop; ++p) {
        (*kernel_)(call);
        advance(call, 1, 0, 0);
        call.fresh = 0;
      }
      carry(call, stop * block.n, call.rows, block.cell + kept, 1);
    }
  }
}

}  // namespace ebb
