// The one traversal: from a tape to the plain description of it that every format is a writer over.
#include <ebb/engine/dump/describe/flow.h>
#include <ebb/engine/dump/describe/shown.h>
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/dump/labels.h>
#include <ebb/engine/lanes/fold.h>
#include <ebb/engine/row/cost.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>

namespace ebb {
namespace {

using detail::Flow;
using detail::kNoEntry;
using detail::Labels;

// "5a" and "5b" belong to step 5.
std::string group_of(const std::string& step) {
  std::size_t digits = 0;
  while (digits < step.size() && step[digits] >= '0' && step[digits] <= '9') ++digits;
  const bool letter = digits > 0 && digits + 1 == step.size() && step[digits] >= 'a' && step[digits] <= 'z';
  return letter ? step.substr(0, digits) : step;
}

// The row's expression of a, b, c.
lane::Symbol expression_of(const Row& row) {
  std::vector<lane::Symbol> operands;
  for (std::size_t i = 0; i < static_cast<std::size_t>(row.arity); ++i) {
    operands.push_back(lane::Symbol::name(std::string(1, static_cast<char>('a' + i)), detail::kNoNumber));
  }
  return row.expression(operands);
}

// A fold's names have numbers of their own, which are no nodes.
lane::Symbol in_words(lane::Symbol symbol) {
  if (symbol.op == lane::Symbol::Op::name) symbol.value = detail::kNoNumber;
  for (lane::Symbol& operand : symbol.operands) operand = in_words(std::move(operand));
  return symbol;
}

// A movement moves numbers of places as it moves anything else. Empty where there are too many, where the inputs are
// not of one dtype, and where it puts in something of its own.
std::vector<std::int64_t> map_of(const Tape& tape, NodeId id, std::int64_t most) {
  const Node& node = tape.node(id);
  Tape scratch;
  std::vector<Operand> inputs;
  std::int64_t count = 0;
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const Tensor& like = tape.node(tape.input(node, i)).value;
    if (like.numel() > most || !is_floating(like.dtype())) return {};
    Tensor places = Tensor::zeros(like.shape(), DType::f64);
    const std::span<double> place = places.mutable_data<double>();
    for (std::int64_t k = 0; k < like.numel(); ++k)
      place[static_cast<std::size_t>(k)] = static_cast<double>(++count);  // from 1: 0 is not a place
    inputs.emplace_back(scratch.leaf(std::move(places)));
  }
  if (inputs.empty() || node.value.numel() > most) return {};
  const Tensor moved = scratch.record(*node.row, inputs, with_floating(node.attrs, DType::f64)).value();
  std::vector<std::int64_t> map;
  for (std::int64_t k = 0; k < moved.numel(); ++k) {
    const std::int64_t from = static_cast<std::int64_t>(moved.at(k)) - 1;
    if (from < 0 || from >= count) return {};
    map.push_back(from);
  }
  return map;
}

class Traversal {
 public:
  Traversal(const Tape& tape, const DumpOptions& options)
      : tape_(tape),
        options_(options),
        shown_(detail::shown_nodes(tape, options)),
        labels_(tape, shown_),
        flow_(tape, labels_) {}

  Graph run() {
    graph_.title = options_.title;
    graph_.mode = tape_.mode();
    graph_.tape_size = tape_.size();
    scopes();
    homes();
    resolve_steps();
    nodes();
    aliases();
    edges();
    failed();
    order();
    return std::move(graph_);
  }

 private:
  void scopes();
  void homes();
  void resolve_steps();
  void nodes();
  void aliases();
  void edges();
  void order();
  void put_seeds(std::uint32_t sweep);
  void put(GraphItem item, std::uint32_t sweep, const std::string& step, std::size_t scope);
  GraphNode make_node(NodeId id) const;
  void failed();
  void derivatives(GraphNode& node) const;
  Role role_of(NodeId id) const;
  std::string place(const Location& where) const { return where ? to_string(where) : std::string(); }

