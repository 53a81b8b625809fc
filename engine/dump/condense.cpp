// Large graphs made small enough to read: repeated scopes shown once, scopes drawn as one node, the neighbourhood of
// one node.
//
// All of it is done to the plain description, before any writer sees it, and by one means: each node is given another
// that is shown in its place, then edges, names and steps follow. Two scopes are equal if their nodes are, forward and
// in every sweep: ops, attributes, types, and what feeds what. Names and values may differ.
#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

namespace ebb {
namespace {

constexpr std::size_t kLongestPeriod = 8;  // equal rows of so many scopes are found
constexpr std::size_t kListed = 6;         // so many inputs and outputs of a scope are written out

class Condenser {
 public:
  Condenser(Graph graph, const DumpOptions& options) : graph_(std::move(graph)), options_(options) {
    index_.assign(graph_.tape_size + 1, kNoIndex);
    reindex();
    for (NodeId id = 0; id <= graph_.tape_size; ++id) became_.push_back(id);
    for (const GraphSection& section : graph_.sections) sweeps_ = std::max(sweeps_, section.sweep);
    for (std::size_t i = 0; i < graph_.scopes.size(); ++i) {
      level_.push_back(i == 0 ? 0 : level_[graph_.scopes[i].parent] + 1);
    }
  }

  Graph run() {
    if (options_.fold_repeats) fold_repeats();
    if (options_.depth || !options_.collapse.empty()) collapse();
    if (options_.focus) focus(options_.focus->id());
    return std::move(graph_);
  }

 private:
  using Encoding = std::vector<std::uint64_t>;
  struct Item {                      // a scope, or a forward node between scopes, with what the sweeps recorded for it
    std::size_t scope = kNoIndex;    // kNoIndex for a node
    std::vector<std::size_t> nodes;  // by index, in order
    std::size_t equal = 0;           // the same number for equal ones
  };
  struct Copy {  // which copy in which run of equal items a node is in
    std::size_t run = kNoIndex, number = 0;
    bool operator==(const Copy&) const = default;
  };

  void reindex() {
    std::ranges::fill(index_, kNoIndex);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) index_[graph_.nodes[i].id] = i;
  }
  std::size_t index_of(NodeId id) const { return id == kNoNode ? kNoIndex : index_[id]; }
  std::size_t above(std::size_t scope, std::size_t level) const {
    while (level_[scope] > level) scope = graph_.scopes[scope].parent;
    return scope;
  }

  void fold_repeats();
  void fold_level(std::size_t level);
  void fold_run(std::span<const Item> items, std::size_t period, std::size_t count);
  std::size_t forward_of(std::size_t index) const;
  Encoding encode(const Item& item);
  std::uint64_t intern(const std::string& text) { return words_.try_emplace(text, words_.size()).first->second; }
  std::string label_of(const Item& item) const {
    return item.scope != kNoIndex ? graph_.scopes[item.scope].path : graph_.label_of(graph_.nodes[item.nodes[0]].id);
  }

  struct Group {  // what becomes one node
    std::size_t scope;
    std::vector<std::size_t> members;
    std::vector<const GraphEdge*> edges;  // into it
  };
  void collapse();
  std::vector<std::size_t> closed_scopes() const;
  GraphNode make_group(const Group& group, const std::vector<std::size_t>& outputs);
  std::string read_by(std::size_t scope, const GraphEdge& edge) const;

  void focus(NodeId wanted);

  void keep_all();
  void keep_literals();
  void replace();
  void replace_edges(const std::vector<std::size_t>& alias_now);
  NodeId shown(NodeId id) const;

  Graph graph_;
  const DumpOptions& options_;
  std::uint32_t sweeps_ = 0;
  std::vector<std::size_t> index_;  // by id
  std::vector<NodeId> became_;      // by id: the node that is shown in its place
  std::vector<std::size_t> level_;  // of scopes: how deep
  std::unordered_map<std::string, std::uint64_t> words_;

