// The tape: the one data structure. A flat list of nodes in the order they were recorded, which is topological order.
//
// Eager mode computes each node as it is recorded (elementwise ops and reductions over large tensors wait for one
// another and run as one loop, before anyone can see a difference); trace mode only records. Everything else in the
// library reads this list: the sweep appends derivatives to it, dumps print it, the compiler rewrites it. A tape is an
// object with a lifetime; several may live, each belongs to the thread that made it. mark() and rewind() cut it back
// and keep its memory, so that a training loop records the same graph over and over without touching the heap.
#pragma once

#include <ebb/engine/tape/chunked.h>
#include <ebb/engine/row/row.h>
#include <ebb/engine/tape/flag.h>
#include <ebb/engine/tape/node.h>
#include <ebb/engine/tape/state.h>
#include <ebb/engine/tape/var.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace ebb {

class Loop;
struct LoopOperand;

class Tape {
 public:
  enum class Mode : std::uint8_t { eager, trace };

  explicit Tape(Mode mode = Mode::eager);
  ~Tape();
  Tape(const Tape&) = delete;
  Tape& operator=(const Tape&) = delete;

  Mode mode() const { return mode_; }

  // --- recording -----------------------------------------------------------------------------------------------------

  /// Records a tensor as an input. It shares the tensor's buffer.
  Var leaf(Tensor value, std::string_view name = {}, Location where = Location::current());

  /// A scalar constant; equal ones are one node.
  Var constant(double value, DType dtype);

  /// Records a call of `row`. Literals take the dtype of the first Var. Throws what the row's type rule throws, with
  /// the tape as it was.
  Var record(const Row& row, std::span<const Operand> inputs, std::span<const Attr> attrs = {});
  Var record(const Row& row, std::initializer_list<Operand> inputs, std::initializer_list<Attr> attrs = {}) {
    return record(row, std::span(inputs.begin(), inputs.size()), std::span(attrs.begin(), attrs.size()));
  }

  /// Records a call whose value the caller has computed already. The tape must be eager.
  Var record_known(const Row& row, std::span<const Operand> inputs, std::span<const Attr> attrs, Tensor value);

  /// Names a node, and says which step of a well-known procedure it is. A node may bear several names.
  Var name(const Var& var, std::string_view name, std::string_view step = {});

  /// Says which step of a well-known procedure a node is, without naming it.
  void set_step(const Var& var, std::string_view step);

  /// Opens a scope until the returned guard dies. Ops recorded inside carry the outermost scope's line.
  class ScopeGuard {
   public:
    ScopeGuard(ScopeGuard&& other) noexcept
        : slot_(std::exchange(other.slot_, 0)), birth_(other.birth_), before_(other.before_), outer_(other.outer_) {}
    ScopeGuard& operator=(ScopeGuard&&) = delete;
    ~ScopeGuard();

   private:
    friend class Tape;
    ScopeGuard(const Tape& tape, std::uint32_t before, Location outer)
        : slot_(tape.slot_), birth_(tape.first_generation_), before_(before), outer_(outer) {}
    std::uint32_t slot_;  // the tape may be gone when the guard dies
    std::uint64_t birth_;
    std::uint32_t before_;
    Location outer_;
  };
  [[nodiscard]] ScopeGuard scope(std::string_view name, Location where = Location::current());
  /// The line that ops recorded here carry: the outermost scope's, or else `here`.
  Location line(Location here) const { return outer_ ? outer_ : here; }

  // --- states --------------------------------------------------------------------------------------------------------

  /// The leaf that stands for `state`, one per tape and version; after update(), the noted value.
  Var read(const State& state, Location where = Location::current());
  /// The leaf that was first read for this version of `state`, or nothing: what a gradient is taken with respect to.
  std::optional<Var> leaf_of(const State& state) const;
  /// Notes the value that `state` takes at the next commit.
  void update(const State& state, const Var& value, Location where = Location::current());
  /// Sets every noted value at once.
  void commit();

  /// What the tape knows of a State: its leaf, if it was read, and its noted value, if there is one.
  struct StateUse {
    State state;
    NodeId leaf = kNoNode;
    NodeId pending = kNoNode;
  };
  std::vector<StateUse> states() const;