  const Tape& tape_;
  const DumpOptions& options_;
  std::vector<bool> shown_;
  Labels labels_;
  Flow flow_;
  Graph graph_;
  std::vector<std::string> steps_;
  std::map<std::uint32_t, std::vector<std::size_t>> waiting_;  // seeds whose sweep has not begun
  std::vector<std::size_t> alias_index_;                       // by entry of Tape::names()
  std::map<NodeId, std::size_t> home_;                         // of leaves that stand in a scope though read outside
};

void Traversal::scopes() {
  for (std::uint32_t i = 0; i < tape_.scopes().size(); ++i) {
    const Scope& scope = tape_.scopes()[i];
    GraphScope out;
    out.name = scope.name;
    out.parent = scope.parent;
    const std::string& above = i == 0 ? out.path : graph_.scopes[scope.parent].path;
    out.path = above.empty() ? out.name : fmt::format("{}.{}", above, out.name);
    out.where = place(scope.where);
    graph_.scopes.push_back(std::move(out));
  }
}

// A State's leaf belongs to no scope of the tape. Its name begins with the path of the module that owns it: it stands
// in that scope if that is where it is first used.
void Traversal::homes() {
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      const std::uint32_t name = labels_.first(in);
      if (tape_.node(in).row != &kLeaf || tape_.node(in).scope != 0 || name == kNoEntry) continue;
      for (std::size_t scope = node.scope; scope != 0 && !home_.contains(in); scope = graph_.scopes[scope].parent) {
        if (labels_.text(name).starts_with(graph_.scopes[scope].path + ".")) home_[in] = scope;
      }
      home_.try_emplace(in, 0);
    }
  }
}

void Traversal::resolve_steps() {
  steps_.resize(tape_.size());
  bool any = false;
  for (NodeId id = static_cast<NodeId>(tape_.size()); id-- > 0;) {
    steps_[id] = tape_.node(id).step;
    any = any || !steps_[id].empty();
    if (steps_[id].empty() && labels_.folded_into(id) != kNoNode) steps_[id] = steps_[labels_.folded_into(id)];
  }
  for (NodeId id = 0; id < tape_.size() && any; ++id) {
    const Node& node = tape_.node(id);
    if (!steps_[id].empty() || node.origin == kNoNode) continue;
    steps_[id] = steps_[node.origin];
    if (steps_[id].empty() && tape_.node(node.origin).row->kind == Kind::source) steps_[id] = "0";
  }
}

Role Traversal::role_of(NodeId id) const {
  const Node& node = tape_.node(id);
  if (labels_.is_literal(id)) return Role::constant;
  if (node.sweep != 0) return node.accumulation ? Role::accumulation : Role::backward;
  if (flow_.seeds_sweep(id) != 0) return Role::seed;
  return node.row->kind == Kind::source ? Role::leaf : Role::forward;
}

GraphNode Traversal::make_node(NodeId id) const {
  const Node& node = tape_.node(id);
  GraphNode out;
  out.id = id;
  out.op = node.row->name;
  out.kind = node.row->kind;
  if (labels_.first(id) != kNoEntry) {
    out.name = labels_.text(labels_.first(id));
    out.cotangent_of = tape_.names()[labels_.first(id)].of;
  }
  if (flow_.seeds_sweep(id) != 0 && out.cotangent_of == kNoNode) out.cotangent_of = flow_.seed_of(id);
  out.formula = labels_.formula(id);
  out.spelled = labels_.spelled(id);
  if (node.row->expression) out.expression = expression_of(*node.row);
  if (node.row->fold) {
    const Fold fold = node.row->fold();
    out.fold = GraphFold{fold.init, in_words(fold.step), in_words(fold.finish)};
  }
  if (options_.values && node.row->kind == Kind::movement) out.map = map_of(tape_, id, options_.full_values);
  out.step = steps_[id];
  const auto home = home_.find(node.sweep != 0 && node.origin != kNoNode ? node.origin : id);
  out.scope = home != home_.end() && node.scope == 0 ? home->second : node.scope;
  out.role = role_of(id);
  out.sweep = node.sweep;
  out.origin = node.origin;
  out.folded_into = labels_.folded_into(id);
  for (std::size_t i = 0; i < node.inputs; ++i) out.inputs.push_back(tape_.input(node, i));
  out.attrs.assign(node.attrs.begin(), node.attrs.end());
  out.shape = node.value.shape();
  out.dtype = node.value.dtype();
  out.bytes = static_cast<std::size_t>(out.shape.numel()) * size_of(out.dtype);
  out.flops = flops(tape_, id);
  if (options_.times) out.seconds = time_of(tape_, id);
  out.uses = labels_.uses(id);
  out.presence = node.presence;
  out.where = place(node.where);
  if (options_.values) out.value = summarise(tape_, id, options_.full_values);
  derivatives(out);
  return out;
}

