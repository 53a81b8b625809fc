// Repeated scopes. Two scopes are equal if their nodes are, forward and in every sweep: ops, attributes, types, and
// what feeds what. Names and values may differ.
#include <ebb/engine/dump/condense/condenser.h>

namespace ebb {
namespace {
constexpr std::size_t kLongestPeriod = 8;  // equal rows of so many scopes are found
}

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

}  // namespace ebb
