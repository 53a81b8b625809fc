// The dump as a drawing, in Graphviz's language.
//
// It looks like the figures in which backpropagation is taught: the forward pass runs from left to right in black;
// under each value stands its cotangent, and red arrows run back from right to left. Boxes of one named formula hold
// the unnamed nodes that the formula spells out, an alias is a box with a dashed edge, and scopes are frames.
#include <ebb/engine/dump/formats/arrows.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace ebb {
namespace {

constexpr std::size_t kWrap = 20;      // columns of a formula before it is broken
constexpr std::size_t kLongest = 160;  // and before it is cut off
constexpr std::size_t kMessage = 400;  // an error's
constexpr std::size_t kLongestName = 48;

std::string escaped(std::string_view text) {
  std::string out;
  char before = 0;
  for (const char c : printable(text)) {
    // Graphviz puts the node's name where it reads \N, even here; a tag between the two stops it.
    const bool taken = before == '\\' && std::string_view("EGHLNT").find(c) != std::string_view::npos;
    before = c;
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (taken) {
          out += fmt::format("<font>{}</font>", c);
        } else {
          out += c;
        }
    }
  }
  return out;
}

// A DOT string: only the quote and the backslash are special. printable() has made newlines visible.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : printable(text)) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + "\"";
}

// Broken at blanks into lines of an HTML-like label.
std::string wrapped(std::string_view formula, std::size_t longest = kLongest) {
  const std::string text = shortened(formula, longest);
  std::string out;
  std::string line;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = std::string_view(text).substr(begin, end - begin);
    if (!line.empty() && line != "=" && columns(line) + 1 + columns(word) > kWrap) {
      out += escaped(line) + "<br align=\"left\"/>";
      line.clear();
    }
    if (!line.empty()) line += ' ';
    line += word;
    begin = end + 1;
  }
  return out + escaped(line);
}

struct Style {
  std::string_view border, fill, badge;
};
constexpr Style kForward{"#37474f", "#ffffff", "#37474f"};
constexpr Style kLeafStyle{"#1565c0", "#e3f2fd", "#1565c0"};
constexpr Style kBackward{"#c62828", "#fff5f5", "#c62828"};
constexpr Style kSeedStyle{"#c62828", "#ffcdd2", "#c62828"};
constexpr Style kScope{"#455a64", "#eceff1", "#455a64"};
constexpr Style kFailed{"#e65100", "#ffe0b2", "#e65100"};
constexpr Style kScopeBackward{"#c62828", "#ffebee", "#c62828"};

Style style_of(const GraphNode& node) {
  switch (node.role) {
    case Role::scope:
      return node.sweep == 0 ? kScope : kScopeBackward;
    case Role::failed:
      return kFailed;
    case Role::leaf:
      return kLeafStyle;
    case Role::seed:
      return kSeedStyle;
    case Role::backward:
    case Role::accumulation:
      return kBackward;
    default:
      return kForward;
  }
}

class Drawing {
 public:
  Drawing(const Graph& graph, const DumpOptions& options) : graph_(graph), options_(options) {}

  std::string write() {
    gather();
    out_ += "digraph ebb {\n";
    out_ += "  graph [rankdir=LR, nodesep=0.2, ranksep=0.3, fontname=\"Helvetica\", fontsize=12, splines=true";
    if (!graph_.title.empty()) out_ += fmt::format(", labelloc=t, label={}", quoted(graph_.title));
    out_ += "];\n";
    out_ += "  node [shape=plain, fontname=\"Helvetica\", fontsize=12];\n";
    out_ += "  edge [arrowsize=0.7];\n";
    scope(0, 1);
    for (const auto& [id, label] : graph_.outside) {
      out_ += fmt::format("  n{} [shape=plaintext, fontcolor=\"#757575\", label={}];\n", id, quoted(label));
    }
    edges();
    out_ += "}\n";
    return std::move(out_);
  }

 private:
  void gather();
  void scope(std::size_t index, int depth);
  void twins(std::size_t index, const std::string& indent);
  void edges();
  void arrow(const std::string& from, const std::string& to, std::string_view style, bool back);
  void backward_arrow(const std::string& from, const std::string& to, std::string_view style);
  std::string box(const GraphNode& node, const std::string& step) const;
  std::string box(const GraphAlias& alias) const;
  std::string label(Style style, bool dashed, const std::string& step, const std::string& name,
                    const std::string& formula, const std::string& small) const;

