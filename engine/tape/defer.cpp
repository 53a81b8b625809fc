// The open loop of an eager tape.
//
// Elementwise ops and reductions over large tensors are not run one by one: they join a loop over their shape, and the
// loop runs when a value is asked for, or when a node comes that cannot join. What a sweep releases before that is
// never written to memory at all, and what is rewound is never computed. Values are the same to the bit.
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/tape/tape.h>

#include <array>

namespace ebb {
namespace {

constexpr std::int64_t kWorthwhile = 4096;  // elements from which on a loop is faster than its ops one by one

}  // namespace

// Adds the node to the open loop, if it is of a kind and size for it; runs the loop first if they do not go together.
bool Tape::defer(Node& node, std::span<const NodeId> inputs, const Call& call) {
  const Row& row = *node.row;
  const bool reduction = row.kind == Kind::reduction;
  if (row.kernel || anomaly_ || (!reduction && row.kind != Kind::elementwise)) return false;
  const Shape& shape = reduction ? nodes_[inputs[0]].value.shape() : node.value.shape();
  if (shape.numel() < kWorthwhile || node.value.numel() == 0) return false;

  if (!loop_) loop_ = std::make_unique<Loop>();
  const bool room = loop_->has_room(inputs.size());
  bool joins = !loop_->empty() && room && loop_->shape() == shape;
  bool large = false;  // some input has the whole shape: a function of broadcasts alone is lazy instead
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Node& in = nodes_[inputs[i]];
    if (in.presence == Presence::pending) {
      // A reduction's result is there only when the loop has run.
      joins &= in.row->kind == Kind::elementwise;
      large |= in.row->kind == Kind::elementwise && in.value.shape() == shape;
    } else {
      const Tensor& tensor = in.presence == Presence::lazy ? lazies_[in.lazy] : value(inputs[i]);
      large |= tensor.numel() == shape.numel();
      joins = joins && loop_->fits(tensor.shape());
    }
  }
  if (!large) return false;
  if (reduction) {
    // The operand is read as a whole: a broadcast is computed first.
    if (nodes_[inputs[0]].presence == Presence::lazy) return false;
    joins = joins && loop_->can_reduce(call.attrs().list("axes"));
  }
  if (!joins) {
    flush();
    loop_->begin(shape);
  }

  std::array<Loop::Operand, LaneCall::kMaxArity> operands;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Node& in = nodes_[inputs[i]];
    if (in.presence == Presence::pending) {
      operands[i] = {true, in.pending};
    } else {
      operands[i] = loop_->add_source(in.presence == Presence::lazy ? lazies_[in.lazy] : value(inputs[i]));
    }
  }
  const NodeId id = static_cast<NodeId>(nodes_.size());
  if (reduction) {
    node.pending = static_cast<std::uint32_t>(
        loop_->add_reduction(row, operands[0], node.value.dtype(), call.attrs().list("axes")));
    pending_reductions_.push_back(id);
  } else {
    const DType lane_dtype = nodes_[inputs.back()].value.dtype();
    node.pending = static_cast<std::uint32_t>(
        loop_->add_step(row, {operands.data(), inputs.size()}, lane_dtype, node.value.dtype()).index);
    pending_steps_.push_back(id);
  }
  node.presence = Presence::pending;
  return true;
}

// Runs the open loop: what is still wanted gets its memory now. If there is none, all wait as before.
void Tape::flush() const {
  if (!loop_ || loop_->empty()) return;
  const auto waits = [&](NodeId id) { return nodes_[id].presence == Presence::pending; };  // or was released
  try {
    for (std::size_t i = 0; i < pending_steps_.size() + pending_reductions_.size(); ++i) {
      const bool step = i < pending_steps_.size();
      const std::size_t k = step ? i : i - pending_steps_.size();
      const NodeId id = step ? pending_steps_[k] : pending_reductions_[k];
      Tensor& value = nodes_[id].value;
      if (waits(id)) value = Tensor::empty(value.shape(), value.dtype());
      std::byte* const place = waits(id) ? value.mutable_raw() : nullptr;
      step ? loop_->store(k, place) : loop_->store_reduction(k, place);
    }
    loop_->run();
  } catch (...) {
    for (const auto* list : {&pending_steps_, &pending_reductions_}) {
      for (NodeId id : *list) {
        if (waits(id)) nodes_[id].value.drop_buffer();
      }
    }
    throw;
  }
  for (auto* list : {&pending_steps_, &pending_reductions_}) {
    for (NodeId id : *list) {
      if (waits(id)) nodes_[id].presence = Presence::computed;
    }
    list->clear();
  }
  loop_->clear();
}

}  // namespace ebb
