#include <ebb/engine/program/program.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/whole.h>
#include <ebb/engine/program/inspect.h>
#include <ebb/engine/row/structural.h>
#include <ebb/engine/threads/pool.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace ebb {

Program::Program(Traced traced, std::span<const Pass> passes, Setting setting, Backend backend)
    : traced_(optimise(std::move(traced), passes, setting, log_)),
      setting_(setting),
      backend_(backend),
      schedule_(make_schedule(traced_)),
      memory_(plan_memory(traced_, schedule_)),
      arena_(memory_.arena_bytes + 64),
      result_(result_nodes(traced_)) {
  const std::size_t nodes = traced_.tape->size();
  values_.resize(nodes);
  planned_.resize(nodes);
  for (NodeId id = 0; id < nodes; ++id) {
    const Node& node = traced_.node(id);
    if (node.value.has_buffer()) values_[id] = node.value;  // constants, and tensors that the function brought along
  }
  for (const MemoryPlan::Slot& slot : memory_.slots) {
    const Tensor& type = traced_.type(slot.node);
    planned_[slot.node] = Tensor::view(type.shape(), type.dtype(), arena_, slot.offset);
    values_[slot.node] = planned_[slot.node];
  }
  // Outputs that no action reads; the new value of a State is read by the next run.
  std::vector<bool> handed_out(nodes);
  const std::vector<std::size_t> last = last_readers(traced_, schedule_);
  for (NodeId id : traced_.outputs) handed_out[base_of(traced_, id)] = last[base_of(traced_, id)] == 0;
  for (const Traced::Update& update : traced_.updates) handed_out[base_of(traced_, update.value)] = false;
  runs_.resize(schedule_.actions.size());
  bool back = false;
  for (std::size_t a = 0; a < runs_.size(); ++a) {
    const Action& action = schedule_.actions[a];
    if (action.kind != Action::Kind::loop) continue;
    build_loop(action, handed_out, runs_[a]);
    // To and fro: each large loop begins with what the one before has left in the cache.
    if (setting == Setting::exact || action.shape.numel() < kLargeLoop) continue;
    if (back) runs_[a].loop->go_backward();
    back = !back;
  }
  first_over_ = runs_.size();
  for (const OverState& over : memory_.over) first_over_ = std::min(first_over_, schedule_.home[over.value]);
  if (const Band* const band = first_over_ < runs_.size() ? schedule_.band_of(first_over_) : nullptr) {
    first_over_ = band->begin;
  }
  for (NodeId id : traced_.arguments) passing_.push_back(id);
  for (const Traced::Read& read : traced_.reads) passing_.push_back(read.leaf);
  for (NodeId id = 0; id < nodes; ++id) {
    const bool handed_over = result_[id] || memory_.inside[id] != kNoNode;
    if (handed_over && schedule_.home[id] < runs_.size()) passing_.push_back(id);
  }
}

Program::~Program() = default;

bool Program::is_generated(std::size_t action) const {
  return runs_[action].loop && runs_[action].loop->is_generated();
}

// Whether the loops that take turns with a node's own read it.
bool Program::read_in_band(NodeId id) const {
  const Band* const band = schedule_.band_of(schedule_.home[id]);
  if (!band) return false;
  const auto of = [&](const View& view) { return view.root == id; };
  for (std::size_t a = band->begin; a < band->end; ++a) {
    if (std::ranges::any_of(schedule_.actions[a].sources, of)) return true;
  }
  return false;
}

void Program::build_loop(const Action& action, const std::vector<bool>& handed_out, Run& run) {
  run.loop = std::make_unique<Loop>();
  Loop& loop = *run.loop;
  loop.begin(action.shape);
  const Band* const band = schedule_.band_of(static_cast<std::size_t>(&action - schedule_.actions.data()));
  if (band && !action.axes && action.shape == band->shape) loop.walk_along(band->axes);
  std::vector<std::pair<NodeId, Loop::Operand>> step_of;
  const auto operand = [&](NodeId id) -> Loop::Operand {
    const View view = loop_view_of(traced_, schedule_.stored, id);
    for (const auto& [node, step] : step_of) {
      if (node == view.root && view.shape == action.shape) return step;
    }
    for (const Source& source : run.sources) {
      if (source.view.root == view.root && source.view.shape == view.shape) return {false, source.index};
    }
    const Tensor& type = traced_.type(view.root);
    const Loop::Operand added = loop.add_source(Tensor::abstract(view.shape, type.dtype()));
    run.sources.push_back({added.index, view});
    return added;
  };
  for (NodeId id : action.steps) {
    const Node& node = traced_.node(id);
    std::array<Loop::Operand, LaneCall::kMaxArity> operands;
    for (std::size_t i = 0; i < node.inputs; ++i) operands[i] = operand(traced_.tape->input(node, i));
    const DType lane = traced_.type(traced_.tape->input(node, node.inputs - 1)).dtype();
    const Loop::Operand step = loop.add_step(*node.row, {operands.data(), node.inputs}, lane, node.value.dtype());
    step_of.emplace_back(id, step);
    const std::size_t here = static_cast<std::size_t>(&action - schedule_.actions.data());
    if (!schedule_.stored[id] || schedule_.home[id] != here) continue;
    run.steps.push_back({step.index, id});
    if (handed_out[id]) loop.hand_out(step.index);
    if (memory_.rewrites[id] || read_in_band(id)) loop.keep_near(step.index);
  }
  for (NodeId id : action.reductions) {
    const Node& node = traced_.node(id);
    const std::size_t index =
        loop.add_reduction(*node.row, operand(traced_.tape->input(node, 0)), node.value.dtype(), *action.axes);
    run.reductions.push_back({index, id});
  }
  if (backend_ == Backend::interpreted) return;
  static std::byte somewhere;  // runs give the places; here it counts which there are
  for (const Store& store : run.steps) loop.store(store.index, &somewhere);
  for (const Store& store : run.reductions) loop.store_reduction(store.index, &somewhere);
  loop.generate();
}

