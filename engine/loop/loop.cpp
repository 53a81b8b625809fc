// How a loop is built, and by whom it is run: interpreted.cpp or generated.cpp.
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/generated.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/plan.h>
#include <ebb/engine/loop/reduction.h>

#include <algorithm>

namespace ebb {

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
    Step& step = step_[i];
    stream_ |= step.place && shape_.numel() * step.out_size >= kStreamBytes;
    step.over = step.place && std::any_of(source_.begin(), source_.begin() + sources_,
                                          [&](const Source& source) { return source.data == step.place; });
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

// A large loop goes the other way than the one before, as far as it may: what that has touched last is still in the
// cache. Small ones in between do not count. Sums of columns that are not cut into chunks have their own direction.
bool Loop::direction(const Cut& cut) const {
  if (cut.by_columns && reductions_ > 0) {
    set_direction(backward_);
    return backward_;
  }
  return shape_.numel() >= kLargeLoop && next_direction();
}

}  // namespace ebb
