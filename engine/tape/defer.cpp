// The open loop of an eager tape.
//
// Elementwise ops and reductions over large tensors are not run one by one: they join a loop over their shape, and the
// loop runs when a value is asked for, or when a node comes that cannot join. What a sweep releases before that is
// never written to memory at all, and what is rewound is never computed. What takes a few instructions to compute from
// one tensor or two is not written either: later loops read those and compute it again, until someone asks for the
// value. Values are the same to the bit.
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/row/structural.h>
#include <ebb/engine/tape/tape.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

constexpr std::int64_t kWorthwhile = 4096;      // elements from which on a loop is faster than its ops one by one
constexpr std::size_t kNearBytes = 128 * 1024;  // what is smaller stays in the nearest caches: reading it costs least
// To compute again: so many steps that read so many tensors of the value's size. One that is written and read once more
// has moved as much, and often later loops read the two anyway.
constexpr std::size_t kCheapSteps = 3, kCheapLarge = 2;
constexpr std::int64_t kSmall = 8;  // a source is small beside a value so many times its size
constexpr double kCheapUlp = 0.5;   // what is rounded right is an instruction or two

}  // namespace

// True if the open loop computes the node, or will have when it has run.
bool Tape::in_loop(NodeId id) const {
  const Node& node = nodes_[id];
  return node.pending < pending_steps_.size() && pending_steps_[node.pending] == id;
}

// What a loop may read the node from; null if it has to compute it.
const Tensor* Tape::at_hand(const Node& node) const {
  const bool kept = node.presence == Presence::released && node.read_again;
  if (node.presence == Presence::computed || (kept && node.value.has_buffer())) return &node.value;
  if (node.presence == Presence::lazy || (kept && node.lazy != kNoNode)) return &lazies_[node.lazy];
  return nullptr;
}

void Tape::demand(NodeId id, Demand& sum) const {
  const Node& node = nodes_[id];
  if (node.presence == Presence::pending) return;
  if (const Tensor* source = at_hand(node)) {
    ++sum.sources;
    sum.fits &= loop_->fits(source->shape());
    return;
  }
  if (in_loop(id)) return;
  ++sum.steps;
  for (std::size_t i = 0; i < node.inputs; ++i) demand(input(node, i), sum);
}

// Adds the node to the open loop, if it is of a kind and size for it; runs the loop first if they do not go together.
bool Tape::defer(Node& node, std::span<const NodeId> inputs, const Call& call) {
  const Row& row = *node.row;
  if (&row == &kReshape) return defer_reshape(node, inputs[0]);
  const bool reduction = row.is_loop_reduction();
  if (anomaly_ || (!reduction && !row.is_step())) return false;
  const Shape shape = reduction ? nodes_[inputs[0]].value.shape() : node.value.shape();
  if (shape.numel() < kWorthwhile || node.value.numel() == 0) return false;

  if (!loop_) loop_ = std::make_unique<Loop>();
  bool joins = !loop_->empty() && loop_->shape() == shape;
  bool large = false;  // some input has the whole shape: a function of broadcasts alone is lazy instead
  Demand all;
  for (const NodeId id : inputs) {
    const Node& in = nodes_[id];
    if (in.presence == Presence::pending || in.presence == Presence::unstored) {
      large |= in.row->kind == Kind::elementwise && in.value.shape() == shape;
      // A reduction's result is there only when the loop has run, and a step is of the loop's shape.
      if (in.row->kind != Kind::elementwise || in.value.shape() != shape) value(id);
    } else {
      const Tensor& tensor = in.presence == Presence::lazy ? lazies_[in.lazy] : value(id);
      large |= tensor.numel() == shape.numel();
    }
  }
  if (!large) return false;
  // The operand is read as a whole: a broadcast is computed first.
  if (reduction && nodes_[inputs[0]].presence == Presence::lazy) return false;
  joins = joins && !loop_->empty();
  if (joins) {
    for (const NodeId id : inputs) demand(id, all);
    joins = all.fits && loop_->has_room(all.steps + 1, all.sources);
  }
  const IntList axes = reduction ? call.attrs().list("axes") : IntList{};
  if (reduction) joins = joins && loop_->can_reduce(axes);
  if (!joins) {
    flush();
    loop_->begin(shape);
  }

  const NodeId id = static_cast<NodeId>(nodes_.size());
  if (reduction) {
    LoopOperand operand = operand_of(inputs[0]);
    if (!loop_->can_reduce(axes)) {  // what computes it again repeats along other axes
      value(inputs[0]);
      loop_->begin(shape);
      operand = operand_of(inputs[0]);
    }
    node.pending = static_cast<std::uint32_t>(loop_->add_reduction(row, operand, node.value.dtype(), axes));
    pending_reductions_.push_back(id);
  } else {
    node.pending = static_cast<std::uint32_t>(add_step(row, inputs, node.value.dtype(), id).index);
  }
  node.presence = Presence::pending;
  return true;
}

// What the open loop sums up it need not run for, to have another shape.
bool Tape::defer_reshape(Node& node, NodeId of) {
  const Node& in = nodes_[of];
  if (in.presence != Presence::pending || in_loop(of)) return false;
  node.pending = in.pending;
  node.presence = Presence::pending;
  pending_reshapes_.push_back(static_cast<NodeId>(nodes_.size()));
  return true;
}

