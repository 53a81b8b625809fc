#include <ebb/engine/tape/tape.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/whole.h>
#include <ebb/engine/tape/slots.h>
#include <ebb/engine/row/structural.h>
#include <ebb/engine/grad/sweep.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace ebb {
namespace {

constexpr std::size_t kSharingWindow = 512;  // nodes of one node's rules that later ones may share

}  // namespace

Tape::Tape(Mode mode)
    : mode_(mode),
      slot_(slots().take(this)),
      first_generation_(slots()[slot_].first_generation),
      generation_(first_generation_),
      thread_(std::this_thread::get_id()) {
  scopes_.push_back(Scope{});
}

Tape::~Tape() { slots().give_back(slot_, generation_); }

NodeId Tape::resolve(const Var& var) const {
  if (var.slot_ != slot_ || var.node_ >= nodes_.size() || nodes_[var.node_].birth != var.generation_) {
    fail_stale(var);
  }
  return var.node_;
}

void Tape::fail_stale(const Var& var) const {
  if (&var.tape() != this) {  // also throws for an empty Var and for one of a dead tape
    throw UsageError(
        fmt::format("var: {} belongs to another tape. Vars of two tapes do not mix: record it here with "
                    "tape.leaf(var.value()).",
                    var.name()));
  }
  throw UsageError(
      fmt::format("var: %{} was taken back by a rewind (tape.step, no_record and rewind end the life of what "
                  "was recorded inside). Keep var.value() instead.",
                  var.node_));
}

void Tape::check_thread() const {
  if (std::this_thread::get_id() != thread_) {
    throw UsageError(
        "tape: this tape belongs to another thread. Give each thread a tape of its own; Tensors and States "
        "may cross.");
  }
}

// --- recording -------------------------------------------------------------------------------------------------------

NodeId Tape::append(Node&& node, std::span<const NodeId> inputs, std::span<const Attr> attrs) {
  if (nodes_.size() >= kNoNode) throw UsageError("tape: more than 4294967294 nodes");
  if (refusal_) refusal_.reset();
  node.first_input = static_cast<std::uint32_t>(edges_.size());
  node.inputs = static_cast<std::uint32_t>(inputs.size());
  edges_.insert(edges_.end(), inputs.begin(), inputs.end());
  node.attrs = attrs_.append(attrs);
  node.birth = generation_;
  node.sweep = sweep_;
  node.origin = origin_;
  if (origin_ == kNoNode) {
    node.scope = scope_;
    if (outer_) node.where = outer_;
  } else {  // a derivative stands where its forward node stands
    const Node& origin = nodes_[origin_];
    node.scope = origin.scope;
    node.step = origin.step;
    if (origin.where) node.where = origin.where;
  }
  nodes_.push_back(std::move(node));
  return static_cast<NodeId>(nodes_.size() - 1);
}

Var Tape::leaf(Tensor value, std::string_view leaf_name, Location where) {
  check_thread();
  if (!value.has_buffer() && mode_ == Mode::eager) {
    throw UsageError(fmt::format("leaf: the tensor {} has no values. ({})", describe(value), to_string(where)));
  }
  Node node;
  node.row = &kLeaf;
  // An argument of a trace has a type and no value, and reading it is an error.
  node.presence = value.has_buffer() ? Presence::computed : Presence::traced;
  node.value = std::move(value);
  node.where = where;
  const Mark before = mark();
  const NodeId id = append(std::move(node), {}, {});
  const Var result = var(id);
  try {
    if (!leaf_name.empty()) name(result, leaf_name);
    if (anomaly_) check_finite(id);
  } catch (...) {
    cut(before);
    throw;
  }
  return result;
}