  // The frame that something of a scope is drawn in. A single scope needs no frame: the picture is of it.
  std::size_t frame(std::size_t scope_index) const { return framed_ ? scope_index : 0; }
  // The node whose box a node is drawn in.
  NodeId root(NodeId id) const { return options_.fold ? graph_.spelled_out_by(id) : id; }
  bool drawn(const GraphNode& node) const { return node.role != Role::constant && root(node.id) == node.id; }
  // The node that a box stands under.
  NodeId above(const GraphNode& node) const {
    if (node.sweep == 0 && node.role != Role::seed) return kNoNode;
    return root(node.cotangent_of != kNoNode ? node.cotangent_of : node.origin);
  }

  const Graph& graph_;
  const DumpOptions& options_;
  std::vector<std::vector<std::string>> boxes_;                    // by scope
  std::vector<std::vector<std::size_t>> inside_;                   // scopes by parent
  std::vector<std::map<NodeId, std::vector<std::string>>> under_;  // by scope: the boxes under a node
  std::map<NodeId, std::vector<NodeId>> parts_;                    // by root
  std::map<std::string, NodeId> column_;                           // the node that a box stands under
  std::set<std::string> seen_;                                     // edges
  bool framed_ = false;
  std::string out_;
};

std::string Drawing::label(Style style, bool dashed, const std::string& step, const std::string& name,
                           const std::string& formula, const std::string& small) const {
  std::string out = fmt::format(
      "<<table border=\"{}\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"4\" color=\"{}\" bgcolor=\"{}\"{}><tr>",
      1, style.border, style.fill, dashed ? " style=\"dashed\"" : "");
  if (!step.empty()) {
    out += fmt::format("<td bgcolor=\"{}\"><font color=\"white\"><b>{}</b></font></td>", style.badge, escaped(step));
  }
  out += "<td align=\"left\" balign=\"left\">";
  if (!name.empty()) out += fmt::format("<b>{}</b>", escaped(shortened(name, kLongestName)));
  if (!formula.empty()) out += (name.empty() ? "" : "<br align=\"left\"/>") + wrapped(formula);
  if (!small.empty()) {
    if (!name.empty() || !formula.empty()) out += "<br align=\"left\"/>";
    out += fmt::format("<font point-size=\"9\" color=\"#616161\">{}</font>", small);
  }
  return out + "</td></tr></table>>";
}

std::string Drawing::box(const GraphNode& node, const std::string& step) const {
  std::string ids;
  if (const auto parts = parts_.find(node.id); parts != parts_.end()) {
    for (const NodeId part : parts->second) ids += fmt::format("%{} ", part);
  }
  ids += fmt::format("%{}", node.id);
  std::string small = node.derivative.empty() ? "" : wrapped(node.derivative) + "<br align=\"left\"/>";
  const std::string cost = cost_of(node);
  small += escaped(type_of(node)) + (type_of(node).empty() || cost.empty() ? "" : "  ") + cost;
  if (node.role == Role::scope) {
    ids = fmt::format("{} node{}", node.stands_for, node.stands_for == 1 ? "" : "s");
  }
  small += (small.empty() ? "" : "<br align=\"left\"/>") + ids;
  if (options_.source_lines && !node.where.empty()) small += "  " + escaped(node.where);
  if (options_.values && node.value) {
    const std::string text = brief(*node.value);
    std::size_t begin = 0;
    while (begin != std::string::npos) {
      const std::size_t end = text.find('\n', begin);
      small += "<br align=\"left\"/>" + escaped(text.substr(begin, end - begin));
      begin = end == std::string::npos ? end : end + 1;
    }
  }
  if (node.role == Role::failed) small = "failed: " + wrapped(node.message, kMessage) + "<br align=\"left\"/>" + small;
  const bool plain = node.role == Role::leaf || node.role == Role::seed || node.formula.empty();
  const std::string formula = plain ? "" : (node.role == Role::scope ? "" : "= ") + node.formula;
  return label(style_of(node), false, step, node.name + times(node.repeats), formula, small);
}

std::string Drawing::box(const GraphAlias& alias) const {
  return label(alias.sweep != 0 ? kBackward : kForward, true, alias.step, alias.name, "= " + alias.same_as,
               wrapped(alias.derivative));
}