LoopOperand Tape::operand_of(NodeId id) const {
  Node& node = nodes_[id];
  if (const Tensor* source = at_hand(node)) return loop_->add_source(*source);
  if (!in_loop(id)) {
    const std::span<const NodeId> inputs(edges_.data() + node.first_input, node.inputs);
    node.pending = static_cast<std::uint32_t>(add_step(*node.row, inputs, node.value.dtype(), id).index);
  }
  return {true, node.pending};
}

LoopOperand Tape::add_step(const Row& row, std::span<const NodeId> inputs, DType dtype, NodeId id) const {
  std::array<LoopOperand, LaneCall::kMaxArity> operands;
  for (std::size_t i = 0; i < inputs.size(); ++i) operands[i] = operand_of(inputs[i]);
  const DType lane_dtype = nodes_[inputs.back()].value.dtype();
  const LoopOperand step = loop_->add_step(row, {operands.data(), inputs.size()}, lane_dtype, dtype);
  pending_steps_.push_back(id);
  return step;
}

void Tape::compute_again(NodeId id) const {
  flush();
  Node& node = nodes_[id];
  loop_->begin(node.value.shape());
  operand_of(id);
  node.presence = Presence::pending;
  flush(id);
}

// True if a step of the open loop need not be kept. What it is computed again from must stay: a sweep may release what
// it has recorded, of which small sources are kept for this; such a node is itself computed again where it is a step on
// the way.
bool Tape::cheap(NodeId id) const {
  const Tensor& value = nodes_[id].value;
  if (value.bytes() < kNearBytes || nodes_[id].pinned) return false;
  Demand sum;
  std::array<NodeId, kCheapSteps * LaneCall::kMaxArity> kept;
  std::size_t count = 0;
  const auto walk = [&](const auto& self, NodeId at) -> bool {
    const Node& node = nodes_[at];
    const bool step = node.row->is_step() && node.value.shape() == value.shape();
    if (!step || node.row->ulp > kCheapUlp || ++sum.steps > kCheapSteps) return false;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId from = input(node, i);
      const Node& in = nodes_[from];
      if (const Tensor* source = at_hand(in)) {
        if (source->numel() == value.numel() && ++sum.large > kCheapLarge) return false;
        if (node.sweep == 0 || in.sweep == 0) continue;
        if (source->numel() > value.numel() / kSmall) return false;
        kept[count++] = from;
      } else if (in.presence == Presence::pending || !self(self, from)) {
        return false;
      }
    }
    return true;
  };
  if (!walk(walk, id)) return false;
  for (std::size_t i = 0; i < count; ++i) nodes_[kept[i]].read_again = true;
  return true;
}

void Tape::flush(NodeId asked) const {
  if (!loop_ || loop_->empty()) return;
  const auto waits = [&](NodeId id) { return nodes_[id].presence == Presence::pending; };  // or was released
  // In order: what an earlier step is decides about a later one.
  for (NodeId id : pending_steps_) {
    if (waits(id) && id != asked && cheap(id)) nodes_[id].presence = Presence::unstored;
  }
  try {
    for (std::size_t k = 0; k < pending_steps_.size(); ++k) {
      Tensor& value = nodes_[pending_steps_[k]].value;
      if (waits(pending_steps_[k])) value = Tensor::empty(value.shape(), value.dtype());
      loop_->store(k, waits(pending_steps_[k]) ? value.mutable_raw() : nullptr);
    }
    for (std::size_t k = 0; k < pending_reductions_.size(); ++k) store_reduction(k);
    loop_->run();
  } catch (...) {
    for (const auto* list : {&pending_steps_, &pending_reductions_, &pending_reshapes_}) {
      for (NodeId id : *list) {
        if (waits(id)) nodes_[id].value.drop_buffer();
      }
    }
    throw;
  }
  for (auto* list : {&pending_steps_, &pending_reductions_, &pending_reshapes_}) {
    for (NodeId id : *list) {
      if (waits(id)) nodes_[id].presence = Presence::computed;
    }
    list->clear();
  }
  loop_->clear();
}

// Memory for what waits for reduction k: itself, unless it was released, and its reshapes.
void Tape::store_reduction(std::size_t k) const {
  const NodeId id = pending_reductions_[k];
  const auto waits = [&](NodeId node) { return nodes_[node].presence == Presence::pending; };
  const auto is_of_it = [&](NodeId reshape) { return nodes_[reshape].pending == k && waits(reshape); };
  if (!waits(id) && std::ranges::none_of(pending_reshapes_, is_of_it)) return loop_->store_reduction(k, nullptr);
  Tensor value = Tensor::empty(nodes_[id].value.shape(), nodes_[id].value.dtype());
  loop_->store_reduction(k, value.mutable_raw());
  for (NodeId reshape : pending_reshapes_) {
    if (is_of_it(reshape)) nodes_[reshape].value = value.reshaped(nodes_[reshape].value.shape());
  }
  if (waits(id)) nodes_[id].value = std::move(value);
}

}  // namespace ebb
