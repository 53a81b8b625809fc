// Generated kernels: machine code that computes a formula over rows of a block, everything in registers.
//
// A kernel reads each input once, stores the outputs that are asked for, and takes elements into accumulators, which it
// leaves in memory at the end: what lies between two carries of a reduction (lanes/reduce.h) is one call, or several in
// a row. Masked tails, whole cache lines, no fused multiply-adds: the bits are those of the rows' own lanes. Where no
// generator is built in, or for an instruction set that it does not know, there are no kernels, and loops call lanes.
#pragma once

#include <ebb/engine/codegen/formula.h>
#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/tensor/dtype.h>

#include <memory>
#include <vector>

namespace ebb::codegen {

/// The accumulators of a run, side by side, whatever the pack's width.
inline constexpr std::int64_t kPartials = 16;

struct KernelSpec {
  enum class Walk : std::uint8_t {
    rows,     ///< no accumulators: row after row
    runs,     ///< each row has accumulators of its own, kPartials of each
    columns,  ///< each column has accumulators of its own
  };
  struct Input {
    bool moves = true;    ///< along a row; or else one element is read for the whole row
    bool per_row = true;  ///< moves from row to row; if it moves along rows too, by `full_step`, as outputs do
    bool flag = false;    ///< booleans, which are bytes 0 and 1
  };
  struct Output {
    Id value = 0;         ///< a truth value is stored as booleans
    bool stream = false;  ///< written around the cache: every row of it begins at a multiple of 64 bytes
  };
  struct Accumulator {
    Id first = 0;  ///< before the first element; may look at that
    Id next = 0;   ///< after an element
  };
  Walk walk = Walk::rows;
  int ahead = 0;  ///< bytes: inputs that move along rows are fetched so far ahead of their use
  Formula formula;
  std::vector<Input> inputs;
  std::vector<Output> outputs;
  std::vector<Accumulator> accumulators;
};

/// `rows` rows of `n` elements. Accumulators of runs lie kPartials together, row after row; those
/// of columns in the order of the columns, with room up to a whole line.
struct Piece {
  static constexpr std::size_t kMaxInputs = 24;
  static constexpr std::size_t kMaxOutputs = 16;
  static constexpr std::size_t kMaxAccumulators = 12;
  std::int64_t rows = 1, n = 0;
  std::int64_t fresh = 1;      // 0: goes on with what the accumulators hold
  std::int64_t full_step = 0;  // elements from row to row, of the inputs that move both ways and of the outputs
  std::array<const void*, kMaxInputs> in{};
  std::array<std::int64_t, kMaxInputs> in_step{};  // bytes from row to row, of the inputs that do not move along it
  std::array<void*, kMaxOutputs> out{};
  std::array<void*, kMaxAccumulators> accumulators{};
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  void operator()(const Piece& call) const { entry_(&call); }

 protected:
  void (*entry_)(const Piece*) = nullptr;
};

/// Makes what this thread's kernels have streamed visible to other threads: a wait of some hundred nanoseconds, so once
/// after many calls.
void finish_streams();

/// True if there is a generator for the instruction set in force.
bool available();

/// The kernel for the instruction set in force; null if there is none.
std::unique_ptr<Kernel> generate(const KernelSpec& spec);

}  // namespace ebb::codegen