void Drawing::gather() {
  std::size_t inhabited = 0;
  for (std::size_t i = 1; i < graph_.scopes.size(); ++i) inhabited += graph_.scopes[i].nodes > 0 ? 1 : 0;
  framed_ = inhabited > 1;
  boxes_.resize(graph_.scopes.size());
  inside_.resize(graph_.scopes.size());
  under_.resize(graph_.scopes.size());
  std::vector<std::size_t> within;  // nodes in a scope and in those inside of it
  for (const GraphScope& s : graph_.scopes) within.push_back(s.nodes);
  for (std::size_t i = graph_.scopes.size(); i-- > 1;) within[graph_.scopes[i].parent] += within[i];
  for (std::size_t i = 1; i < graph_.scopes.size(); ++i) {
    if (framed_ && within[i] > 0) inside_[graph_.scopes[i].parent].push_back(i);
  }
  for (const GraphNode& node : graph_.nodes) {
    if (const NodeId id = root(node.id); id != node.id) parts_[id].push_back(node.id);
  }
  const auto place = [&](const std::string& key, NodeId twin, std::size_t scope) {
    const std::size_t index = twin == kNoNode ? kNoIndex : graph_.index_of(twin);
    // Graphviz aligns boxes of one frame only.
    if (index == kNoIndex || frame(graph_.nodes[index].scope) != scope || graph_.nodes[index].role == Role::constant)
      return;
    under_[scope][twin].push_back(key);
    column_[key] = twin;
  };
  for (const GraphSection& section : graph_.sections) {
    for (const GraphStep& step : section.steps) {
      for (const GraphItem& item : step.items) {
        if (item.alias) {
          const GraphAlias& alias = graph_.aliases[item.index];
          const std::string key = fmt::format("a{}", item.index);
          // An alias stands in the frame of what it is the cotangent of.
          const std::size_t of = alias.of == kNoNode ? kNoIndex : graph_.index_of(alias.of);
          const std::size_t home = frame(of == kNoIndex ? alias.scope : graph_.nodes[of].scope);
          boxes_[home].push_back(fmt::format("{} [label={}];", key, box(alias)));
          place(key, alias.of == kNoNode ? kNoNode : root(alias.of), home);
        } else if (const GraphNode& node = graph_.nodes[item.index]; drawn(node)) {
          const std::string key = fmt::format("n{}", node.id);
          boxes_[frame(node.scope)].push_back(
              fmt::format("{} [label={}];", key, box(node, options_.fold ? step.label : node.step)));
          place(key, above(node), frame(node.scope));
        }
      }
    }
  }
}

// A value and its cotangents stand in one column, the value on top.
void Drawing::twins(std::size_t index, const std::string& indent) {
  for (const auto& [twin, keys] : under_[index]) {
    // Second-order cotangents stand under cotangents that have a column already; Graphviz merges the columns.
    out_ += fmt::format("{}{{ rank=same; n{} -> {} [style=invis]; }}\n", indent, twin, fmt::join(keys, " -> "));
  }
}

void Drawing::scope(std::size_t index, int depth) {
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  for (const std::string& line : boxes_[index]) out_ += indent + line + "\n";
  twins(index, indent);
  for (const std::size_t child : inside_[index]) {
    out_ += fmt::format("{}subgraph cluster_{} {{\n", indent, child);
    out_ += fmt::format("{}  label={}; labeljust=l; color=\"#b0bec5\"; fontcolor=\"#455a64\"; style=rounded;\n", indent,
                        quoted(graph_.scopes[child].name + times(graph_.scopes[child].repeats)));
    scope(child, depth + 1);
    out_ += indent + "}\n";
  }
}

void Drawing::arrow(const std::string& from, const std::string& to, std::string_view style, bool back) {
  const std::string line = back ? fmt::format("  {} -> {} [dir=back, {}];\n", to, from, style)
                                : fmt::format("  {} -> {} [{}];\n", from, to, style);
  if (seen_.insert(line).second) out_ += line;
}

// Red arrows run against the layout: they are written from left to right, with the head at the tail. Within a column
// they run downwards, as the order of the boxes does.
void Drawing::backward_arrow(const std::string& from, const std::string& to, std::string_view style) {
  const auto a = column_.find(from);
  const auto b = column_.find(to);
  arrow(from, to, style, a == column_.end() || b == column_.end() || a->second != b->second);
}

void Drawing::edges() {
  using Kind = DrawnArrow::Kind;
  for (const auto& [kind, from, to] : drawn_arrows(graph_, options_)) {
    switch (kind) {
      case Kind::value:
        arrow(from, to, "color=\"#212121\", weight=3", false);
        break;
      case Kind::alias:
        arrow(from, to, "style=dashed, color=\"#212121\"", false);
        break;
      case Kind::cotangent:
        backward_arrow(from, to, "color=\"#c62828\"");
        break;
      case Kind::derivative:
        backward_arrow(from, to, "style=dashed, color=\"#9e9e9e\"");
        break;
      case Kind::read:
        arrow(from, to, "constraint=false, style=dotted, color=\"#9e9e9e\"", false);
        break;
    }
  }
}

}  // namespace

std::string write_dot(const Graph& graph, const DumpOptions& options) { return Drawing(graph, options).write(); }

}  // namespace ebb