  // What replace() does. By index of a node: the one that is shown in its place, or kNoNode; and which copy it is in.
  std::vector<NodeId> shown_as_;
  std::vector<Copy> copies_;
  std::map<NodeId, GraphNode> groups_;                      // new nodes, each in the place of the old one with its id
  std::map<std::pair<NodeId, NodeId>, std::size_t> slots_;  // of a new node and what it reads: as which input
  std::vector<bool> keep_alias_;
};

// --- repeats ---------------------------------------------------------------------------------------------------------

void Condenser::fold_repeats() {
  const std::size_t deepest = level_.empty() ? 0 : *std::ranges::max_element(level_);
  for (std::size_t level = 0; level <= deepest; ++level) fold_level(level);
}

// The forward node whose derivative, at whatever order, a node is; itself if it is no derivative.
std::size_t Condenser::forward_of(std::size_t index) const {
  while (graph_.nodes[index].sweep != 0) {
    const std::size_t origin = index_of(graph_.nodes[index].origin);
    if (origin == kNoIndex) break;
    index = origin;
  }
  return index;
}

// Folds the runs among what lies directly in scopes of this level. A run counts if a scope is in it.
void Condenser::fold_level(std::size_t level) {
  std::map<std::size_t, std::vector<Item>> items;  // by the scope they lie in
  std::map<std::pair<bool, std::size_t>, std::pair<std::size_t, std::size_t>> places;
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const GraphNode& node = graph_.nodes[i];
    if (node.role == Role::constant || node.role == Role::failed || level_[node.scope] < level) continue;
    const bool loose = level_[node.scope] == level;
    const std::size_t home = loose ? node.scope : above(node.scope, level);
    const std::size_t forward = loose ? forward_of(i) : above(node.scope, level + 1);
    std::vector<Item>& row = items[home];
    const auto [place, fresh] = places.try_emplace({loose, forward}, home, row.size());
    if (fresh) {
      // A derivative of something that is not shown, and a cotangent that a sweep begins with, repeat nothing.
      if (node.sweep != 0 || node.role == Role::seed) {
        places.erase(place);
        continue;
      }
      row.push_back({loose ? kNoIndex : forward, {}, 0});
    }
    items[place->second.first][place->second.second].nodes.push_back(i);
  }
  keep_all();
  std::map<Encoding, std::size_t> known;
  const std::size_t before = graph_.repeats.size();
  for (auto& [home, row] : items) {
    if (std::ranges::none_of(row, [](const Item& item) { return item.scope != kNoIndex; })) continue;
    for (Item& item : row) item.equal = known.try_emplace(encode(item), known.size()).first->second;
    for (std::size_t i = 0; i < row.size();) {
      std::size_t step = 1;
      for (std::size_t period = 1; period <= kLongestPeriod && i + 2 * period <= row.size(); ++period) {
        const std::span<const Item> first(&row[i], period);
        if (std::ranges::all_of(first, [](const Item& item) { return item.scope == kNoIndex; })) continue;
        std::size_t same = 0;
        while (i + same + period < row.size() && row[i + same].equal == row[i + same + period].equal) ++same;
        const std::size_t count = same / period + 1;
        if (count < 2) continue;
        // b c, a b c, a b c is three of b c a too. The last ones are whole: it is the first that are often different,
        // for they need no cotangent of their input.
        const std::size_t first_whole = same + period - count * period;
        step = first_whole + count * period;
        fold_run({&row[i + first_whole], count * period}, period, count);
        break;
      }
      i += step;
    }
  }
  if (graph_.repeats.size() == before) return;
  for (const GraphAlias& alias : graph_.aliases) {
    const std::size_t origin = index_of(alias.origin);
    const std::size_t home = origin == kNoIndex ? index_of(alias.node) : origin;
    keep_alias_.push_back(home == kNoIndex || copies_[home].number == 0);
  }
  replace();
}