void Traversal::derivatives(GraphNode& node) const {
  for (const detail::Cotangent& cotangent : flow_.cotangents(node.id)) {
    GraphGradient gradient{cotangent.sweep, cotangent.node, {}, {}, {}, {}};
    gradient.name = labels_.cotangent_name(cotangent.node, node.id, cotangent.sweep);
    if (cotangent.terms.size() > 1) {
      for (const detail::Contribution& term : cotangent.terms) gradient.terms.push_back(term.name);
    }
    if (options_.values) gradient.value = summarise(tape_, cotangent.node, options_.full_values);
    node.gradients.push_back(std::move(gradient));
  }
  for (const auto& [sweep, given] : flow_.given_by(node.id)) {
    node.pullbacks.push_back({sweep, given.input, given.node, given.name, flow_.local_derivative(sweep, given)});
  }
  std::ranges::sort(node.pullbacks, {}, [](const GraphPullback& p) { return std::pair(p.sweep, p.input); });
}

void Traversal::nodes() {
  for (NodeId id = 0; id < tape_.size(); ++id) {
    if (!shown_[id]) continue;
    graph_.nodes.push_back(make_node(id));
    if (graph_.nodes.back().role != Role::constant) ++graph_.scopes[graph_.nodes.back().scope].nodes;
  }
}

void Traversal::aliases() {
  alias_index_.assign(tape_.names().size(), kNoIndex);
  for (std::uint32_t i = 0; i < tape_.names().size(); ++i) {
    const NameEntry& entry = tape_.names()[i];
    if (labels_.text(i).empty() || !shown_[entry.node]) continue;
    graph_.nodes[graph_.index_of(entry.node)].names.push_back(labels_.text(i));
    if (!labels_.is_alias(i)) continue;
    const std::uint32_t same = labels_.alias_of(i);
    const bool cotangent = entry.kind != NameKind::given;
    const NodeId home = cotangent && entry.origin != kNoNode ? entry.origin : entry.node;
    GraphAlias alias;
    alias.name = labels_.text(i);
    alias.same_as = same == kNoEntry ? labels_.label(entry.node) : labels_.text(same);
    alias.node = entry.node;
    alias.of = entry.of;
    alias.origin = entry.origin;
    if (same != kNoEntry) alias.parent = alias_index_[same];
    alias.step = steps_[home];
    alias.scope = tape_.node(home).scope;
    alias.sweep = cotangent ? entry.sweep : tape_.node(entry.node).sweep;
    alias.where = place(tape_.node(home).where);
    alias_index_[i] = graph_.aliases.size();
    graph_.aliases.push_back(std::move(alias));
  }
}

void Traversal::edges() {
  std::vector<bool> noted(tape_.size());
  for (const GraphNode& node : graph_.nodes) {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const NodeId in = node.inputs[i];
      if (labels_.is_literal(in)) continue;
      GraphEdge edge;
      edge.from = in;
      edge.to = node.id;
      edge.input = i;
      if (const std::uint32_t entry = labels_.known_as(node.id, i); entry != kNoEntry) edge.alias = alias_index_[entry];
      edge.backward = node.sweep != 0;
      edge.cotangent = edge.backward && !flow_.reads_forward(node.id, in);
      graph_.edges.push_back(edge);
      if (!shown_[in] && !noted[in]) {
        noted[in] = true;
        graph_.outside.emplace_back(in, labels_.label(in));
      }
    }
  }
  std::ranges::sort(graph_.outside);
}

