// Scopes as one node.
#include <ebb/engine/dump/condense/condenser.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <set>

namespace ebb {
namespace {
constexpr std::size_t kListed = 6;  // so many inputs and outputs of a scope are written out
}

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

}  // namespace ebb
