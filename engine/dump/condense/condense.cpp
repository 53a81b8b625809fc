// What a call asks for, the neighbourhood of a node, and what follows for edges, names and steps.
#include <ebb/engine/dump/condense/condenser.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>
#include <tuple>

namespace ebb {

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
  last_.assign(graph_.nodes.size(), kNoIndex);
  entries_.clear();
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
    const std::size_t by = index_of(alias.origin);
    const NodeId held = by == kNoIndex ? shown(alias.node) : read(by, alias.node);
    if (held != shown(alias.node)) alias.same_as = graph_.label_of(held);
    alias.node = held;
    alias.of = shown(alias.of);
    alias.origin = shown(alias.origin);
    aliases.push_back(std::move(alias));
  }
  replace_edges(alias_now);
  graph_.aliases = std::move(aliases);

  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    if (shown_as_[i] != graph_.nodes[i].id) continue;
    const auto group = groups_.find(graph_.nodes[i].id);
    replace_reads(group == groups_.end() ? graph_.nodes[i] : group->second, i);
  }
  std::vector<GraphNode> nodes;
  std::vector<std::size_t> node_now(graph_.nodes.size(), kNoIndex);
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    GraphNode& node = graph_.nodes[i];
    if (shown_as_[i] != node.id) continue;
    const auto group = groups_.find(node.id);
    node_now[i] = nodes.size();
    nodes.push_back(group == groups_.end() ? std::move(node) : std::move(group->second));
    GraphNode& kept = nodes.back();
    kept.origin = shown(kept.origin);
    kept.cotangent_of = shown(kept.cotangent_of);
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

namespace {

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

Graph condense(Graph graph, const DumpOptions& options) {
  check(graph, options);
  if (!options.fold_repeats && !options.depth && options.collapse.empty() && !options.focus) return graph;
  return Condenser(std::move(graph), options).run();
}

}  // namespace ebb