void Condenser::fold_run(std::span<const Item> items, std::size_t period, std::size_t count) {
  GraphRepeat repeat;
  repeat.times = count;
  for (const Item& item : items.first(period)) repeat.shown.push_back(label_of(item));
  for (const Item& item : items.last(period)) repeat.last.push_back(label_of(item));
  for (std::size_t i = 0; i < items.size(); ++i) {
    const Item& first = items[i % period];
    for (std::size_t k = 0; k < items[i].nodes.size(); ++k) {
      const std::size_t node = items[i].nodes[k];
      shown_as_[node] = graph_.nodes[first.nodes[k]].id;
      copies_[node] = {graph_.repeats.size(), i / period};
      if (i < period && first.scope == kNoIndex) graph_.nodes[node].repeats = count;
    }
    if (i < period && first.scope != kNoIndex) graph_.scopes[first.scope].repeats = count;
  }
  graph_.repeats.push_back(std::move(repeat));
}

// What must be the same in equal items. Other nodes are told apart by the order in which the item first reads them.
Condenser::Encoding Condenser::encode(const Item& item) {
  constexpr std::uint64_t kInside = 1, kOutside = 2, kLiteral = 3, kNone = 4;
  Encoding code;
  std::unordered_map<NodeId, std::uint64_t> inside, outside;
  std::unordered_map<std::size_t, std::uint64_t> scopes;
  const auto refer = [&](NodeId id) {
    const std::size_t index = index_of(id);
    if (id == kNoNode) {
      code.push_back(kNone);
    } else if (const auto found = inside.find(id); found != inside.end()) {
      code.insert(code.end(), {kInside, found->second});
    } else if (index != kNoIndex && graph_.nodes[index].role == Role::constant) {
      code.insert(code.end(), {kLiteral, intern(graph_.nodes[index].formula)});
    } else {
      code.insert(code.end(), {kOutside, outside.try_emplace(id, outside.size()).first->second});
    }
  };
  code.push_back(item.scope == kNoIndex ? 0 : 1);
  for (const std::size_t i : item.nodes) {
    const GraphNode& node = graph_.nodes[i];
    code.insert(code.end(), {intern(node.op), static_cast<std::uint64_t>(node.role), node.sweep,
                             static_cast<std::uint64_t>(node.dtype), intern(to_string(node.shape)), node.repeats,
                             scopes.try_emplace(node.scope, scopes.size()).first->second, node.attrs.size()});
    for (const Attr& attr : node.attrs) code.push_back(intern(to_string(Attrs(std::span(&attr, 1)))));
    code.push_back(node.inputs.size());
    for (const NodeId id : node.inputs) refer(id);
    refer(node.origin);
    inside.emplace(node.id, inside.size());
  }
  return code;
}

// --- scopes as one node ----------------------------------------------------------------------------------------------

// By scope: the outermost scope around it that is drawn as one node, or kNoIndex.
std::vector<std::size_t> Condenser::closed_scopes() const {
  std::set<std::string> wanted(options_.collapse.begin(), options_.collapse.end());
  std::vector<std::size_t> closed(graph_.scopes.size(), kNoIndex);
  for (std::size_t i = 1; i < graph_.scopes.size(); ++i) {
    const GraphScope& scope = graph_.scopes[i];
    closed[i] = closed[scope.parent];
    const bool deep = options_.depth && level_[i] > static_cast<std::size_t>(*options_.depth);
    if (closed[i] == kNoIndex && (deep || wanted.contains(scope.path))) closed[i] = i;
  }
  return closed;
}

