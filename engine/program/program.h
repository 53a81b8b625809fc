// A program: a traced function that has been optimised, scheduled and planned, ready to run again and again.
//
// A run allocates nothing but its results, in blocks that the cache hands round; a State that nobody else holds is
// written over. States change once nothing can be refused any more: an error on the way leaves each as it was. A
// program belongs to one caller at a time.
#pragma once

#include <ebb/engine/program/plan/memory.h>
#include <ebb/engine/program/passes/passes.h>
#include <ebb/engine/program/plan/schedule.h>
#include <ebb/engine/program/traced.h>
#include <ebb/engine/tensor/reserve.h>

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

namespace ebb {

class Loop;

using Tensors = CachedVector<Tensor>;

/// What runs a program's loops.
enum class Backend : std::uint8_t {
  generated,    ///< machine code made for the program, where a loop allows it and a generator is built in
  interpreted,  ///< the rows' own lanes, block by block: the same bits
};

class Program {
 public:
  /// Optimises with those of `passes` that `setting` allows, schedules and plans.
  Program(Traced traced, std::span<const Pass> passes, Setting setting, Backend backend = Backend::generated);
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program();

  /// Runs on tensors of the types it was traced with, commits the States' new values and returns the outputs.
  ///
  /// Throws    ShapeError or DTypeError if an argument is of another type; UsageError if it is running already; what
  /// the
  ///           kernels throw for values that they refuse. No State has changed then.
  Tensors run(std::span<const Tensor> arguments);

  /// The same without the commit: outputs first, then the new values of the updates, in their order. With `states`, one
  /// for each State that is read, those are taken in the place of what the States hold.
  Tensors compute(std::span<const Tensor> arguments, std::span<const Tensor> states = {});

  /// In anomaly mode a run goes node by node, as the function was traced, and throws at the first value that is not
  /// finite, naming its op and line. No State has changed then.
  void set_anomaly(bool on) { anomaly_ = on; }
  bool anomaly() const { return anomaly_; }

  /// Notes, the first time, that it is run node by node (inspect.h).
  void note_node_by_node() const;

  /// Throws as run() does unless the arguments are of the types it was traced with.
  void check(std::span<const Tensor> arguments) const;

  const Traced& recorded() const { return log_.stages.front(); }  ///< as it was traced
  const Traced& optimised() const { return traced_; }             ///< after all passes
  const Schedule& schedule() const { return schedule_; }
  const MemoryPlan& memory() const { return memory_; }
  const RewriteLog& log() const { return log_; }
  Setting setting() const { return setting_; }
  /// Whether a loop of the schedule, by the number of its action, runs as generated code.
  bool is_generated(std::size_t action) const;

 private:
  struct Store {
    std::size_t index;  // of the step or reduction
    NodeId node;
  };
  struct Source {
    std::size_t index;
    View view;
  };
  struct Run {  // one action, ready to run
    std::unique_ptr<Loop> loop;
    std::vector<Source> sources;
    std::vector<Store> steps, reductions;
  };

  bool read_in_band(NodeId id) const;
  void build_loop(const Action& action, const std::vector<bool>& handed_out, Run& run);
  Tensors compute_by_node(std::span<const Tensor> arguments, std::span<const Tensor> states) const;
  using Holds = CachedVector<StateHold>;
  Tensors execute(std::span<const Tensor> arguments, std::span<const Tensor> states, Holds* holds);
  void bind(std::span<const Tensor> arguments, std::span<const Tensor> states, Holds* holds);
  void bind_loop(Run& run);
  void run_actions(std::size_t begin, std::size_t end);
  bool run_band(const Band& band);
  void run_kernel(NodeId id);
  void run_copy(NodeId id);
  Tensor read(NodeId id) const;
  void release() noexcept;

  RewriteLog log_;
  Traced traced_;
  Setting setting_;
  Backend backend_;
  Schedule schedule_;
  MemoryPlan memory_;
  std::vector<Run> runs_;
  Buffer arena_;
  std::vector<bool> result_;
  std::size_t first_over_ = 0;  // the action that is the first to write over a State
  Reserve reserve_;             // for those from there on
  struct Where {
    std::thread::id thread;
    int threads = 0;
    bool operator==(const Where&) const = default;
  };
  Where rehearsed_;              // what the reserve is for: each thread has scratch memory of its own
  std::vector<Tensor> values_;   // by node: what is in memory; of the arena from the start, of arguments while running
  std::vector<Tensor> planned_;  // by node: views of the arena
  std::vector<NodeId> passing_;  // nodes whose values a run lets go of at its end
  bool anomaly_ = false;
  mutable std::atomic<bool> noted_{false};
  std::atomic<bool> running_{false};
};

}  // namespace ebb
