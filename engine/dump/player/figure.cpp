#include <ebb/engine/dump/player/figure.h>

#include <ebb/engine/dump/writing/graphviz.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>

namespace ebb::detail {
namespace {

// How wide text is on the page; its style sheet has the same sizes.
constexpr double kNameColumn = 11.4, kFormulaColumn = 7.3;
constexpr double kNameLine = 20, kFormulaLine = 16, kPadding = 22;
constexpr std::size_t kWrap = 15, kLines = 4, kLongestLabel = 16, kLongestName = 22;
// With more boxes than this Graphviz is told of no arrow that passes over so many ranks, as each would cost it a node
// in every one of them: a minute for what takes a blink without.
constexpr std::size_t kManyBoxes = 300;
constexpr std::size_t kFarRanks = 8;

// In lines, broken at blanks; a sign stays with what follows it.
std::vector<std::string> wrapped(const std::string& text) {
  constexpr std::string_view kSigns = "=+-*/";
  std::vector<std::string> lines;
  std::size_t begin = 0;
  while (begin < text.size()) {
    std::size_t end = std::min(text.find(' ', begin), text.size());
    if (end == begin + 1 && kSigns.find(text[begin]) != std::string_view::npos) {
      end = std::min(text.find(' ', end + 1), text.size());
    }
    const std::string word = text.substr(begin, end - begin);
    if (lines.empty() || columns(lines.back()) + 1 + columns(word) > kWrap) {
      if (lines.size() == kLines) {
        lines.back() += " \u2026";
        break;
      }
      lines.push_back(shortened(word, kWrap + 6));
    } else {
      lines.back() += " " + word;
    }
    begin = end + 1;
  }
  return lines;
}

class Placing {
 public:
  explicit Placing(const Graph& graph) : graph_(graph) {}

  Figure run() {
    find_homes();
    boxes();
    arrows();
    find_far();
    read(graphviz(drawing(), "plain", graph_.asked));
    return std::move(figure_);
  }

 private:
  const GraphNode* shown(NodeId id) const {
    const std::size_t index = id == kNoNode ? kNoIndex : graph_.index_of(id);
    return index == kNoIndex ? nullptr : &graph_.nodes[index];
  }
  NodeId home(NodeId id) const {
    const std::size_t index = graph_.index_of(id);
    return index == kNoIndex ? kNoNode : figure_.homes[index];
  }
  void find_homes();
  void boxes();
  void arrows();
  void texts(const GraphNode& node, Figure::Box& box) const;
  void find_far();
  std::string drawing() const;
  void clusters(std::size_t scope, std::string& out) const;
  void read(const std::string& plain);

