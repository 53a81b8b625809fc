#include <ebb/engine/program/passes/rewriter.h>

#include <ebb/engine/row/structural.h>

#include <algorithm>
#include <bit>

namespace ebb {
namespace {

std::size_t mix(std::size_t seed, std::size_t value) {
  return seed ^ (value + 0x9e3779b97f4a7c15u + (seed << 6) + (seed >> 2));
}

struct HashAttr {
  std::size_t operator()(std::int64_t v) const { return std::hash<std::int64_t>()(v); }
  std::size_t operator()(double v) const { return std::hash<std::uint64_t>()(std::bit_cast<std::uint64_t>(v)); }
  std::size_t operator()(bool v) const { return v ? 1 : 2; }
  std::size_t operator()(std::string_view v) const { return std::hash<std::string_view>()(v); }
  std::size_t operator()(const IntList& v) const {
    std::size_t h = v.size();
    for (std::int64_t i : v) h = mix(h, static_cast<std::size_t>(i));
    return h;
  }
  std::size_t operator()(const Body& v) const { return std::hash<Body>()(v); }
};

}  // namespace

Rewriter::Rewriter(const Traced& from)
    : from_(from), tape_(std::make_shared<Tape>(Tape::Mode::trace)), map_(from.tape->size(), kNoNode) {
  to_.tape = tape_;
}

std::size_t Rewriter::hash(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) const {
  std::size_t h = std::hash<const Row*>()(&row);
  for (NodeId id : inputs) h = mix(h, id);
  for (const Attr& attr : attrs) h = mix(h, std::visit(HashAttr{}, attr.value));
  return h;
}

NodeId Rewriter::find(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) const {
  const auto [begin, end] = seen_.equal_range(hash(row, inputs, attrs));
  for (auto it = begin; it != end; ++it) {
    const Node& node = to_.node(it->second);
    if (node.row != &row || node.inputs != inputs.size() || !(Attrs(node.attrs) == Attrs(attrs))) continue;
    bool equal = true;
    for (std::size_t i = 0; i < inputs.size(); ++i) equal &= to_.tape->input(node, i) == inputs[i];
    if (equal) return it->second;
  }
  return kNoNode;
}

NodeId Rewriter::record(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) {
  const NodeId equal = find(row, inputs, attrs);
  if (equal != kNoNode) return equal;
  std::vector<Operand> operands;
  const Location where = current_ == kNoNode ? Location{} : from_.node(current_).where;
  for (NodeId id : inputs) operands.emplace_back(tape_->var(id), where);
  const std::size_t before = to_.tape->size();
  const NodeId id = tape_->record(row, operands, attrs).id();
  seen_.emplace(hash(row, inputs, attrs), id);
  if (current_ != kNoNode) take_place(current_, id, before);
  return id;
}

NodeId Rewriter::constant(double value, DType dtype) {
  const std::array attrs{Attr{"value", value}, Attr{"dtype", static_cast<std::int64_t>(dtype)}};
  const std::size_t key = hash(kConstant, {}, attrs);
  const auto [begin, end] = seen_.equal_range(key);
  for (auto it = begin; it != end; ++it) {
    const Node& node = to_.node(it->second);
    if (node.row == &kConstant && node.value.dtype() == dtype &&
        std::bit_cast<std::uint64_t>(Attrs(node.attrs).real("value")) == std::bit_cast<std::uint64_t>(value)) {
      return it->second;
    }
  }
  const NodeId id = tape_->constant(value, dtype).id();
  seen_.emplace(key, id);
  return id;
}

NodeId Rewriter::leaf(Tensor value) {
  const std::size_t before = to_.tape->size();
  const NodeId id = tape_->leaf(std::move(value), {}, Location{}).id();
  if (current_ != kNoNode) take_place(current_, id, before);
  return id;
}

NodeId Rewriter::copy(NodeId old) {
  const Node& node = from_.node(old);
  if (node.row == &kConstant) return constant(Attrs(node.attrs).real("value"), node.value.dtype());
  std::vector<NodeId> inputs;
  for (std::size_t i = 0; i < node.inputs; ++i) inputs.push_back(map_[from_.tape->input(node, i)]);
  return record(*node.row, inputs, node.attrs);
}

// A new node stands where the old one stood: in its scope, at its line, in its sweep.
void Rewriter::take_place(NodeId old, NodeId id, std::size_t before) {
  if (id < before) return;
  const Node& from = from_.node(old);
  Node& node = tape_->nodes_[id];
  node.sweep = from.sweep;
  node.scope = from.scope;
  if (!from.step.empty()) node.step = tape_->keep_text(from.step);
  node.where = from.where;
  node.origin = from.origin == kNoNode ? kNoNode : map_[from.origin];
}

void Rewriter::copy_scopes() {
  const auto& scopes = from_.tape->scopes();
  for (std::size_t i = 1; i < scopes.size(); ++i) {
    Scope scope = scopes[i];
    scope.name = tape_->keep_text(scope.name);
    scope.nodes = 0;
    scope.text_end = 0;
    tape_->scopes_.push_back(scope);
  }
}

// Cotangents' names are made from those of their nodes, some of which may be gone: what they were is given as it is.
void Rewriter::copy_names() {
  const auto& names = from_.tape->names();
  const std::vector<std::string> texts = from_.tape->name_texts();
  std::vector<std::pair<NodeId, std::size_t>> kept;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const NodeId id = map_[names[i].node];
    if (!texts[i].empty() && id != kNoNode && to_.node(id).row != &kConstant) kept.emplace_back(id, i);
  }
  std::ranges::stable_sort(kept, {}, &std::pair<NodeId, std::size_t>::first);  // a name stands right behind its node
  for (const auto& [id, i] : kept) {
    tape_->name(tape_->var(id), texts[i]);
    tape_->names_.back().position = id + 1;
  }
}

Traced Rewriter::run(const Rule& rule) {
  copy_scopes();
  const std::vector<bool> live = live_nodes(from_);
  // Leaves first, used or not: they are the function's interface.
  const auto take_leaf = [&](NodeId old) {
    if (map_[old] != kNoNode) return;
    const Node& node = from_.node(old);
    current_ = old;
    map_[old] = leaf(node.value);
  };
  for (NodeId old : from_.arguments) take_leaf(old);
  for (const Traced::Read& read : from_.reads) take_leaf(read.leaf);
  for (NodeId old = 0; old < live.size(); ++old) {
    if (!live[old] || map_[old] != kNoNode) continue;
    if (from_.node(old).row == &kLeaf) {
      take_leaf(old);
      continue;
    }
    current_ = old;
    const std::optional<NodeId> replaced = rule ? rule(*this, old) : std::nullopt;
    map_[old] = replaced ? *replaced : copy(old);
  }
  current_ = kNoNode;
  copy_names();
  for (NodeId old : from_.arguments) to_.arguments.push_back(map_[old]);
  for (const Traced::Read& read : from_.reads) to_.reads.push_back({read.state, map_[read.leaf]});
  for (NodeId old : from_.outputs) to_.outputs.push_back(map_[old]);
  for (const Traced::Update& update : from_.updates) to_.updates.push_back({update.state, map_[update.value]});
  return std::move(to_);
}

}  // namespace ebb