void Program::check(std::span<const Tensor> arguments) const {
  if (arguments.size() != traced_.arguments.size()) {
    throw UsageError(
        fmt::format("program: it takes {} arguments, got {}.", traced_.arguments.size(), arguments.size()));
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Tensor& wanted = traced_.type(traced_.arguments[i]);
    const Tensor& got = arguments[i];
    const auto what = [&] {
      return fmt::format(
          "program: argument {} is {}, the program was traced with {}. Call the compiled function, which "
          "traces anew.",
          i, describe(got), describe(wanted));
    };
    if (got.dtype() != wanted.dtype()) throw DTypeError(what());
    if (got.shape() != wanted.shape()) throw ShapeError(what());
    if (!got.has_buffer()) throw UsageError(fmt::format("program: argument {} has no values.", i));
  }
}

void Program::bind(std::span<const Tensor> arguments, std::span<const Tensor> states, Holds* holds) {
  for (std::size_t i = 0; i < arguments.size(); ++i) values_[traced_.arguments[i]] = arguments[i];
  for (std::size_t i = 0; i < traced_.reads.size(); ++i) {
    values_[traced_.reads[i].leaf] = states.empty() ? traced_.reads[i].state.value() : states[i];
  }
  if (holds) {
    for (const OverState& over : memory_.over) {
      const Traced::Read& read = traced_.reads[over.read];
      const StateHold& hold = holds->emplace_back(read.state, values_[read.leaf]);
      if (hold) values_[over.value] = values_[read.leaf].reshaped(traced_.type(over.value).shape());
    }
  }
  for (NodeId id : passing_) {
    if (schedule_.home[id] >= runs_.size() || values_[id].has_buffer() || !result_[id]) continue;
    const Tensor& type = traced_.type(id);
    values_[id] = Tensor::empty(type.shape(), type.dtype());
  }
  for (NodeId id : passing_) {
    if (memory_.inside[id] == kNoNode) continue;
    values_[id] = values_[memory_.inside[id]].reshaped(traced_.type(id).shape());
  }
}

Tensor Program::read(NodeId id) const {
  const Shape& shape = traced_.type(id).shape();
  const Tensor& value = values_[base_of(traced_, id)];
  return value.shape() == shape ? value : value.reshaped(shape);
}

// Whether a band could be run as one: not if a loop of it has to be interpreted.
bool Program::run_band(const Band& band) {
  CachedVector<Loop*> loops;
  loops.reserve(band.end - band.begin);
  for (std::size_t a = band.begin; a < band.end; ++a) {
    bind_loop(runs_[a]);
    loops.push_back(runs_[a].loop.get());
  }
  return Loop::run_together(loops);
}

void Program::bind_loop(Run& run) {
  for (const Source& source : run.sources) run.loop->bind(source.index, values_[source.view.root].raw());
  for (const Store& store : run.steps) run.loop->store(store.index, values_[store.node].result_raw());
  for (const Store& store : run.reductions) run.loop->store_reduction(store.index, values_[store.node].result_raw());
}

void Program::run_copy(NodeId id) {
  const View view = view_of(traced_, schedule_.stored, traced_.input(id, 0));
  run_broadcast({values_[view.root].raw(), &view.shape}, values_[id]);
}

