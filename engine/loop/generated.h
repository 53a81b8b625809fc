// A loop as generated code: one kernel that reads each source once, keeps everything between in registers, stores what
// someone keeps, and sums as it goes.
//
// Cuts, carries and their order are those of the interpreted loop, so the bits are too; only the pieces in between are
// larger, since no step's result has to fit a cache. What depends on shapes alone is made once: a program's loop never
// changes its own.
#pragma once

#include <ebb/engine/codegen/kernel.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/plan.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <vector>

namespace ebb {

class Loop::Generated {
 public:
  /// Null if a step, a reduction or a dtype of the loop cannot be emitted. Steps and reductions that will be kept have
  /// a place.
  static std::unique_ptr<Generated> make(const Loop& loop);

  /// False if the loop has to be interpreted this time, since a result does not lie as the kernel wants it.
  bool ready(const Loop& loop) const;
  void run(const Loop& loop);
  static void run_together(std::span<Loop* const> loops);

 private:
  struct Input {
    std::size_t source;
    Strides strides{};
    std::int64_t size = 4;            // of an element
    std::int64_t row = 0, plane = 0;  // in bytes
    bool moves = true;
  };
  struct Output {
    std::size_t step;
    std::int64_t size;
    bool stream = false;
  };
  struct Sum {  // accumulators that reductions share
    const Reducer* reducer;
    std::size_t accumulators, first;
    std::size_t cells;  // where its cells begin in the carry
    std::vector<std::size_t> reductions;
  };

  explicit Generated(const Plan& plan) : plan_(plan) {}
  static std::optional<DType> number_dtype(const Loop& loop);
  bool describe(const Loop& loop, codegen::KernelSpec& spec);
  void set_strides(const Loop& loop, codegen::KernelSpec& spec);
  void choose_pieces();

  codegen::Piece call_for(const Loop& loop, const Block& block, bool reduced) const;
  void advance(codegen::Piece& call, std::int64_t planes, std::int64_t rows, std::int64_t columns) const;
  void run_flat(const Loop& loop);
  void run_cut(const Loop& loop);
  void run_tasks(const Loop& loop, std::int64_t begin, std::int64_t end, bool back, std::byte* scratch);
  void finish(const Loop& loop, Cut::Cells cells);
  std::int64_t whole_operands(const Loop& loop) const;
  bool streams() const { return std::ranges::any_of(outputs_, &Output::stream); }
  std::size_t scratch_bytes() const { return accumulators_ * accumulator_bytes_; }
  void visit(const Block& block, codegen::Piece call, std::byte* scratch, bool back);
  void visit_columns(const Block& block, const codegen::Piece& at, bool back);
  void visit_runs(const Block& block, const codegen::Piece& at);
  std::int64_t* cells_of(const Sum& sum, std::int64_t cell) {
    return carry_.data() + sum.cells + static_cast<std::size_t>(cell * sum.reducer->cell_words);
  }

  Plan plan_;
  std::optional<Cut> cut_;
  std::unique_ptr<codegen::Kernel> kernel_;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::vector<Sum> sums_;
  std::size_t accumulators_ = 0;
  std::vector<std::int64_t> carry_;
  std::int64_t size_ = 4;              // of a number
  std::int64_t row_ = 0, plane_ = 0;   // of a whole operand, in elements
  std::int64_t together_ = 1;          // rows that go into one call of a kernel that sums columns
  std::size_t accumulator_bytes_ = 0;  // of one accumulator in the scratch
};

}  // namespace ebb