  const Graph& graph_;
  Figure figure_;
  std::vector<std::vector<std::size_t>> inside_;  // boxes by scope
  std::vector<std::vector<std::size_t>> scopes_;  // scopes by parent
};

// Nodes come after what they belong to, but for parts, which come before the node that spells them out, and seeds.
void Placing::find_homes() {
  figure_.homes.assign(graph_.nodes.size(), kNoNode);
  std::vector<bool> done(graph_.nodes.size());
  for (std::size_t start = 0; start < graph_.nodes.size(); ++start) {
    std::vector<std::size_t> path;
    std::size_t at = start;
    NodeId found = kNoNode;
    while (true) {
      if (done[at]) {
        found = figure_.homes[at];
        break;
      }
      done[at] = true;
      path.push_back(at);
      const GraphNode& node = graph_.nodes[at];
      if (node.role == Role::constant) break;
      const bool backward = node.sweep != 0 || node.role == Role::seed;
      NodeId next = node.folded_into;
      if (next == kNoNode && backward) next = shown(node.cotangent_of) ? node.cotangent_of : node.origin;
      if (!shown(next)) {
        found = node.id;
        break;
      }
      at = graph_.index_of(next);
    }
    for (const std::size_t index : path) figure_.homes[index] = found;
  }
}

void Placing::texts(const GraphNode& node, Figure::Box& box) const {
  if (node.role != Role::leaf && !node.formula.empty()) box.formula = wrapped("= " + printable(node.formula));
  if (!node.gradients.empty()) {
    const GraphGradient& gradient = node.gradients.front();
    std::string sum;
    for (const std::string& term : gradient.terms) sum += (sum.empty() ? " = " : " + ") + term;
    const GraphNode* held = shown(gradient.node);
    const bool literal = held && held->role == Role::constant;
    const std::string text =
        literal ? fmt::format("d{} = {}", graph_.label_of(node.id), gradient.name) : gradient.name + sum;
    if (!text.starts_with('%') && !text.starts_with("d%")) box.gradient = wrapped(printable(text));
  }
  double width =
      kNameColumn * static_cast<double>(columns(shortened(printable(graph_.label_of(node.id)), kLongestName)));
  for (const auto* lines : {&box.formula, &box.gradient}) {
    for (const std::string& line : *lines) {
      width = std::max(width, kFormulaColumn * static_cast<double>(columns(line)));
    }
  }
  box.width = std::max(56.0, width + kPadding);
  box.height = kNameLine + kPadding + kFormulaLine * static_cast<double>(box.formula.size() + box.gradient.size());
}

void Placing::boxes() {
  inside_.resize(graph_.scopes.size());
  scopes_.resize(graph_.scopes.size());
  for (std::size_t i = 0; i < graph_.nodes.size(); ++i) {
    const GraphNode& node = graph_.nodes[i];
    if (figure_.homes[i] != node.id || node.role == Role::constant) continue;
    Figure::Box box;
    box.node = node.id;
    texts(node, box);
    inside_[node.scope].push_back(figure_.boxes.size());
    figure_.boxes.push_back(std::move(box));
  }
  for (std::size_t i = 1; i < graph_.scopes.size(); ++i) scopes_[graph_.scopes[i].parent].push_back(i);
}

void Placing::arrows() {
  std::map<std::pair<NodeId, NodeId>, std::size_t> index;
  for (const GraphEdge& edge : graph_.edges) {
    if (edge.backward) continue;
    const NodeId from = home(edge.from);
    const NodeId to = home(edge.to);
    if (from == kNoNode || to == kNoNode || from == to) continue;
    const auto [place, fresh] = index.try_emplace({from, to}, figure_.arrows.size());
    const GraphNode& source = *shown(edge.from);
    const bool gradient = source.sweep != 0 && source.id != from;
    if (fresh) {
      figure_.arrows.push_back({.from = from, .to = to, .gradient = gradient});
    } else {
      figure_.arrows[place->second].gradient &= gradient;
    }
  }
  for (const GraphNode& node : graph_.nodes) {
    for (const GraphPullback& pullback : node.pullbacks) {
      const auto found = index.find({home(node.inputs[pullback.input]), home(node.id)});
      if (found == index.end() || pullback.sweep > 1) continue;  // later sweeps run along the same arrows
      const GraphNode* input = shown(node.inputs[pullback.input]);
      const auto alone = [&](const GraphGradient& g) { return g.sweep == pullback.sweep && g.terms.empty(); };
      if (pullback.name.starts_with('%') || !input || std::ranges::any_of(input->gradients, alone)) continue;
      std::string& label = figure_.arrows[found->second].label;
      const std::string name = shortened(printable(pullback.name), kLongestLabel);
      label += (label.empty() ? "" : ", ") + name;
    }
  }
  for (Figure::Arrow& arrow : figure_.arrows) arrow.label = shortened(arrow.label, 2 * kLongestLabel);
}

void Placing::clusters(std::size_t scope, std::string& out) const {
  for (const std::size_t i : inside_[scope]) {
    const Figure::Box& box = figure_.boxes[i];
    out += fmt::format("  n{} [width={:.3f}, height={:.3f}];\n", box.node, box.width / 72, box.height / 72);
  }
  for (const std::size_t child : scopes_[scope]) {
    out += fmt::format("  subgraph cluster_{} {{ label=\"m\";\n", child);
    clusters(child, out);
    out += "  }\n";
  }
}

void Placing::find_far() {
  std::map<NodeId, std::size_t> rank;
  std::map<NodeId, std::vector<std::size_t>> into;
  for (std::size_t i = 0; i < figure_.arrows.size(); ++i) into[figure_.arrows[i].to].push_back(i);
  if (figure_.boxes.size() <= kManyBoxes) return;
  for (const Figure::Box& box : figure_.boxes) {  // in the order of ids, which is topological
    std::size_t& mine = rank[box.node];
    for (const std::size_t i : into[box.node]) mine = std::max(mine, rank[figure_.arrows[i].from] + 1);
  }
  for (Figure::Arrow& arrow : figure_.arrows) arrow.far = rank[arrow.to] - rank[arrow.from] > kFarRanks;
}

// Graphviz sees sizes and no text: a label is so many letters wide.
std::string Placing::drawing() const {
  std::string out =
      "digraph figure {\n  graph [rankdir=LR, nodesep=0.4, ranksep=0.5, margin=0, splines=true];\n"
      "  node [shape=box, fixedsize=true, label=\"\"];\n"
      "  edge [fontname=\"Courier\", fontsize=12, arrowhead=none];\n";
  clusters(0, out);
  for (const Figure::Arrow& arrow : figure_.arrows) {
    if (arrow.far) continue;
    const std::string label(columns(arrow.label), 'm');
    out += fmt::format("  n{} -> n{} [label=\"{}\"];\n", arrow.from, arrow.to, label);
  }
  return out + "}\n";
}

void Placing::read(const std::string& plain) {
  std::istringstream lines(plain);
  std::map<std::pair<NodeId, NodeId>, Figure::Arrow*> arrow_of;
  for (Figure::Arrow& arrow : figure_.arrows) arrow_of[{arrow.from, arrow.to}] = &arrow;
  std::map<NodeId, Figure::Box*> box_of;
  for (Figure::Box& box : figure_.boxes) box_of[box.node] = &box;
  const auto id = [](const std::string& name) { return static_cast<NodeId>(std::stoul(name.substr(1))); };
  const auto point = [&](std::istringstream& in, double& x, double& y) {
    in >> x >> y;
    x *= 72;
    y = figure_.height - 72 * y;
  };
  for (std::string text; std::getline(lines, text);) {
    std::istringstream in(text);
    std::string what, a, b;
    in >> what;
    if (what == "graph") {
      double scale = 1;
      in >> scale >> figure_.width >> figure_.height;
      figure_.width *= 72;
      figure_.height *= 72;
    } else if (what == "node") {
      in >> a;
      Figure::Box& box = *box_of.at(id(a));
      point(in, box.x, box.y);
    } else if (what == "edge") {
      in >> a >> b;
      Figure::Arrow& arrow = *arrow_of.at({id(a), id(b)});
      std::size_t count = 0;
      in >> count;
      arrow.points.resize(2 * count);
      for (std::size_t i = 0; i < count; ++i) point(in, arrow.points[2 * i], arrow.points[2 * i + 1]);
      if (!arrow.label.empty()) {
        in >> a;
        point(in, arrow.label_x, arrow.label_y);
      }
    }
  }
  for (Figure::Arrow& arrow : figure_.arrows) {
    if (!arrow.far) continue;
    const Figure::Box& from = *box_of.at(arrow.from);
    const Figure::Box& to = *box_of.at(arrow.to);
    const double top = std::min(from.y - from.height / 2, to.y - to.height / 2) - 120;
    arrow.points = {from.x, from.y - from.height / 2, from.x, top, to.x, top, to.x, to.y - to.height / 2};
  }
}

}  // namespace

Figure place(const Graph& graph) { return Placing(graph).run(); }

}  // namespace ebb::detail