void Condenser::collapse() {
  const std::vector<std::size_t> closed = closed_scopes();
  keep_all();
  std::map<std::pair<std::size_t, std::uint32_t>, std::size_t> known;  // by scope and sweep
  std::vector<Group> groups;
  std::vector<std::size_t> group_of(graph_.nodes.size(), kNoIndex);
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const GraphNode& node = graph_.nodes[i];
    if (node.role == Role::constant || node.role == Role::seed || node.role == Role::failed ||
        closed[node.scope] == kNoIndex)
      continue;
    const auto [place, fresh] = known.try_emplace({closed[node.scope], node.sweep}, groups.size());
    if (fresh) groups.push_back({closed[node.scope], {}, {}});
    groups[place->second].members.push_back(i);
    group_of[i] = place->second;
  }
  std::vector<std::size_t> uses(graph_.nodes.size()), uses_outside(graph_.nodes.size());
  for (const GraphEdge& edge : graph_.edges) {
    const std::size_t from = index_of(edge.from);
    const std::size_t to = index_of(edge.to);
    const bool leaves = from == kNoIndex || group_of[from] != group_of[to];
    if (leaves && group_of[to] != kNoIndex) groups[group_of[to]].edges.push_back(&edge);
    // A forward value that only the backward pass reads leaves the scope too, but is no output of it.
    if (from == kNoIndex || (edge.backward && graph_.nodes[from].sweep == 0)) continue;
    ++uses[from];
    if (leaves) ++uses_outside[from];
  }
  for (const Group& group : groups) {
    for (const std::size_t i : group.members) shown_as_[i] = graph_.nodes[group.members.back()].id;
    std::vector<std::size_t> outputs;
    for (const std::size_t i : group.members) {
      if (uses_outside[i] > 0) outputs.push_back(i);
    }
    for (const std::size_t i : group.members) {
      if (uses[i] == 0 && graph_.nodes[i].role != Role::leaf) outputs.push_back(i);
    }
    GraphNode node = make_group(group, outputs);
    for (const std::size_t i : outputs) node.uses += uses_outside[i];
    if (const auto forward = known.find({group.scope, 0}); node.sweep != 0 && forward != known.end()) {
      node.origin = graph_.nodes[groups[forward->second].members.back()].id;
    }
    groups_.emplace(node.id, std::move(node));
  }
  for (const GraphAlias& alias : graph_.aliases) keep_alias_.push_back(closed[alias.scope] == kNoIndex);
  replace();
}

// What flows along an edge, as the inside of `scope` calls it: with the path of the scope that it comes from. A State's
// leaf has the path in its name.
std::string Condenser::read_by(std::size_t scope, const GraphEdge& edge) const {
  const GraphAlias* alias = edge.alias == kNoIndex ? nullptr : &graph_.aliases[edge.alias];
  std::string label = alias ? alias->name : graph_.label_of(edge.from);
  const std::size_t index = index_of(edge.from);
  if (index == kNoIndex || label.starts_with('%')) return label;
  const std::size_t of = index_of(alias ? alias->of : graph_.nodes[index].cotangent_of);
  const std::string& path = graph_.scopes[graph_.nodes[of == kNoIndex ? index : of].scope].path;
  const bool whole = path.empty() || label.starts_with(path) || label.starts_with("d" + path);
  const bool inside = (path + ".").starts_with(graph_.scopes[scope].path + ".");
  return whole || inside ? label : fmt::format("{}.{}", path, label);
}