  /// The flag's value. A trace notes that it depends on it, and a program traces anew when it has changed.
  bool guard(const Flag& flag);
  struct Guard {
    Flag flag;
    bool value;
  };
  const std::vector<Guard>& guards() const { return guards_; }

  /// Marks, runs f, commits, rewinds; if f throws it only rewinds, and no State has changed. Returns f's result, which
  /// must not be a Var. Sweeps inside release what they no longer need. Throws UsageError inside another step: two
  /// commits would not be one.
  template <class F>
  auto step(F&& f);

  /// Runs f, takes its nodes back and returns its result as a leaf: no gradient flows through, no memory stays.
  template <class F>
  auto no_record(F&& f, Location where = Location::current());

  // --- cutting back --------------------------------------------------------------------------------------------------

  struct Mark {
    std::size_t nodes, edges, attrs, names, text, scopes, lazies, states, replaced;
    std::uint32_t slot = 0;   // of which tape
    std::uint64_t birth = 0;  // of its last node, or of the tape
  };
  Mark mark() const;
  /// Takes back everything since `mark`; Vars from before it stay good, and so do updates noted before it. Scopes that
  /// are open stay open. Throws UsageError if the mark is of another tape, or was itself taken back.
  void rewind(const Mark& mark);

  // --- reading -------------------------------------------------------------------------------------------------------

  std::size_t size() const { return nodes_.size(); }
  const Node& node(NodeId id) const { return nodes_[id]; }
  NodeId input(const Node& node, std::size_t i) const { return edges_[node.first_input + i]; }
  Var var(NodeId id) const { return Var(slot_, id, nodes_[id].birth); }
  /// The value of a node; computes a lazy broadcast. Throws UsageError if there is none.
  const Tensor& value(NodeId id) const;
  const Chunked<Scope>& scopes() const { return scopes_; }
  const Chunked<NameEntry>& names() const { return names_; }

  /// The text of every entry of names(), each once in its scope: `xmu`, `dxmu1`, `dx#2`. Empty for an entry that is
  /// void, which is a partial sum of contributions.
  std::vector<std::string> name_texts() const;
  /// The first name of a node, or `%12`.
  std::string name_of(NodeId id) const;
  /// `net.fc1`; empty outside of scopes.
  std::string scope_path(std::uint32_t scope) const;
  /// How an error of `op` ends: ` (train.cpp:41, in net.fc1)`, as far as line and path are known. The path stops before
  /// the scope that `op` itself has opened.
  std::string place(std::string_view op, const Location& where, std::uint32_t scope) const;
  /// The same for a call at `here`, which may stand in a scope.
  std::string place(std::string_view op, Location here) const { return place(op, line(here), scope_); }
  /// The node that bears `name`, or that `scope.path/name` leads to. Throws UsageError if there is none.
  Var find(std::string_view name) const;

  /// The call that was refused last, as far as it got; nothing if something was recorded since. An input that is no
  /// node of this tape, or is none any more, has no id, or one that the tape does not reach. A value that was read and
  /// is not there counts as a call too, of no row: while tracing, that is where a recording stops.
  struct Refusal {
    struct Input {
      NodeId id = kNoNode;
      std::optional<double> literal;
    };
    const Row* row = nullptr;
    std::vector<Input> inputs;
    std::vector<Attr> attrs;
    std::string message;
    Location where;
    std::uint32_t scope = 0;
    std::uint32_t sweep = 0;
    NodeId origin = kNoNode;
  };
  const Refusal* refused() const { return refusal_.get(); }

  /// Bytes of the values alive on this tape, by op.
  std::map<std::string, std::size_t> memory_by_op() const;

  // --- looking on ----------------------------------------------------------------------------------------------------

  /// In anomaly mode recording stops at the first node that is not finite, with an error that names it.
  void set_anomaly(bool on) { anomaly_ = on; }
  bool anomaly() const { return anomaly_; }

  /// Whether sweeps keep what they recorded when they are not told; true except inside step().
  bool keeps() const { return keep_; }