Var Tape::constant(double value, DType dtype) {
  // The last few are enough: a loop that meets ever new literals must not search them all.
  check_thread();
  const std::size_t first = literals_.size() - std::min<std::size_t>(literals_.size(), 64);
  for (const Literal& literal : std::span(literals_).subspan(first)) {
    // Bits, not values: -0 is not 0, and NaN is NaN.
    if (literal.dtype == dtype && std::bit_cast<std::uint64_t>(literal.value) == std::bit_cast<std::uint64_t>(value)) {
      return var(literal.node);
    }
  }
  Node node;
  node.row = &kConstant;
  node.value = Tensor::full({}, value, dtype);
  node.presence = Presence::computed;
  const Attr attr{"value", value};
  // A constant belongs to the tape, not to the rule or scope that met it first.
  const NodeId origin = std::exchange(origin_, kNoNode);
  const std::uint32_t scope = std::exchange(scope_, 0);
  const std::uint32_t sweep = std::exchange(sweep_, 0);
  const NodeId id = append(std::move(node), {}, std::span(&attr, 1));
  origin_ = origin;
  scope_ = scope;
  sweep_ = sweep;
  literals_.push_back({value, dtype, id});
  return var(id);
}

Var Tape::record(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs) {
  return record_or_cut(row, operands, attrs, nullptr);
}

Var Tape::record_known(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs, Tensor value) {
  return record_or_cut(row, operands, attrs, &value);
}

Var Tape::record_or_cut(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs, Tensor* known) {
  check_thread();
  const Mark before = mark();
  try {
    return record_checked(row, operands, attrs, known);
  } catch (const std::exception& error) {
    cut(before);  // literals that were recorded on the way, or the node that anomaly mode has refused
    note_refusal(row, operands, attrs, error.what());
    throw;
  }
}

// For dumps, which show where a recording stopped.
void Tape::note_refusal(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs,
                        const char* message) noexcept {
  try {
    auto refusal = std::make_unique<Refusal>();
    refusal->row = &row;
    for (const Operand& operand : operands) {
      Refusal::Input input;
      if (operand.is_literal()) {
        input.literal = operand.literal();
      } else if (const Var& v = operand.var();
                 v.slot_ == slot_ && v.node_ < nodes_.size() && nodes_[v.node_].birth == v.generation_) {
        input.id = v.node_;
      }
      refusal->inputs.push_back(input);
    }
    refusal->attrs.assign(attrs.begin(), attrs.end());
    refusal->message = message;
    if (!operands.empty()) refusal->where = line(operands[0].where());
    if (origin_ != kNoNode && nodes_[origin_].where) refusal->where = nodes_[origin_].where;
    refusal->scope = origin_ == kNoNode ? scope_ : nodes_[origin_].scope;
    refusal->sweep = sweep_;
    refusal->origin = origin_;
    refusal_ = std::move(refusal);
  } catch (...) {  // the error on its way says more than a dump would
    refusal_.reset();
  }
}

void Tape::note_read(NodeId id, const char* message) const noexcept {
  try {
    check_thread();
    auto refusal = std::make_unique<Refusal>();
    refusal->inputs.push_back({id, {}});
    refusal->message = message;
    refusal->scope = scope_;
    refusal_ = std::move(refusal);
  } catch (...) {  // of another thread, or out of memory: the error on its way says more
  }
}