// Its formula is its signature, `(x) -> h`.
GraphNode Condenser::make_group(const Group& group, const std::vector<std::size_t>& outputs) {
  const GraphNode& last = graph_.nodes[group.members.back()];
  const GraphScope& scope = graph_.scopes[group.scope];
  GraphNode out;
  out.id = last.id;
  out.op = "scope";
  out.role = Role::scope;
  out.name = scope.path;
  if (last.sweep != 0) out.name += sweeps_ > 1 ? fmt::format(" backward, sweep {}", last.sweep) : " backward";
  out.names = {out.name};
  out.scope = scope.parent;
  out.sweep = last.sweep;
  out.where = last.where.empty() ? scope.where : last.where;
  out.repeats = scope.repeats;
  out.stands_for = 0;
  for (const std::size_t i : group.members) {
    out.stands_for += graph_.nodes[i].stands_for;
    out.bytes += graph_.nodes[i].bytes;
    out.flops += graph_.nodes[i].flops;
    if (graph_.nodes[i].seconds) out.seconds = out.seconds.value_or(0) + *graph_.nodes[i].seconds;
  }
  std::vector<std::string> reads, gives;
  for (const GraphEdge* edge : group.edges) {
    if (!slots_.try_emplace({out.id, edge->from}, out.inputs.size()).second) continue;
    out.inputs.push_back(edge->from);
    if (edge->cotangent || !edge->backward) reads.push_back(read_by(group.scope, *edge));
  }
  for (const std::size_t i : outputs) {
    const GraphNode& node = graph_.nodes[i];
    out.outputs.push_back({node.id, graph_.label_of(node.id), node.shape, node.dtype});
    gives.push_back(graph_.label_of(node.id));
  }
  if (outputs.size() == 1) {
    const GraphNode& node = graph_.nodes[outputs[0]];
    out.shape = node.shape;
    out.dtype = node.dtype;
    out.presence = node.presence;
    out.value = node.value;
    out.gradients = node.gradients;
  }
  const auto listed = [](std::vector<std::string> all) {
    if (all.size() > kListed) {
      const std::string more = fmt::format("{} more", all.size() - kListed + 1);
      all.resize(kListed - 1);
      all.push_back(more);
    }
    return fmt::format("{}", fmt::join(all, ", "));
  };
  out.formula = fmt::format("({}) -> {}", listed(reads), listed(gives));
  return out;
}

// --- the neighbourhood -----------------------------------------------------------------------------------------------

// Along the arrows and against them. What a formula spells out belongs to the node of the formula.
void Condenser::focus(NodeId wanted) {
  std::size_t start = index_of(became_[wanted]);
  if (start == kNoIndex) {
    throw UsageError(fmt::format("dump: the focus %{} is not among the nodes that are shown.", wanted));
  }
  keep_all();
  std::vector<std::size_t> root(graph_.nodes.size());
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    const std::size_t into = index_of(graph_.nodes[i].folded_into);
    root[i] = into == kNoIndex ? i : root[into];
  }
  std::vector<std::vector<std::size_t>> beside(graph_.nodes.size());
  for (const GraphEdge& edge : graph_.edges) {
    const std::size_t from = index_of(edge.from);
    if (from == kNoIndex) continue;
    const std::size_t a = root[from];
    const std::size_t b = root[index_of(edge.to)];
    beside[a].push_back(b);
    beside[b].push_back(a);
  }
  std::vector<int> distance(graph_.nodes.size(), -1);
  std::vector<std::size_t> reached{root[start]};
  distance[root[start]] = 0;
  for (std::size_t next = 0; next < reached.size(); ++next) {
    const std::size_t at = reached[next];
    if (distance[at] == options_.radius) break;
    for (const std::size_t other : beside[at]) {
      if (distance[other] >= 0) continue;
      distance[other] = distance[at] + 1;
      reached.push_back(other);
    }
  }
  std::vector<bool> kept(graph_.nodes.size());
  for (std::size_t i = graph_.nodes.size(); i-- > 0;) {
    kept[i] = distance[root[i]] >= 0 || graph_.nodes[i].role == Role::constant;
    if (!kept[i]) shown_as_[i] = kNoNode;
  }
  for (const GraphAlias& alias : graph_.aliases) {
    const std::size_t node = index_of(alias.node);
    const std::size_t of = index_of(alias.of);
    keep_alias_.push_back(node != kNoIndex && kept[node] && (alias.of == kNoNode || (of != kNoIndex && kept[of])));
  }
  replace();
}

// --- what follows ----------------------------------------------------------------------------------------------------

void Condenser::keep_all() {
  shown_as_.clear();
  for (const GraphNode& node : graph_.nodes) shown_as_.push_back(node.id);
  copies_.assign(graph_.nodes.size(), {});
  groups_.clear();
  slots_.clear();
  keep_alias_.clear();
}