  /// While a derivative rule runs: where the nodes begin that this node's rules have recorded. Rules of fused rows
  /// differentiate from here on; equal nodes recorded since are shared.
  NodeId window() const { return window_ == kNoNode ? static_cast<NodeId>(nodes_.size()) : window_; }

  /// A recorded function that every cotangent of a node passes through, until the handle dies.
  class Hook {
   public:
    Hook() = default;
    Hook(Hook&& other) noexcept : slot_(std::exchange(other.slot_, 0)), birth_(other.birth_), id_(other.id_) {}
    Hook& operator=(Hook&& other) noexcept {
      std::swap(slot_, other.slot_);
      std::swap(birth_, other.birth_);
      std::swap(id_, other.id_);
      return *this;
    }
    ~Hook() { remove(); }
    void remove();

   private:
    friend class Tape;
    Hook(std::uint32_t slot, std::uint64_t birth, std::uint64_t id) : slot_(slot), birth_(birth), id_(id) {}
    std::uint32_t slot_ = 0;
    std::uint64_t birth_ = 0;
    std::uint64_t id_ = 0;
  };
  [[nodiscard]] Hook on_cotangent(const Var& var, std::function<Var(Var)> function);

 private:
  friend class Var;
  friend class Sweep;
  friend class Rewriter;

  struct StateEntry {
    State state;
    NodeId leaf = kNoNode;
    std::uint64_t version = 0;
    NodeId pending = kNoNode;
  };
  // What an entry was before a read or an update changed it, and is again after a rewind.
  struct Replaced {
    std::size_t entry;
    NodeId leaf;
    NodeId pending;
    std::uint64_t version;
  };
  struct HookEntry {
    std::uint64_t id;
    NodeId node;
    std::function<Var(Var)> function;
  };
  struct Literal {
    double value;
    DType dtype;
    NodeId node;
  };

  NodeId resolve(const Var& var) const;  // throws if stale
  [[noreturn]] void fail_stale(const Var& var) const;
  void check_thread() const;
  NodeId append(Node&& node, std::span<const NodeId> inputs, std::span<const Attr> attrs);
  Var record_or_cut(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs, Tensor* known);
  Var record_checked(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs, Tensor* known);
  void note_refusal(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs,
                    const char* message) noexcept;
  void note_read(NodeId id, const char* message) const noexcept;
  void check_literal(const Row& row, const Operand& operand, DType dtype) const;
  NodeId find_equal(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) const;
  void compute(Node& node, std::span<const NodeId> inputs, const Call& call);
  void make_lazy(Node& node, Tensor source);
  bool defer(Node& node, std::span<const NodeId> inputs, const Call& call);
  // What a node asks of the open loop: steps, sources, how many of those are as large as the node, and that all fit.
  struct Demand {
    std::size_t steps = 0, sources = 0, large = 0;
    bool fits = true;
  };
  bool in_loop(NodeId id) const;
  const Tensor* at_hand(const Node& node) const;
  bool defer_reshape(Node& node, NodeId of);
  void store_reduction(std::size_t k) const;
  void demand(NodeId id, Demand& sum) const;
  bool cheap(NodeId id) const;
  LoopOperand operand_of(NodeId id) const;
  LoopOperand add_step(const Row& row, std::span<const NodeId> inputs, DType dtype, NodeId id) const;
  void compute_again(NodeId id) const;
  /// Runs the open loop. Of its steps it keeps `asked` and what would be dear to compute again.
  void flush(NodeId asked = kNoNode) const;
  void check_finite(NodeId id) const;
  /// Cuts the lists back to a mark. Vars of what is cut must not exist, or be made stale.
  void cut(const Mark& mark);
  bool valid(const Mark& mark) const;
  void rewind_unless_gone(const Mark& mark) noexcept;
  void release(NodeId id);
  std::string_view keep_text(std::string_view text);
  const StateEntry* entry_of(const State& state) const;
  StateEntry& make_entry(const State& state);
  StateEntry& change_entry(StateEntry& entry);
  void keep_updates(const Mark& mark, Location where);
  Mark begin_step();

