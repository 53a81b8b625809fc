// A loop: elementwise ops and reductions over one shape, run together in blocks that fit the cache.
//
// Memory is what costs: ten ops over a large tensor, one after the other, read and write it thirty times. A loop brings
// each operand in once, runs every op's lanes on a block while it is near, and writes only what someone keeps. The
// lanes and the cuts are those of the ops run one by one, and so are the bits of the results. A loop that will run
// often can have code made for it (generated.h), with the same bits again.
#pragma once

#include <ebb/engine/row/row.h>

#include <array>
#include <memory>
#include <optional>
#include <span>

namespace ebb {

class Plan;
struct Block;
struct Cut;

/// An operand of a loop: the result of an earlier step, or a tensor that broadcasts to the shape.
struct LoopOperand {
  bool is_step = false;
  std::size_t index = 0;
  bool operator==(const LoopOperand&) const = default;
};

class Loop {
 public:
  Loop();
  ~Loop();

  static constexpr std::size_t kMaxSteps = 24;
  static constexpr std::size_t kMaxSources = 24;
  static constexpr std::size_t kMaxReductions = 8;

  using Operand = LoopOperand;

  bool empty() const { return steps_ == 0 && reductions_ == 0; }
  const Shape& shape() const { return shape_; }
  std::size_t steps() const { return steps_; }
  std::size_t reductions() const { return reductions_; }

  /// Begins anew over a shape.
  void clear();
  void begin(const Shape& shape);

  /// True if there is room for so many more, and another reduction.
  bool has_room(std::size_t steps, std::size_t sources) const {
    return sources_ + sources <= kMaxSources && steps_ + steps <= kMaxSteps && reductions_ < kMaxReductions;
  }
  /// True if an operand of this shape can be read while reducing over the loop's axes.
  bool fits(const Shape& shape) const;
  /// True if a reduction over `axes` can join: the loop reduces over the same ones, or over none, and its operands fit.
  bool can_reduce(const IntList& axes) const;

  Operand add_source(const Tensor& tensor);
  /// Adds an op; its result has the loop's shape.
  Operand add_step(const Row& row, std::span<const Operand> operands, DType lane_dtype, DType dtype);
  /// Adds a reduction; returns its number.
  std::size_t add_reduction(const Row& row, Operand operand, DType dtype, const IntList& axes);
  /// Takes back the last step, which nothing reads, or the last reduction; and the sources that they alone read.
  void pop_step();
  void pop_reduction();

  /// Where results go; steps without a place are kept only as long as a block is near, if something reads them, and
  /// reductions without one are not computed.
  /// A step may go where a whole source lies that nothing reads but what the step is made of.
  void store(std::size_t step, std::byte* place) { step_[step].place = place; }
  void store_reduction(std::size_t reduction, void* place) { reduction_[reduction].place = place; }

  /// Generated code may write the step around the caches: what runs next does not read it.
  void hand_out(std::size_t step) { step_[step].handed_out = true; }

  /// Generated code writes the step through the caches, however large it is: its lines are there, or soon read.
  void keep_near(std::size_t step) { step_[step].near = true; }

  /// Gives a source other elements, of the same shape and dtype; they are the caller's.
  void bind(std::size_t source, const std::byte* data) { source_[source].data = data; }

  /// Where sums of columns are taken in the caches, from the last rows to the first: another order, and other bits, but
  /// the rows that the loop before has walked last are still near.
  void go_backward() { backward_ = true; }

  /// Walks as loops that reduce `axes` do, though it reduces nothing.
  void walk_along(const IntList& axes) { walk_axes_ = axes; }

  /// Makes code for the loop as it stands, whose shapes then must not change: sources may be abstract, and whatever
  /// will be stored has a place, if only any. False if the loop holds something that there is no code for: then it is
  /// interpreted.
  bool generate();
  bool is_generated() const { return generated_ != nullptr; }

  void run();

  /// Runs loops over one shape with one cut, whose accumulators no two tasks share, and between them loops over one
  /// element for each accumulator: all of them for a few tasks, then for the next. False if one has to be interpreted;
  /// then nothing is done.
  static bool run_together(std::span<Loop* const> loops);

 private:
  class Generated;
  struct Source {
    Tensor tensor;
    const std::byte* data = nullptr;
    Strides strides{};
    std::int64_t row = 0, plane = 0;  // from one to the next, in elements
    bool spread = false;              // repeated along short rows: a block's rows of it are written out once
    std::size_t scratch = 0;          // where, then
  };
  struct Step {
    const Row* row = nullptr;
    Lane lane = nullptr;
    DType dtype = DType::f32;  // that the lane was chosen by
    std::array<Operand, LaneCall::kMaxArity> operands{};
    std::size_t arity = 0;
    std::array<std::int64_t, LaneCall::kMaxArity> size{};  // bytes of an element of each operand
    std::int64_t out_size = 0;
    std::byte* place = nullptr;
    bool over = false;        // its place is a source's
    bool used = false;        // by a later step or a reduction
    bool handed_out = false;  // not read by the loops that follow
    bool near = false;        // written through the caches
    std::size_t scratch = 0;  // where it lies in a thread's scratch, if it has no place
    unsigned moves = 0;       // bit k: operand k advances along a row
    std::size_t sources = 0;  // how many there were when it came
  };
  struct Reduction {
    const Row* row = nullptr;
    const Reducer* reducer = nullptr;
    DType dtype = DType::f32;
    Operand operand;
    std::int64_t size = 0;
    std::int64_t out_size = 0;
    void* place = nullptr;
    std::size_t sources = 0;
    std::size_t accumulates = 0;  // the reduction whose cells it reads: itself, or an earlier one of the same family
  };
  struct Place;

  void trim_sources();
  bool mark_used();
  bool direction(const Cut& cut) const;
  void give_scratch();
  /// Where later steps read a step: in the scratch if it is not kept, or if it is streamed past the cache, where it
  /// would have to be fetched back. Such a step is computed twice, which costs less than the memory's traffic. And one
  /// that goes over a source comes from there: lanes compute some elements again.
  bool in_scratch(const Step& step) const { return !step.place || step.over || (stream_ && step.used); }
  void prepare(const Plan& plan);
  std::optional<IntList> repeated_axes() const;
  void run_flat(const Plan& plan);
  void run_cut(const Plan& plan);
  Place locate(const Plan& plan, const Block& block, bool reduced) const;
  void compute(const Place& at, std::byte* scratch) const;
  void spread(const Place& at, std::byte* scratch) const;

  Shape shape_;
  std::optional<IntList> axes_;
  std::optional<IntList> walk_axes_;
  std::size_t steps_ = 0, sources_ = 0, reductions_ = 0;
  std::array<Step, kMaxSteps> step_;
  std::array<Source, kMaxSources> source_;
  std::array<Reduction, kMaxReductions> reduction_;
  std::size_t scratch_bytes_ = 0;
  std::size_t region_ = 0;            // bytes of the scratch that one step has
  std::int64_t row_ = 0, plane_ = 0;  // of a whole operand, from one to the next
  bool stream_ = false;
  bool backward_ = false;
  std::unique_ptr<Generated> generated_;
};

}  // namespace ebb
