// How a loop walks a shape: which axes it keeps and which it reduces, and where its work is cut.
//
// Neighbouring axes of one sort are merged first, so every loop is runs (the innermost axis is reduced) or columns (it
// is kept) under outer loops. Everything here depends on the shape alone: the same bits for any number of threads,
// whether a reduction runs by itself or behind the elementwise ops that feed it.
#pragma once

#include <ebb/engine/row/attrs.h>
#include <ebb/engine/tensor/shape.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

namespace ebb {

struct Block;

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

  /// How far apart the innermost axis's rows lie in a whole operand (level 1), and the planes of those (level 2).
  std::int64_t step(std::size_t level) const { return step(stride_, level); }
  std::int64_t step(const Strides& strides, std::size_t level) const {
    return level < rank_ ? strides[rank_ - 1 - level] : 0;
  }

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

  /// Where a block of a walk begins, as an index along each axis; its rows are of reduced axes, or of kept ones.
  Strides begin_of(const Block& block, bool reduced) const;

  /// How far an element lies from the first, in elements, for an operand of these strides.
  std::int64_t offset(const Strides& index, const Strides& strides) const {
    std::int64_t at = 0;
    for (std::size_t axis = 0; axis < rank_; ++axis) at += index[axis] * strides[axis];
    return at;
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

/// Part of a walk: `kepts` kept index tuples by `rows` reduced ones by `n` elements of the innermost axis, from those
/// given on. The tuples run over the outer axes of their sort, each along one axis; a plan that reduces nothing has
/// rows of kept ones.
struct Block {
  std::int64_t kept = 0;
  std::int64_t kepts = 1;
  std::int64_t row = 0;
  std::int64_t rows = 1;
  std::int64_t column = 0;
  std::int64_t n = 0;
  std::int64_t cell = 0;  // in the carry: the first accumulator
  bool fresh = true;      // the first block of its cells
};

/// The cut of a reduction's work.
///
/// A tensor that fits in the caches is cut by what it keeps, kept index tuples or columns: no part needs another's
/// accumulators, and a thread meets again in the next loop what it had in this one. A large one that keeps little is
/// cut along what it reduces, in chunks, whose accumulators are merged in order; and so is one of long columns, since
/// threads that share rows fetch each other's lines ahead.
struct Cut {
  static constexpr std::int64_t kChunkWork = 64 * 1024;  // elements worth a chunk of their own
  static constexpr std::int64_t kNear = 4 * kChunkWork;  // elements that stay in a cache
  static constexpr std::int64_t kMaxChunks = 16;
  static constexpr std::int64_t kRunBlock = 1024;       // runs are cut at multiples of this
  static constexpr std::int64_t kRowBlock = 64;         // rows are carried at multiples of this
  static constexpr std::int64_t kRowGrain = 16;         // and cut into chunks at multiples of this
  static constexpr std::int64_t kColumns = 64;          // columns are cut at multiples of this
  static constexpr std::int64_t kBlockElements = 2048;  // of a block, where a block is asked for; of columns
  static constexpr std::int64_t kMostElements = kRowBlock * kColumns;  // it may be more: short rows cost by the row

  Cut(const Plan& plan, std::int64_t elements);

  /// Calls body(begin, end) for ranges of tasks, on as many threads as they are worth.
  template <class Body>
  void share(Body&& body) const {
    parallel_for(grains,
                 [&](std::int64_t begin, std::int64_t end) { body(tasks * begin / grains, tasks * end / grains); });
  }

  /// Calls visit(block) for all of the tasks [begin, end), in order within a cell; with `back` the last task comes
  /// first, and where tasks are columns, the last rows: another order of what a cell takes in. With `blocks` the work
  /// comes in blocks that fit the cache, cut where the reducers carry anyway.
  template <class Visit>
  void walk(std::int64_t begin, std::int64_t end, bool back, bool blocks, Visit&& visit) const;

  /// The accumulators of tasks [begin, end), where there is one chunk.
  struct Cells {
    std::int64_t begin, end;
  };
  Cells cells_of(std::int64_t begin, std::int64_t end) const {
    const std::int64_t each = by_columns ? kColumns : cells_per_kept;
    return {begin * each, std::min(end * each, cells)};
  }

  const Plan& plan;
  std::int64_t cells;
  std::int64_t cells_per_kept;
  bool by_columns;    // tasks are kColumns columns each
  bool one_run;       // the whole reduction of a kept index is one run, and chunks cut it
  std::int64_t runs;  // what chunks cut: rows, or blocks of a run
  std::int64_t grain;
  std::int64_t chunks;
  std::int64_t tasks;
  std::int64_t grains;  // parts worth a thread's while

 private:
  std::int64_t bound(std::int64_t chunk) const {
    return std::min(runs, (runs * chunk / chunks + grain - 1) / grain * grain);
  }
  // How many kept indices may come in one block.
  std::int64_t kepts_together(bool blocks) const;
  template <class Visit>
  void walk_run(Block block, std::int64_t begin, std::int64_t end, bool blocks, Visit& visit) const;
  template <class Visit>
  void walk_rows(Block block, std::int64_t begin, std::int64_t end, bool back, bool blocks, Visit& visit) const;
};

template <class Visit>
void Cut::walk(std::int64_t begin, std::int64_t end, bool back, bool blocks, Visit&& visit) const {
  Block block;
  if (by_columns) {
    block.column = block.cell = begin * kColumns;
    block.n = std::min(end * kColumns, plan.inner()) - block.column;
    walk_rows(block, 0, runs, back, blocks, visit);
    return;
  }
  const std::int64_t most = kepts_together(blocks);
  const std::int64_t axis_size = most > 1 ? plan.size(plan.row_axis(false)) : 1;
  while (begin < end) {
    const std::int64_t task = back ? end - 1 : begin;
    block.kept = task / chunks;
    if (most > 1) {  // as many as fit, in equal parts up to the end of their axis
      const std::int64_t at = block.kept % axis_size;
      const std::int64_t left = std::min(end - begin, back ? at + 1 : axis_size - at);
      const std::int64_t parts = (left + most - 1) / most;
      block.kepts = (left + parts - 1) / parts;
      if (back) block.kept -= block.kepts - 1;
    }
    (back ? end : begin) += back ? -block.kepts : block.kepts;
    const std::int64_t chunk = task % chunks;
    block.cell = chunk * cells + block.kept * cells_per_kept;
    block.n = plan.inner();
    if (block.kepts > 1) {
      block.rows = plan.outer_reduced();
      visit(block);
    } else if (one_run) {
      walk_run(block, bound(chunk), bound(chunk + 1), blocks, visit);
    } else {
      walk_rows(block, bound(chunk), bound(chunk + 1), false, blocks, visit);
    }
  }
}

// Pieces of one run.
template <class Visit>
void Cut::walk_run(Block block, std::int64_t begin, std::int64_t end, bool blocks, Visit& visit) const {
  block.rows = 1;
  const std::int64_t stop = std::min(plan.inner(), end * kRunBlock);
  for (block.column = begin * kRunBlock; block.column < stop; block.column += block.n) {
    block.n = blocks ? std::min(stop - block.column, kBlockElements) : stop - block.column;
    visit(block);
    block.fresh = false;
  }
}

// Rows [begin, end) of the block's columns.
template <class Visit>
void Cut::walk_rows(Block block, std::int64_t begin, std::int64_t end, bool back, bool blocks, Visit& visit) const {
  const std::size_t axis = plan.row_axis(true);
  const std::int64_t axis_size = axis < plan.rank() ? plan.size(axis) : 1;
  const Block whole = block;
  // As many as lie between two carries, some times over.
  std::int64_t most = end - begin;
  std::int64_t width = block.n;
  if (blocks && !plan.inner_reduced()) {
    most = std::min(kRowBlock, runs);
    width = std::max(kColumns, kBlockElements / most);
  } else if (blocks) {
    most = block.n >= kRunBlock ? 1 : kBlockElements / kRunBlock * (kRunBlock / block.n);
    width = std::min(block.n, kBlockElements);
  }
  for (std::int64_t done = 0; done < end - begin; done += block.rows) {
    // Rows of one stride, up to the end of their axis; a cut there must be where a carry is.
    if (back) {
      const std::int64_t last = end - 1 - done;
      const std::int64_t first = std::max(begin, last - last % axis_size);
      block.row = first + (last - first) / most * most;
      block.rows = last + 1 - block.row;
    } else {
      block.row = begin + done;
      block.rows = std::min({most, end - block.row, axis_size - block.row % axis_size});
    }
    for (std::int64_t at = 0; at < whole.n; at += block.n) {
      block.column = whole.column + at;
      block.n = std::min(width, whole.n - at);
      if (!plan.inner_reduced()) block.cell = whole.cell + at;
      visit(block);
      if (plan.inner_reduced()) block.fresh = false;
    }
    block.fresh = false;
  }
}

}  // namespace ebb
