#include <ebb/engine/loop/plan.h>

#include <bit>

namespace ebb {

Plan::Plan(const Shape& shape, const IntList& reduced_axes) : shape_(shape) {
  for (int i = 0; i < shape.rank(); ++i) {
    if (shape[i] == 1) continue;
    const bool reduced = reduced_axes.contains(i);
    if (rank_ > 0 && reduced_[rank_ - 1] == reduced) {
      size_[rank_ - 1] *= shape[i];
    } else {
      size_[rank_] = shape[i];
      reduced_[rank_] = reduced;
      first_[rank_++] = i;
    }
  }
  summarise();
}

void Plan::summarise() {
  std::int64_t stride = 1;
  outer_ = {1, 1};
  row_axis_ = {rank_, rank_};
  for (std::size_t axis = rank_; axis-- > 0;) {
    stride_[axis] = stride;
    stride *= size_[axis];
    if (axis + 1 == rank_) continue;
    const std::size_t sort = reduced_[axis] ? 1 : 0;
    outer_[sort] *= size_[axis];
    if (row_axis_[sort] == rank_) row_axis_[sort] = axis;
  }
}

namespace {

// The strides of `shape` along each axis of `whole`, 0 where it is repeated.
Strides full_strides(const Shape& shape, const Shape& whole) {
  Strides full{};
  std::int64_t step = 1;
  for (int i = shape.rank() - 1, o = whole.rank() - 1; i >= 0; --i, --o) {
    full[static_cast<std::size_t>(o)] = shape[i] == 1 ? 0 : step;
    step *= shape[i];
  }
  return full;
}

}  // namespace

bool Plan::strides_of(const Shape& shape, Strides& out) const {
  const Strides full = full_strides(shape, shape_);
  for (std::size_t axis = 0; axis < rank_; ++axis) {
    const int end = axis + 1 < rank_ ? first_[axis + 1] : shape_.rank();
    // Within a merged axis every stride follows from the last one.
    std::int64_t expected = -1;
    for (int i = end - 1; i >= first_[axis]; --i) {
      if (shape_[i] == 1) continue;
      const std::int64_t stride = full[static_cast<std::size_t>(i)];
      if (expected < 0) {
        out[axis] = stride;
      } else if (stride != expected) {
        return false;
      }
      expected = stride * shape_[i];
    }
  }
  return true;
}

Strides Plan::begin_of(const Block& block, bool reduced) const {
  Strides index{};
  indices(reduced, block.row, index);
  if (reduced) indices(false, block.kept, index);
  if (rank_ > 0) index[rank_ - 1] = block.column;
  return index;
}

void Plan::split_for(const Shape& shape) {
  Strides ignored{};
  if (strides_of(shape, ignored)) return;
  const Strides full = full_strides(shape, shape_);
  Plan split = *this;
  split.rank_ = 0;
  for (std::size_t axis = 0; axis < rank_; ++axis) {
    const int end = axis + 1 < rank_ ? first_[axis + 1] : shape_.rank();
    std::int64_t before = -1;  // the stride of the axis to the left, within this merged axis
    for (int i = first_[axis]; i < end; ++i) {
      if (shape_[i] == 1) continue;
      const std::int64_t stride = full[static_cast<std::size_t>(i)];
      if (before >= 0 && before == stride * shape_[i]) {
        split.size_[split.rank_ - 1] *= shape_[i];
      } else {
        split.size_[split.rank_] = shape_[i];
        split.reduced_[split.rank_] = reduced_[axis];
        split.first_[split.rank_++] = i;
      }
      before = stride;
    }
  }
  *this = split;
  summarise();
}

Cut::Cut(const Plan& p, std::int64_t elements) : plan(p) {
  cells_per_kept = plan.inner_reduced() ? 1 : plan.inner();
  cells = plan.outer_kept() * cells_per_kept;
  by_columns = plan.rank() == 2 && plan.is_reduced(0) && !plan.is_reduced(1) && plan.inner() >= 2 * kColumns &&
               elements <= kNear && 2 * plan.outer_reduced() < plan.inner();
  one_run = plan.inner_reduced() && plan.outer_reduced() == 1;
  runs = one_run ? (plan.inner() + kRunBlock - 1) / kRunBlock : plan.outer_reduced();
  grain = plan.inner_reduced() ? 1 : std::min(kRowGrain, runs);
  chunks = by_columns || plan.outer_kept() >= kMaxChunks
               ? 1
               : std::clamp<std::int64_t>(elements / kChunkWork, 1, kMaxChunks);
  chunks = std::min(chunks, (runs + grain - 1) / grain);
  chunks = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(chunks)));  // for 2 threads the same
  tasks = by_columns ? (plan.inner() + kColumns - 1) / kColumns : plan.outer_kept() * chunks;
  grains = std::clamp<std::int64_t>(elements / (kChunkWork / 4), 1, tasks);
}

// Those of one axis that are small together, if all that each reduces lies along one axis too.
std::int64_t Cut::kepts_together(bool blocks) const {
  const std::size_t kept = plan.row_axis(false);
  const std::size_t reduced = plan.row_axis(true);
  if (chunks > 1 || kept == plan.rank()) return 1;
  if (reduced < plan.rank() && plan.size(reduced) != plan.outer_reduced()) return 1;
  return blocks ? kBlockElements / (plan.outer_reduced() * plan.inner()) : plan.size(kept);
}

}  // namespace ebb