// The call that the tape refused stands at the end, where its node would be.
void Traversal::failed() {
  const Tape::Refusal* refusal = tape_.refused();
  if (!refusal || options_.to || !options_.outputs.empty()) return;
  GraphNode out;
  out.id = static_cast<NodeId>(tape_.size());
  out.op = refusal->row ? refusal->row->name : "value";
  if (refusal->row) out.kind = refusal->row->kind;
  out.role = Role::failed;
  out.presence = Presence::traced;
  out.message = refusal->message;
  out.where = place(refusal->where);
  out.sweep = refusal->sweep;
  out.origin = refusal->origin < tape_.size() ? refusal->origin : kNoNode;
  out.scope = refusal->scope < graph_.scopes.size() ? refusal->scope : 0;
  out.attrs = refusal->attrs;
  std::vector<lane::Symbol> operands;
  for (const Tape::Refusal::Input& input : refusal->inputs) {
    if (input.literal) {
      operands.push_back(lane::Symbol::name(fmt::format("{}", *input.literal), detail::kNoNumber));
      continue;
    }
    const bool known = input.id < tape_.size();
    operands.push_back(
        known ? lane::Symbol::name(labels_.label(input.id), input.id)
              : lane::Symbol::name(input.id == kNoNode ? "?" : fmt::format("%{}", input.id), detail::kNoNumber));
    if (!known || !shown_[input.id]) continue;
    if (!labels_.is_literal(input.id)) {
      graph_.edges.push_back({input.id, out.id, out.inputs.size(), kNoIndex, out.sweep != 0, false, {}});
    }
    out.inputs.push_back(input.id);
  }
  out.spelled = refusal->row ? detail::call_of(*refusal->row, operands, refusal->attrs)
                             : lane::Symbol::call(out.op, std::move(operands));
  out.formula = out.spelled.text();
  ++graph_.scopes[out.scope].nodes;
  graph_.nodes.push_back(std::move(out));
}

// Seeds were recorded before their sweep; they are shown at its head.
void Traversal::put_seeds(std::uint32_t sweep) {
  const auto found = waiting_.find(sweep);
  if (found == waiting_.end()) return;
  const std::vector<std::size_t> seeds = std::move(found->second);
  waiting_.erase(found);
  for (std::size_t i : seeds) put({false, i}, sweep, graph_.nodes[i].step, graph_.nodes[i].scope);
}

void Traversal::put(GraphItem item, std::uint32_t sweep, const std::string& step, std::size_t scope) {
  if (graph_.sections.empty() || graph_.sections.back().sweep != sweep) {
    graph_.sections.push_back({"", sweep, {}});
    put_seeds(sweep);
  }
  std::vector<GraphStep>& steps = graph_.sections.back().steps;
  const std::string label = group_of(step);
  if (steps.empty() || steps.back().label != label || steps.back().scope != scope) {
    steps.push_back({label, scope, {}});
  }
  steps.back().items.push_back(item);
}

void Traversal::order() {
  std::size_t next = 0;  // the next alias
  std::vector<NodeId> positions;
  for (std::uint32_t i = 0; i < alias_index_.size(); ++i) {
    if (alias_index_[i] != kNoIndex) positions.push_back(tape_.names()[i].position);
  }
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (graph_.nodes[i].role == Role::seed) waiting_[flow_.seeds_sweep(graph_.nodes[i].id)].push_back(i);
  }
  const auto put_aliases = [&](NodeId before) {
    for (; next < positions.size() && positions[next] <= before; ++next) {
      const GraphAlias& alias = graph_.aliases[next];
      put({true, next}, alias.sweep, alias.step, alias.scope);
    }
  };
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const GraphNode& node = graph_.nodes[i];
    put_aliases(node.id);
    if (node.role == Role::constant || node.role == Role::seed) continue;
    put({false, i}, node.sweep, node.step, node.scope);
  }
  put_aliases(kNoNode);
  while (!waiting_.empty()) put_seeds(waiting_.begin()->first);  // of sweeps that are not shown
  std::uint32_t sweeps = 0;
  for (const GraphSection& section : graph_.sections) sweeps = std::max(sweeps, section.sweep);
  bool forward = false;
  for (GraphSection& section : graph_.sections) {
    if (section.sweep != 0) {
      section.title = sweeps == 1 ? "backward" : fmt::format("backward, sweep {}", section.sweep);
    } else {
      section.title = forward ? "forward, continued" : "forward";
      forward = true;
    }
  }
}

}  // namespace

Graph describe(const Tape& tape, const DumpOptions& options) {
  Graph graph = condense(Traversal(tape, options).run(), options);
  explain(graph);
  return graph;
}

}  // namespace ebb
