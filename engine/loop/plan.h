// How a loop walks a shape: which axes it keeps and which it reduces, and where its work is cut.
//
// Neighbouring axes of one sort are merged first, so every loop is runs (the innermost axis is reduced) or columns (it
// is kept) under outer loops. Everything here depends on the shape alone: the same bits for any number of threads,
// whether a reduction runs by itself or behind the elementwise ops that feed it.
#pragma once

#include <ebb/engine/tape/attrs.h>
#include <ebb/engine/tensor/shape.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace ebb {

/// An operand's strides along the axes of a plan, in elements; 0 where it is repeated.
using Strides = std::array<std::int64_t, kMaxRank>;

class Plan {
 public:
  Plan(const Shape& shape, const IntList& reduced_axes);

  /// The strides of an operand of `shape`, which broadcasts to the plan's, along the merged axes. False if the operand
  /// repeats along part of an axis only: then it does not fit this plan.
  bool strides_of(const Shape& shape, Strides& out) const;

  /// Splits axes until an operand of `shape` fits; for plans that reduce nothing.
  void split_for(const Shape& shape);

  std::size_t rank() const { return rank_; }
  std::int64_t size(std::size_t axis) const { return size_[axis]; }
  bool is_reduced(std::size_t axis) const { return reduced_[axis]; }
  /// Of a whole operand, in elements.
  const Strides& strides() const { return stride_; }

  std::int64_t inner() const { return rank_ == 0 ? 1 : size_[rank_ - 1]; }
  bool inner_reduced() const { return rank_ > 0 && reduced_[rank_ - 1]; }
  /// The number of index tuples over the outer axes of one sort.
  std::int64_t outer_kept() const { return outer_[0]; }
  std::int64_t outer_reduced() const { return outer_[1]; }
  /// The innermost of the outer axes of one sort; rank() if there is none.
  std::size_t row_axis(bool reduced) const { return row_axis_[reduced ? 1 : 0]; }

  /// Where index tuple `i` over the outer axes of one sort lies in an operand.
  std::int64_t offset(bool reduced, std::int64_t i, const Strides& strides) const {
    std::int64_t at = 0;
    for (std::size_t axis = rank_ == 0 ? 0 : rank_ - 1; axis-- > 0;) {
      if (reduced_[axis] != reduced) continue;
      at += i % size_[axis] * strides[axis];
      i /= size_[axis];
    }
    return at;
  }

  /// The same, as an index along each axis.
  void indices(bool reduced, std::int64_t i, Strides& out) const {
    for (std::size_t axis = rank_ == 0 ? 0 : rank_ - 1; i != 0 && axis-- > 0;) {
      if (reduced_[axis] != reduced) continue;
      out[axis] = i % size_[axis];
      i /= size_[axis];
    }
  }

 private:
  void summarise();

  Shape shape_;
  std::size_t rank_ = 0;
  std::array<std::int64_t, kMaxRank> size_{};
  std::array<bool, kMaxRank> reduced_{};
  std::array<int, kMaxRank> first_{};  // the first axis of the shape that was merged into this one
  Strides stride_{};
  std::array<std::int64_t, 2> outer_{1, 1};
  std::array<std::size_t, 2> row_axis_{};
};

/// Rows of a walk: `rows` rows of `n` elements. The first element's place is given by index tuples, `row` over the
/// outer reduced axes (kept ones in a loop that reduces nothing) and `kept` over the kept ones, and by `column`. Rows
/// follow one another along Cut::row_axis; where a cut is `apart` each has an accumulator of its own.
struct Block {
  std::int64_t kept = 0;
  std::int64_t row = 0;
  std::int64_t rows = 1;
  std::int64_t column = 0;
  std::int64_t n = 0;
  std::int64_t cell = 0;  // in the carry: the first accumulator
};

/// The cut of a reduction's work. A chunk's accumulators are merged in the order of chunks.
struct Cut {
  static constexpr std::int64_t kChunkWork = 64 * 1024;  // elements worth a chunk of their own
  static constexpr std::int64_t kMaxChunks = 16;
  static constexpr std::int64_t kRunBlock = 1024;       // runs are cut at multiples of this
  static constexpr std::int64_t kRowBlock = 16;         // rows are cut at multiples of this
  static constexpr std::int64_t kBlockElements = 4096;  // of a block, where a block is asked for

  Cut(const Plan& plan, std::int64_t elements, std::int64_t cells);