void Program::run_kernel(NodeId id) {
  const Node& node = traced_.node(id);
  std::array<NodeId, 16> few;
  CachedVector<NodeId> many;
  NodeId* ids = few.data();
  if (node.inputs > few.size()) {
    many.resize(node.inputs);
    ids = many.data();
  }
  CachedVector<Tensor> in;
  CachedVector<const Tensor*> pointers;
  in.reserve(node.inputs);
  for (std::size_t i = 0; i < node.inputs; ++i) {
    ids[i] = traced_.tape->input(node, i);
    const bool below = node.row->reads_broadcast && !schedule_.stored[base_of(traced_, ids[i])];
    const View view = view_of(traced_, schedule_.stored, ids[i]);
    in.push_back(below ? values_[view.root].reshaped(view.shape) : read(ids[i]));
    pointers.push_back(&in.back());
  }
  Tensor& out = values_[id];
  if (node.row->is_step()) return;  // of no elements
  const std::byte* const planned = out.raw();
  const Attrs attrs(node.attrs);
  const Call call(*traced_.tape, *node.row, {ids, node.inputs}, attrs, node.where);
  KernelCall kernel_call{pointers, attrs, out, call};
  run_whole(*node.row, kernel_call);
  if (out.raw() == planned) return;
  const auto input = std::ranges::find_if(in, [&](const Tensor& x) { return out.shares_buffer_with(x); });
  if (input == in.end()) return;
  // What passes an input on must not live in the input's memory, which may be used again before.
  out = planned_[id].has_buffer() ? planned_[id] : Tensor::empty(out.shape(), out.dtype());
  std::memcpy(out.result_raw(), input->raw(), out.bytes());
}

void Program::run_actions(std::size_t begin, std::size_t end) {
  for (std::size_t a = begin; a < end; ++a) {
    const Action& action = schedule_.actions[a];
    switch (action.kind) {
      case Action::Kind::loop:
        if (const Band* const band = schedule_.band_of(a); band && band->begin == a && run_band(*band)) {
          a = band->end - 1;
          break;
        }
        bind_loop(runs_[a]);
        runs_[a].loop->run();
        break;
      case Action::Kind::kernel:
        run_kernel(action.node);
        break;
      case Action::Kind::copy:
        run_copy(action.node);
        break;
    }
  }
}

Tensors Program::compute(std::span<const Tensor> arguments, std::span<const Tensor> states) {
  return execute(arguments, states, nullptr);
}

Tensors Program::execute(std::span<const Tensor> arguments, std::span<const Tensor> states, Holds* holds) {
  check(arguments);
  if (running_.exchange(true)) {
    throw UsageError(
        "program: it is running already. A program serves one call at a time: compile the function once for each "
        "thread.");
  }
  const detail::Finally done([&] {
    release();
    running_ = false;
  });
  if (anomaly_) return compute_by_node(arguments, states);
  // A State is written over only if nothing that follows can run out of memory: the first run of a thread shows how
  // much that needs.
  const Where here{std::this_thread::get_id(), threads()};
  const bool rehearsed = here == rehearsed_;
  const bool over = holds && !memory_.over.empty();
  if (over && rehearsed) reserve_.fill();
  Tensors results;
  results.reserve(traced_.outputs.size() + traced_.updates.size());
  bind(arguments, states, rehearsed ? holds : nullptr);
  if (!over) {
    run_actions(0, runs_.size());
  } else {
    run_actions(0, first_over_);
    if (rehearsed) {
      const Reserve::Use use(reserve_);
      run_actions(first_over_, runs_.size());
    } else {
      rehearsed_ = {};
      const Reserve::Rehearsal rehearsal(reserve_);
      run_actions(first_over_, runs_.size());
      if (rehearsal) rehearsed_ = here;
    }
  }
  for (NodeId id : traced_.outputs) results.push_back(read(id));
  for (const Traced::Update& update : traced_.updates) results.push_back(read(update.value));
  return results;
}

void Program::note_node_by_node() const {
  if (noted_.exchange(true)) return;
  note("program: anomaly mode, audits and watches run its function node by node, as it was traced, not its loops");
}

Tensors Program::compute_by_node(std::span<const Tensor> arguments, std::span<const Tensor> states) const {
  Tape tape;
  tape.set_anomaly(true);
  const Replayed replayed = run_node_by_node(*this, tape, arguments, {}, states);
  Tensors results;
  for (const Vars* list : {&replayed.outputs, &replayed.updates}) {
    for (const Var& var : *list) results.push_back(var.value());
  }
  return results;
}

Tensors Program::run(std::span<const Tensor> arguments) {
  Holds holds;
  holds.reserve(memory_.over.size());
  Tensors results = execute(arguments, {}, &holds);
  const std::size_t outputs = traced_.outputs.size();
  std::size_t next = 0;  // they are in the order of the updates
  for (std::size_t i = 0; i < traced_.updates.size(); ++i) {
    const bool held = next < holds.size() && memory_.over[next].update == i && holds[next++];
    held ? holds[next - 1].commit() : traced_.updates[i].state.set(results[outputs + i]);
  }
  results.resize(outputs);
  return results;
}

// Lets go of what is the caller's, so that its memory can be used again.
void Program::release() noexcept {
  for (NodeId id : passing_) values_[id] = Tensor();
  for (const MemoryPlan::Slot& slot : memory_.slots) {
    if (values_[slot.node].raw() != planned_[slot.node].raw()) values_[slot.node] = planned_[slot.node];
  }
}

}  // namespace ebb