Var Tape::record_checked(const Row& row, std::span<const Operand> operands, std::span<const Attr> attrs,
                         Tensor* known) {
  std::array<NodeId, 8> few;
  CachedVector<NodeId> many;
  NodeId* ids = few.data();
  if (operands.size() > few.size()) {
    many.resize(operands.size());
    ids = many.data();
  }
  // Vars first: literals take the dtype of the last one, which is never a condition.
  DType dtype = DType::f32;
  bool literals = false;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (operands[i].is_literal()) {
      literals = true;
    } else {
      ids[i] = resolve(operands[i].var());
      dtype = nodes_[ids[i]].value.dtype();
    }
  }
  if (literals) {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      if (!operands[i].is_literal()) continue;
      check_literal(row, operands[i], dtype);
      ids[i] = constant(operands[i].literal(), dtype).id();
    }
  }
  const std::span<const NodeId> inputs(ids, operands.size());
  if (window_ != kNoNode) {
    const NodeId equal = find_equal(row, inputs, attrs);
    if (equal != kNoNode) return var(equal);
  }

  Location where = operands.empty() ? Location{} : operands[0].where();
  if (origin_ != kNoNode && nodes_[origin_].where) {
    where = nodes_[origin_].where;
  } else if (outer_) {
    where = outer_;
  }
  const Call call(*this, row, inputs, Attrs(attrs), where);
  if (!row.type) call.fail_usage("the row has no type rule", "Give it Row::type, or make it with own_row.");
  const TensorType type = row.type(call);

  Node node;
  node.row = &row;
  node.value = Tensor::abstract(type.shape, type.dtype);
  node.where = where;
  if (known) {
    node.value = std::move(*known);
    node.presence = Presence::computed;
  } else if (mode_ == Mode::eager) {
    compute(node, inputs, call);
  }
  const NodeId id = append(std::move(node), inputs, attrs);
  if (anomaly_ && mode_ == Mode::eager) check_finite(id);
  return var(id);
}

// No promotion: a literal that the tensors' dtype cannot hold would be cut to another number without a word.
void Tape::check_literal(const Row& row, const Operand& operand, DType dtype) const {
  if (is_floating(dtype)) return;
  const double value = operand.literal();
  if (!operand.is_exact()) {
    throw DTypeError(
        fmt::format("{}: an integer literal past 2^53 would lose digits, got about {:.6g}. Make it a tensor: "
                    "tape.leaf(Tensor::of<std::int64_t>({{}}, {{n}})).{}",
                    row.name, value, place(row.name, operand.where())));
  }
  const bool fits =
      dtype == DType::boolean ? value == 0 || value == 1 : std::trunc(value) == value && std::fabs(value) < 0x1p63;
  if (fits) return;
  throw DTypeError(
      fmt::format("{}: the literal {} is no {}, which the tensors beside it are. Convert them with cast(x, "
                  "DType::f32).{}",
                  row.name, value, ebb::name(dtype), place(row.name, operand.where())));
}

NodeId Tape::find_equal(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) const {
  // A node of ten thousand inputs records as many cotangents, which must not all be compared with each other.
  const std::size_t end = std::min<std::size_t>(nodes_.size(), std::size_t{window_} + kSharingWindow);
  for (NodeId id = window_; id < end; ++id) {
    const Node& node = nodes_[id];
    if (node.row == &row && node.inputs == inputs.size() &&
        std::equal(inputs.begin(), inputs.end(), edges_.begin() + node.first_input) &&
        std::ranges::equal(node.attrs, attrs)) {
      return id;
    }
  }
  return kNoNode;
}

// --- computing -------------------------------------------------------------------------------------------------------

void Tape::compute(Node& node, std::span<const NodeId> inputs, const Call& call) {
  const Row& row = *node.row;
  if (defer(node, inputs, call)) return;
  if (row.is_step()) {
    std::array<Source, 4> sources;
    bool lazy = false;
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Node& in = nodes_[inputs[i]];
      lazy |= in.presence == Presence::lazy;
      const Tensor& tensor = in.presence == Presence::lazy ? lazies_[in.lazy] : value(inputs[i]);
      sources[i] = {tensor.raw(), &tensor.shape()};
    }
    const std::span<const Source> in(sources.data(), inputs.size());
    const DType lane_dtype = nodes_[inputs.back()].value.dtype();
    if (lazy) {  // a function of broadcasts alone is a broadcast: compute what is repeated
      Shape repeated = *in[0].shape;
      for (const Source& source : in.subspan(1)) repeated = *broadcast(repeated, *source.shape);
      if (repeated.numel() < node.value.numel()) {
        Tensor result = Tensor::abstract(repeated, node.value.dtype());
        run_elementwise(row, in, lane_dtype, result);
        make_lazy(node, std::move(result));
        return;
      }
    }
    run_elementwise(row, in, lane_dtype, node.value);
  } else if (&row == &kBroadcastTo) {
    const Node& in = nodes_[inputs[0]];
    make_lazy(node, in.presence == Presence::lazy ? lazies_[in.lazy] : value(inputs[0]));
    return;
  } else {
    std::array<const Tensor*, 8> few;
    CachedVector<const Tensor*> many;
    const Tensor** in = few.data();
    if (inputs.size() > few.size()) {
      many.resize(inputs.size());
      in = many.data();
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Node& input = nodes_[inputs[i]];
      const bool as_it_is = row.reads_broadcast && input.presence == Presence::lazy;
      in[i] = as_it_is ? &lazies_[input.lazy] : &value(inputs[i]);
    }
    KernelCall kernel_call{{in, inputs.size()}, call.attrs(), node.value, call};
    run_whole(row, kernel_call);
  }
  node.presence = Presence::computed;
}

