// The dump as a Mermaid flowchart, which Markdown viewers draw.
//
// Forward and backward stand side by side, each running downwards: Mermaid has no arrow against its layout. Forward
// arrows are thin and black; a cotangent's are thick and red, a local derivative's dotted. Boxes are those of the
// drawing for Graphviz: a named formula holds the unnamed nodes that it spells out.
#include <ebb/engine/dump/formats/arrows.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>
#include <vector>

namespace ebb {
namespace {

constexpr std::size_t kLongest = 120;  // columns of a formula or a name
constexpr std::size_t kMessage = 400;  // and of an error's message

// Inside quotes everything is text but the quote and what looks like an entity, a tag, Markdown, a directive or an
// escape: those are written by their number.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (std::string_view("\"#&<>`\\{}").find(c) != std::string_view::npos) {
      out += fmt::format("#{};", static_cast<int>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string_view class_of(const GraphNode& node) {
  switch (node.role) {
    case Role::failed:
      return "failed";
    case Role::leaf:
      return "leaf";
    case Role::seed:
      return "seed";
    case Role::scope:
      return node.sweep == 0 ? "scope" : "scopeBackward";
    default:
      return node.sweep == 0 ? "forward" : "backward";
  }
}

class Flowchart {
 public:
  Flowchart(const Graph& graph, const DumpOptions& options) : graph_(graph), options_(options) {}

  std::string write() {
    if (!graph_.title.empty()) out_ += fmt::format("---\ntitle: \"{}\"\n---\n", escaped(graph_.title));
    out_ += "flowchart TB\n";
    // The first stands rightmost.
    for (std::size_t i = graph_.sections.size(); i-- > 0;) section(i);
    for (const auto& [id, label] : graph_.outside) out_ += fmt::format("  n{}[\"{}\"]:::outside\n", id, text(label));
    edges();
    styles();
    return std::move(out_);
  }

 private:
  // What a scope holds of one section.
  struct Frame {
    std::vector<std::string> boxes;
    std::map<std::size_t, Frame> inside;
  };

  std::string text(std::string_view whole) const { return escaped(shortened(whole, kLongest)); }
  std::string box(const GraphNode& node, const std::string& step) const;
  std::string box(std::size_t index, const GraphAlias& alias) const;
  Frame& frame(Frame& root, std::size_t scope) const {
    return scope == 0 ? root : frame(root, graph_.scopes[scope].parent).inside[scope];
  }
  NodeId root(NodeId id) const { return options_.fold ? graph_.spelled_out_by(id) : id; }

  void section(std::size_t index);
  void write(const Frame& frame, const std::string& key, int depth);
  void arrow(const std::string& from, std::string_view line, const std::string& to, bool backward, bool local = false);
  void edges();
  void styles();

  const Graph& graph_;
  const DumpOptions& options_;
  std::map<std::string, bool> seen_;  // arrows
  std::size_t arrows_ = 0;
  std::vector<std::size_t> red_, grey_;  // arrows by number
  std::vector<std::string> frames_;
  std::string out_;
};

std::string lines_of(const std::vector<std::string>& lines) {
  std::vector<std::string> some;
  for (const std::string& line : lines) {
    if (!line.empty()) some.push_back(line);
  }
  return fmt::format("{}", fmt::join(some, "<br/>"));
}

std::string Flowchart::box(const GraphNode& node, const std::string& step) const {
  std::vector<std::string> lines;
  lines.push_back((step.empty() ? "" : "step " + escaped(step) + (node.name.empty() ? "" : ": ")) +
                  text(node.name + times(node.repeats)));
  const bool plain = node.role == Role::leaf || node.role == Role::seed || node.formula.empty();
  if (!plain) lines.push_back((node.role == Role::scope ? "" : "= ") + text(node.formula));
  if (!node.derivative.empty()) lines.push_back(text(node.derivative));
  std::string type = type_of(node);
  if (node.role == Role::scope) {
    type += fmt::format("{}{} node{}", type.empty() ? "" : ", ", node.stands_for, node.stands_for == 1 ? "" : "s");
  } else {
    type += fmt::format(" %{}", node.id);
  }
  lines.push_back(escaped(type));
  lines.push_back(escaped(cost_of(node)));
  if (options_.source_lines) lines.push_back(escaped(node.where));
  if (node.role == Role::failed) lines.push_back("failed: " + escaped(shortened(node.message, kMessage)));
  if (options_.values && node.value) {
    const std::string values = brief(*node.value);
    for (std::size_t begin = 0; begin != std::string::npos;) {
      const std::size_t end = values.find('\n', begin);
      lines.push_back(escaped(values.substr(begin, end - begin)));
      begin = end == std::string::npos ? end : end + 1;
    }
  }
  return fmt::format("n{}[\"{}\"]:::{}", node.id, lines_of(lines), class_of(node));
}

std::string Flowchart::box(std::size_t index, const GraphAlias& alias) const {
  const std::string step = alias.step.empty() ? "" : fmt::format("step {}: ", escaped(alias.step));
  return fmt::format("a{}(\"{}{}<br/>= {}{}\"):::{}", index, step, text(alias.name), text(alias.same_as),
                     alias.derivative.empty() ? "" : "<br/>" + text(alias.derivative),
                     alias.sweep != 0 ? "aliasBackward" : "alias");
}

void Flowchart::section(std::size_t index) {
  const GraphSection& section = graph_.sections[index];
  Frame all;
  for (const GraphStep& step : section.steps) {
    for (const GraphItem& item : step.items) {
      if (item.alias) {
        const GraphAlias& alias = graph_.aliases[item.index];
        frame(all, alias.scope).boxes.push_back(box(item.index, alias));
      } else if (const GraphNode& node = graph_.nodes[item.index]; root(node.id) == node.id) {
        frame(all, node.scope).boxes.push_back(box(node, options_.fold ? step.label : node.step));
      }
    }
  }
  out_ += fmt::format("  subgraph p{}[\"{}\"]\n    direction TB\n", index, text(section.title));
  write(all, fmt::format("p{}", index), 2);
  out_ += "  end\n";
  frames_.push_back(fmt::format("p{}", index));
}

void Flowchart::write(const Frame& frame, const std::string& key, int depth) {
  const std::string indent(static_cast<std::size_t>(depth) * 2, ' ');
  for (const std::string& line : frame.boxes) out_ += indent + line + "\n";
  for (const auto& [scope, inner] : frame.inside) {
    const GraphScope& s = graph_.scopes[scope];
    const std::string own = fmt::format("{}s{}", key, scope);
    out_ +=
        fmt::format("{}subgraph {}[\"{}\"]\n{}  direction TB\n", indent, own, text(s.name + times(s.repeats)), indent);
    write(inner, key, depth + 1);
    out_ += indent + "end\n";
    frames_.push_back(own);
  }
}

void Flowchart::arrow(const std::string& from, std::string_view line, const std::string& to, bool backward,
                      bool local) {
  const std::string all = fmt::format("  {} {} {}\n", from, line, to);
  if (!seen_.emplace(all, true).second) return;
  if (local) {
    grey_.push_back(arrows_);
  } else if (backward) {
    red_.push_back(arrows_);
  }
  ++arrows_;
  out_ += all;
}

void Flowchart::edges() {
  using Kind = DrawnArrow::Kind;
  for (const auto& [kind, from, to] : drawn_arrows(graph_, options_)) {
    const bool forward = kind == Kind::value || kind == Kind::alias;
    const bool cotangent = kind == Kind::cotangent;
    arrow(from, forward ? "-->" : cotangent ? "==>" : "-.->", to, !forward, !forward && !cotangent);
  }
}

// Colours that read on a light and on a dark page: boxes bring their own ground.
void Flowchart::styles() {
  out_ +=
      "  classDef forward fill:#ffffff,stroke:#37474f,color:#212121\n"
      "  classDef leaf fill:#e3f2fd,stroke:#1565c0,color:#212121\n"
      "  classDef backward fill:#fff5f5,stroke:#c62828,color:#212121\n"
      "  classDef seed fill:#ffcdd2,stroke:#c62828,color:#212121\n"
      "  classDef scope fill:#eceff1,stroke:#455a64,color:#212121\n"
      "  classDef scopeBackward fill:#ffebee,stroke:#c62828,color:#212121\n"
      "  classDef alias fill:#ffffff,stroke:#37474f,color:#212121,stroke-dasharray:4\n"
      "  classDef aliasBackward fill:#fff5f5,stroke:#c62828,color:#212121,stroke-dasharray:4\n"
      "  classDef outside fill:#ffffff,stroke:#bdbdbd,color:#757575\n"
      "  classDef failed fill:#ffcc80,stroke:#e65100,color:#212121,stroke-width:3px\n";
  if (!frames_.empty()) {
    out_ += "  classDef frame fill:none,stroke:#b0bec5\n";
    out_ += fmt::format("  class {} frame\n", fmt::join(frames_, ","));
  }
  if (!red_.empty()) out_ += fmt::format("  linkStyle {} stroke:#c62828\n", fmt::join(red_, ","));
  if (!grey_.empty()) out_ += fmt::format("  linkStyle {} stroke:#9e9e9e\n", fmt::join(grey_, ","));
}

}  // namespace

std::string write_mermaid(const Graph& graph, const DumpOptions& options) { return Flowchart(graph, options).write(); }

}  // namespace ebb