// What is not shown itself, nor by another node, keeps its number.
NodeId Condenser::shown(NodeId id) const {
  const std::size_t index = index_of(id);
  return index == kNoIndex || shown_as_[index] == kNoNode ? id : shown_as_[index];
}

// Literals stay where a formula shows them.
void Condenser::keep_literals() {
  std::vector<bool> used(graph_.nodes.size());
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (shown_as_[i] != graph_.nodes[i].id || groups_.contains(graph_.nodes[i].id)) continue;
    for (const NodeId in : graph_.nodes[i].inputs) {
      if (const std::size_t index = index_of(in); index != kNoIndex) used[index] = true;
    }
  }
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (graph_.nodes[i].role == Role::constant && !used[i]) shown_as_[i] = kNoNode;
  }
}

void Condenser::replace() {
  keep_literals();
  std::vector<std::size_t> alias_now(graph_.aliases.size(), kNoIndex);
  std::vector<GraphAlias> aliases;
  for (std::size_t i = 0; i < graph_.aliases.size(); ++i) {
    GraphAlias& alias = graph_.aliases[i];
    // In the place of an alias that goes stands the one that it was another name of.
    if (alias.parent != kNoIndex) alias.parent = alias_now[alias.parent];
    alias_now[i] = alias.parent;
    if (!keep_alias_[i]) continue;
    alias_now[i] = aliases.size();
    alias.node = shown(alias.node);
    alias.of = shown(alias.of);
    alias.origin = shown(alias.origin);
    aliases.push_back(std::move(alias));
  }
  replace_edges(alias_now);
  graph_.aliases = std::move(aliases);

  std::vector<GraphNode> nodes;
  std::vector<std::size_t> node_now(graph_.nodes.size(), kNoIndex);
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    GraphNode& node = graph_.nodes[i];
    if (shown_as_[i] != node.id) continue;
    const auto group = groups_.find(node.id);
    node_now[i] = nodes.size();
    nodes.push_back(group == groups_.end() ? std::move(node) : std::move(group->second));
    GraphNode& kept = nodes.back();
    for (NodeId& in : kept.inputs) in = shown(in);
    kept.origin = shown(kept.origin);
    kept.cotangent_of = shown(kept.cotangent_of);
    for (GraphGradient& gradient : kept.gradients) gradient.node = shown(gradient.node);
    for (GraphPullback& pullback : kept.pullbacks) pullback.node = shown(pullback.node);
  }
  std::vector<GraphSection> sections;
  for (GraphSection& section : graph_.sections) {
    GraphSection out{section.title, section.sweep, {}};
    for (const GraphStep& step : section.steps) {
      for (const GraphItem& item : step.items) {
        const std::size_t now = item.alias ? alias_now[item.index] : node_now[item.index];
        if (item.alias ? !keep_alias_[item.index] : now == kNoIndex) continue;
        const bool group = !item.alias && nodes[now].role == Role::scope;
        const std::string& label = group ? nodes[now].step : step.label;
        const std::size_t scope = group ? nodes[now].scope : step.scope;
        if (out.steps.empty() || out.steps.back().label != label || out.steps.back().scope != scope) {
          out.steps.push_back({label, scope, {}});
        }
        out.steps.back().items.push_back({item.alias, now});
      }
    }
    if (!out.steps.empty()) sections.push_back(std::move(out));
  }
  for (NodeId& id : became_) id = shown(id);
  graph_.sections = std::move(sections);
  graph_.nodes = std::move(nodes);
  reindex();
  for (GraphScope& scope : graph_.scopes) scope.nodes = 0;
  for (const GraphNode& node : graph_.nodes) {
    if (node.role != Role::constant) ++graph_.scopes[node.scope].nodes;
  }
}