void Tape::make_lazy(Node& node, Tensor source) {
  node.lazy = static_cast<std::uint32_t>(lazies_.size());
  node.presence = Presence::lazy;
  lazies_.push_back(std::move(source));
}

const Tensor& Tape::value(NodeId id) const {
  Node& node = nodes_[id];
  switch (node.presence) {
    case Presence::computed:
      break;
    case Presence::pending:
      check_thread();
      flush(id);
      break;
    case Presence::unstored:
      check_thread();
      compute_again(id);
      break;
    case Presence::lazy:
      check_thread();
      run_broadcast({lazies_[node.lazy].raw(), &lazies_[node.lazy].shape()}, node.value);
      node.presence = Presence::computed;
      break;
    case Presence::traced:
    case Presence::released: {
      const std::string name = name_of(id);
      const std::string message =
          node.presence == Presence::traced
              ? fmt::format(
                    "value: cannot read the value of {} {} while tracing. Return it from the traced "
                    "function instead.{}",
                    node.row->name, name, place("", node.where, node.scope))
              : fmt::format(
                    "value: the value of {} {} was released by a sweep with keep = false, which is what "
                    "tape.step asks for. Ask for it with {{.keep = true}}.{}",
                    node.row->name, name, place("", node.where, node.scope));
      note_read(id, message.c_str());
      throw UsageError(message);
    }
  }
  return node.value;
}

void Tape::release(NodeId id) {
  Node& node = nodes_[id];
  if (node.presence == Presence::traced || node.presence == Presence::released) return;
  if (node.pinned) return;
  if (node.row == &kConstant || node.row == &kLeaf) return;
  if (!node.read_again) {
    if (node.lazy != kNoNode) lazies_[node.lazy].drop_buffer();
    node.value.drop_buffer();
  }
  node.presence = Presence::released;
}

// --- looking on ------------------------------------------------------------------------------------------------------

std::map<std::string, std::size_t> Tape::memory_by_op() const {
  std::map<std::string, std::size_t> bytes;
  for (NodeId id = 0; id < nodes_.size(); ++id) {
    const Node& node = nodes_[id];
    if (node.value.has_buffer()) bytes[std::string(node.row->name)] += node.value.bytes();
  }
  return bytes;
}

Tape::Hook Tape::on_cotangent(const Var& var, std::function<Var(Var)> function) {
  check_thread();
  const NodeId id = resolve(var);
  hooks_.push_back({++hook_count_, id, std::move(function)});
  return Hook(slot_, first_generation_, hook_count_);
}

void Tape::Hook::remove() {
  if (slot_ == 0) return;
  Tape* tape = slots()[slot_].tape.load(std::memory_order_acquire);
  if (tape && tape->first_generation_ == birth_) {
    std::erase_if(tape->hooks_, [&](const HookEntry& hook) { return hook.id == id_; });
  }
  slot_ = 0;
}

}  // namespace ebb
