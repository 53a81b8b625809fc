#include <ebb/engine/dump/formats/arrows.h>
#include <fmt/format.h>

namespace ebb {

std::vector<DrawnArrow> drawn_arrows(const Graph& graph, const DumpOptions& options) {
  using Kind = DrawnArrow::Kind;
  const auto root = [&](NodeId id) { return options.fold ? graph.spelled_out_by(id) : id; };
  std::vector<DrawnArrow> out;
  out.reserve(graph.aliases.size() + graph.edges.size());
  for (std::size_t i = 0; i < graph.aliases.size(); ++i) {
    const GraphAlias& alias = graph.aliases[i];
    const std::size_t node = graph.index_of(alias.node);
    if (node == kNoIndex || graph.nodes[node].role == Role::constant) continue;
    std::string from =
        alias.parent == kNoIndex ? fmt::format("n{}", root(alias.node)) : fmt::format("a{}", alias.parent);
    out.push_back({alias.sweep == 0 ? Kind::alias : Kind::cotangent, std::move(from), fmt::format("a{}", i)});
  }
  for (const GraphEdge& edge : graph.edges) {
    const NodeId from = root(edge.from);
    const NodeId to = root(edge.to);
    if (from == to) continue;
    const std::size_t source = graph.index_of(edge.from);
    const bool inner = source != kNoIndex && graph.nodes[source].sweep == graph.nodes[graph.index_of(edge.to)].sweep;
    const Kind kind = !edge.backward   ? Kind::value
                      : edge.cotangent ? Kind::cotangent
                      : inner          ? Kind::derivative
                                       : Kind::read;
    if (kind == Kind::read && !options.reads) continue;
    out.push_back({kind, edge.alias == kNoIndex ? fmt::format("n{}", from) : fmt::format("a{}", edge.alias),
                   fmt::format("n{}", to)});
  }
  return out;
}

}  // namespace ebb
