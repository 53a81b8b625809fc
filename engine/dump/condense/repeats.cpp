// Repeated scopes. Two scopes are equal if their nodes are, forward and in every sweep: ops, attributes, types, and
// what feeds what. Names and values may differ.
#include <ebb/engine/dump/condense/condenser.h>
#include <ebb/engine/dump/labels.h>
#include <fmt/format.h>

namespace ebb {
namespace {
constexpr std::size_t kLongestPeriod = 8;  // equal rows of so many scopes are found

// Where a formula names a node.
const lane::Symbol* name_in(const lane::Symbol& formula, NodeId id) {
  if (formula.op == lane::Symbol::Op::name && formula.value == static_cast<double>(id)) return &formula;
  for (const lane::Symbol& operand : formula.operands) {
    if (const lane::Symbol* found = name_in(operand, id)) return found;
  }
  return nullptr;
}

}  // namespace

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
      last_[node] = items[items.size() - period + i % period].nodes[k];
      if (i < period && first.scope == kNoIndex) graph_.nodes[node].repeats = count;
    }
    if (i < period && first.scope != kNoIndex) graph_.scopes[first.scope].repeats = count;
  }
  for (const Item& item : items.first(period)) {
    for (const std::size_t reader : item.nodes) {
      const std::vector<NodeId>& inputs = graph_.nodes[reader].inputs;
      for (std::size_t slot = 0; slot < inputs.size(); ++slot) {
        const std::size_t in = index_of(inputs[slot]);
        if (in == kNoIndex || !in_another_copy(reader, in)) continue;
        entries_[inputs[slot]] = graph_.nodes[last_[reader]].inputs[slot];
      }
    }
  }
  graph_.repeats.push_back(std::move(repeat));
}

bool Condenser::in_another_copy(std::size_t reader, std::size_t index) const {
  return copies_[index].run != kNoIndex && copies_[index].run == copies_[reader].run &&
         copies_[index].number != copies_[reader].number;
}

// What the picture has where `reader` reads `id`. What the first copy reads of another, as the backward pass of a block
// reads the cotangent that the next one gives, goes around in the repeat: at the arrow's other end stands what the last
// copy reads, by which the repeat is entered.
NodeId Condenser::read(std::size_t reader, NodeId id) const {
  const std::size_t index = index_of(id);
  if (index != kNoIndex && in_another_copy(reader, index)) {
    if (const auto entry = entries_.find(id); entry != entries_.end()) id = entry->second;
  }
  return shown(id);
}

// A formula with the names of what is shown. What stays is called what its reader has called it.
lane::Symbol Condenser::renamed(lane::Symbol formula, std::size_t reader) const {
  if (formula.op == lane::Symbol::Op::name && formula.value >= 0) {
    const auto id = static_cast<NodeId>(formula.value);
    const std::size_t index = index_of(id);
    const NodeId now = index == kNoIndex || copies_[index].run == kNoIndex ? id : read(reader, id);
    if (now != id) {
      const bool entry = in_another_copy(reader, index);
      const lane::Symbol* word = entry ? name_in(graph_.nodes[last_[reader]].spelled, now) : nullptr;
      formula = word ? *word : lane::Symbol::name(called(now, graph_.nodes[reader].scope), now);
    }
  }
  for (lane::Symbol& operand : formula.operands) operand = renamed(std::move(operand), reader);
  return formula;
}

// As the formulas of a scope call a node: with the path of its own where several bear the name.
std::string Condenser::called(NodeId id, std::size_t scope) const {
  const std::size_t index = index_of(id);
  if (index == kNoIndex || graph_.nodes[index].name.empty()) return graph_.label_of(id);
  const GraphNode& node = graph_.nodes[index];
  const std::size_t of = index_of(node.cotangent_of);
  const std::size_t home = of == kNoIndex ? node.scope : graph_.nodes[of].scope;
  const std::string& path = graph_.scopes[home].path;
  const bool plain = home == scope || path.empty() || bearers_.at(node.name) == 1;
  return detail::quoted_name(plain ? node.name : fmt::format("{}.{}", path, node.name));
}

// Inputs, cotangents and formulas of a node that is shown.
void Condenser::replace_reads(GraphNode& node, std::size_t index) {
  for (NodeId& in : node.inputs) {
    const std::size_t of = index_of(in);
    const NodeId now = read(index, in);
    node.reads_repeat = node.reads_repeat || (now != in && of != kNoIndex && copies_[of].run != kNoIndex);
    in = now;
  }
  const std::string before = node.spelled.text();
  node.spelled = renamed(std::move(node.spelled), index);
  if (std::string now = node.spelled.text(); now != before) node.formula = std::move(now);
  for (GraphPullback& pullback : node.pullbacks) {
    pullback.node = read(index, pullback.node);
    pullback.local = renamed(std::move(pullback.local), index);
  }
  for (GraphGradient& gradient : node.gradients) {
    const std::size_t held = index_of(gradient.node);
    if (held != kNoIndex && in_another_copy(index, held)) {
      // What comes in from the next copy comes, in the picture, from behind the last.
      const auto& last = graph_.nodes[last_[index]].gradients;
      const auto found = std::ranges::find(last, gradient.sweep, &GraphGradient::sweep);
      if (found != last.end()) gradient = *found;
    }
    gradient.node = shown(gradient.node);
  }
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