  /// Calls visit(block) for all of one task, in order. With `blocks` the work comes in blocks that fit the cache, cut
  /// where the reducers carry anyway.
  template <class Visit>
  void walk(std::int64_t task, bool blocks, Visit&& visit) const;

  /// The axis along which the rows of a block follow one another.
  std::size_t row_axis() const { return plan.row_axis(!apart); }
  /// The accumulators of a task.
  std::int64_t first_cell(std::int64_t task) const {
    return apart ? task * kept_per_task : task % chunks * cells + task / chunks * cells_per_kept;
  }
  std::int64_t cells_of(std::int64_t task) const {
    return apart ? std::min(kept_per_task, cells - task * kept_per_task) : cells_per_kept;
  }

  const Plan& plan;
  std::int64_t cells;
  std::int64_t cells_per_kept;
  bool one_run;  // the whole reduction of a kept index is one run, and chunks cut it
  bool apart;    // such runs are short, and a task is many of them
  std::int64_t kept_per_task;
  std::int64_t runs;  // what chunks cut: rows, or blocks of a run
  std::int64_t grain;
  std::int64_t chunks;
  std::int64_t tasks;
  std::int64_t tasks_per_grain;  // how many tasks are worth a thread's while

 private:
  std::int64_t bound(std::int64_t chunk) const {
    return std::min(runs, (runs * chunk / chunks + grain - 1) / grain * grain);
  }
};

template <class Visit>
void Cut::walk(std::int64_t task, bool blocks, Visit&& visit) const {
  Block block;
  if (apart) {
    const std::size_t axis = row_axis();
    const std::int64_t last = first_cell(task) + cells_of(task);
    const std::int64_t most = blocks ? std::max<std::int64_t>(1, kBlockElements / plan.inner()) : last;
    block.n = plan.inner();
    for (block.kept = first_cell(task); block.kept < last; block.kept += block.rows) {
      block.cell = block.kept;
      block.rows = std::min({last - block.kept, plan.size(axis) - block.kept % plan.size(axis), most});
      visit(block);
    }
    return;
  }
  block.kept = task / chunks;
  const std::int64_t chunk = task % chunks;
  block.cell = chunk * cells + block.kept * cells_per_kept;
  const std::int64_t first = bound(chunk);
  const std::int64_t last = bound(chunk + 1);
  if (one_run) {
    const std::int64_t end = std::min(plan.inner(), last * kRunBlock);
    for (block.column = first * kRunBlock; block.column < end; block.column += block.n) {
      block.n = blocks ? std::min(end - block.column, kBlockElements) : end - block.column;
      visit(block);
    }
    return;
  }
  const std::size_t axis = plan.row_axis(true);
  const std::int64_t axis_size = axis < plan.rank() ? plan.size(axis) : 1;
  const std::int64_t inner = plan.inner();
  for (block.row = first; block.row < last;) {  // rows of one stride, up to the end of their axis
    const std::int64_t segment = std::min(last - block.row, axis_size - block.row % axis_size);
    const std::int64_t end = block.row + segment;
    if (!blocks) {
      block.rows = segment;
      block.n = inner;
      visit(block);
    } else if (!plan.inner_reduced()) {  // columns: blocks of rows, tiles of columns
      const std::int64_t cell = block.cell;
      for (std::int64_t row = block.row; block.row < end; block.row = row) {
        block.rows = std::min(kRowBlock, end - row);
        for (block.column = 0; block.column < inner; block.column += block.n) {
          block.n = std::min(inner - block.column, std::max<std::int64_t>(64, kBlockElements / block.rows));
          block.cell = cell + block.column;
          visit(block);
        }
        row += block.rows;
      }
      block.column = 0;
      block.cell = cell;
    } else if (inner >= kRunBlock) {  // long runs: pieces
      block.rows = 1;
      for (; block.row < end; ++block.row) {
        for (block.column = 0; block.column < inner; block.column += block.n) {
          block.n = std::min(inner - block.column, kBlockElements);
          visit(block);
        }
      }
      block.column = 0;
    } else {  // short runs: as many as lie between two carries, some times over
      const std::int64_t per_carry = kRunBlock / inner;
      const std::int64_t group = std::max<std::int64_t>(1, kBlockElements / kRunBlock) * per_carry;
      block.n = inner;
      for (std::int64_t row = block.row; block.row < end; block.row = row) {
        block.rows = std::min(group, end - row);
        visit(block);
        row += block.rows;
      }
    }
    block.row = end;
  }
}

}  // namespace ebb