  Mode mode_;
  bool anomaly_ = false;
  bool keep_ = true;
  bool stepping_ = false;
  std::uint32_t slot_;
  std::uint64_t first_generation_;
  std::uint64_t generation_;
  std::thread::id thread_;

  mutable std::unique_ptr<Refusal> refusal_;
  mutable Chunked<Node> nodes_;
  // The open loop: nodes over one shape that are recorded and not computed yet, in order.
  mutable std::unique_ptr<Loop> loop_;
  mutable CachedVector<NodeId> pending_steps_;
  mutable CachedVector<NodeId> pending_reductions_;
  mutable CachedVector<NodeId> pending_reshapes_;  // of reductions, whose number in the loop is their `pending`
  mutable Chunked<Tensor> lazies_;                 // sources of lazy broadcasts
  CachedVector<NodeId> edges_;
  Chunked<Attr, 128> attrs_;
  Chunked<NameEntry> names_;
  Chunked<char, 4096> text_;
  Chunked<Scope> scopes_;
  std::vector<StateEntry> states_;
  std::size_t next_state_ = 0;  // where the next look-up begins: states are read in the same order step after step
  CachedVector<Replaced> replaced_;
  CachedVector<Literal> literals_;
  std::vector<Guard> guards_;
  std::vector<HookEntry> hooks_;
  std::uint64_t hook_count_ = 0;
  std::uint32_t scope_ = 0;
  Location outer_;  // the line of the outermost scope
  // While a rule runs:
  NodeId origin_ = kNoNode;   // the node whose rule it is
  NodeId window_ = kNoNode;   // where its nodes begin: equal ones recorded since are shared
  std::uint32_t sweep_ = 0;   // the sweep that is running
  std::uint32_t sweeps_ = 0;  // how many there have been
  std::vector<std::unique_ptr<struct SweepScratch>> scratch_;  // by depth of nesting
  std::size_t depth_ = 0;
};

// --- implementation of the templates ---------------------------------------------------------------------------------

namespace detail {

/// Runs `f` when it goes out of scope.
template <class F>
class Finally {
 public:
  explicit Finally(F f) : f_(std::move(f)) {}
  ~Finally() { f_(); }
  Finally(const Finally&) = delete;
  Finally& operator=(const Finally&) = delete;

 private:
  F f_;
};

/// Runs f; if it throws, takes back what it has recorded.
template <class F>
auto all_or_nothing(Tape& tape, F&& f) {
  const Tape::Mark mark = tape.mark();
  try {
    return f();
  } catch (...) {
    tape.rewind(mark);
    throw;
  }
}

}  // namespace detail

template <class F>
auto Tape::step(F&& f) {
  using Result = std::invoke_result_t<F>;
  static_assert(!std::is_same_v<Result, Var> && !std::is_same_v<Result, Vars>,
                "a Var does not outlive its step: return var.item() or var.value()");
  const Mark begin = begin_step();
  const detail::Finally back([&, keep = std::exchange(keep_, false)] {
    keep_ = keep;
    stepping_ = false;
    rewind_unless_gone(begin);
  });
  if constexpr (std::is_void_v<Result>) {
    std::forward<F>(f)();
    commit();
  } else {
    Result result = std::forward<F>(f)();
    commit();
    return result;
  }
}

template <class F>
auto Tape::no_record(F&& f, Location where) {
  check_thread();
  const Mark begin = mark();
  bool done = false;
  const detail::Finally back([&] {
    if (!done) rewind_unless_gone(begin);
  });
  auto result = std::forward<F>(f)();
  auto finish = [&] {
    keep_updates(begin, where);
    done = true;
  };
  if constexpr (std::is_same_v<decltype(result), Var>) {
    Tensor value = result.value();
    finish();
    return leaf(std::move(value), {}, where);
  } else {
    static_assert(std::is_same_v<decltype(result), Vars>, "no_record takes a function that returns a Var or Vars");
    CachedVector<Tensor> values;
    for (const Var& var : result) values.push_back(var.value());
    finish();
    result.clear();
    for (Tensor& value : values) result.push_back(leaf(std::move(value), {}, where));
    return result;
  }
}

}  // namespace ebb