void Condenser::replace_edges(const std::vector<std::size_t>& alias_now) {
  using Key = std::tuple<NodeId, NodeId, std::size_t, bool, bool, std::string>;
  std::vector<GraphEdge> edges;
  std::map<NodeId, std::string> outside(graph_.outside.begin(), graph_.outside.end());
  std::set<NodeId> used;
  std::set<Key> seen;
  for (GraphEdge& edge : graph_.edges) {
    const std::size_t from = index_of(edge.from);
    const std::size_t to = index_of(edge.to);
    if (shown_as_[to] == kNoNode) continue;
    // Between copies, and inside of all but the first: the first says it.
    if (from != kNoIndex && copies_[from].run != kNoIndex && copies_[from].run == copies_[to].run &&
        copies_[from].number + copies_[to].number > 0) {
      continue;
    }
    GraphEdge out = edge;
    out.from = shown(edge.from);
    out.to = shown(edge.to);
    const auto group = groups_.find(out.to);
    if (out.from == out.to && (group != groups_.end() || out.from != edge.from)) continue;
    if (edge.alias != kNoIndex) out.alias = alias_now[edge.alias];
    if (groups_.contains(out.from)) out.value = graph_.label_of(edge.from);
    if (group != groups_.end()) out.input = slots_.at({out.to, edge.from});
    // x * x has two arrows; a scope that reads x twice, or a copy that reads what the first does, has one.
    const bool changed = out.from != edge.from || out.to != edge.to || group != groups_.end();
    const bool fresh = seen.insert({out.from, out.to, out.alias, out.backward, out.cotangent, out.value}).second;
    if (changed && !fresh) continue;
    if (from == kNoIndex || shown_as_[from] == kNoNode) {
      used.insert(out.from);
      if (from != kNoIndex) outside.emplace(out.from, graph_.label_of(out.from));
    }
    edges.push_back(std::move(out));
  }
  graph_.edges = std::move(edges);
  graph_.outside.clear();
  for (auto& [id, label] : outside) {
    if (used.contains(id)) graph_.outside.emplace_back(id, std::move(label));
  }
}

void check(const Graph& graph, const DumpOptions& options) {
  if (options.depth && *options.depth < 0) {
    throw UsageError(fmt::format("dump: depth is {}. Give the number of levels of scopes that are opened, from 0 on.",
                                 *options.depth));
  }
  if (options.radius < 0) {
    throw UsageError(fmt::format("dump: radius is {}. Give a number of arrows, from 0 on.", options.radius));
  }
  std::vector<std::string> paths;
  for (const GraphScope& scope : graph.scopes) {
    if (!scope.path.empty() && std::ranges::find(paths, scope.path) == paths.end()) paths.push_back(scope.path);
  }
  for (const std::string& path : options.collapse) {
    if (std::ranges::find(paths, path) != paths.end()) continue;
    constexpr std::size_t kSome = 8;
    const std::size_t all = paths.size();
    paths.resize(std::min(all, kSome));
    throw UsageError(fmt::format("dump: no scope is called `{}`, which collapse names. {}", printable(path),
                                 all == 0 ? "The tape has no scopes."
                                          : fmt::format("There {} {}{}.", all == 1 ? "is" : "are",
                                                        printable(fmt::format("{}", fmt::join(paths, ", "))),
                                                        all > kSome ? fmt::format(" and {} more", all - kSome) : "")));
  }
}

}  // namespace

std::string type_of(const GraphNode& node) {
  if (node.role == Role::failed || (node.role == Role::scope && node.outputs.size() != 1)) return {};
  return fmt::format("{}{}", name(node.dtype), to_string(node.shape));
}

std::string times(std::size_t repeats) { return repeats > 1 ? fmt::format(" x {}", repeats) : std::string(); }

std::string to_string(const GraphRepeat& repeat) {
  return fmt::format("{} x {}, up to {}", fmt::join(repeat.shown, ", "), repeat.times, fmt::join(repeat.last, ", "));
}

Graph condense(Graph graph, const DumpOptions& options) {
  check(graph, options);
  if (!options.fold_repeats && !options.depth && options.collapse.empty() && !options.focus) return graph;
  return Condenser(std::move(graph), options).run();
}

}  // namespace ebb
