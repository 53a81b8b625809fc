// The dump as a worked example in Markdown, with formulas in LaTeX: the run with its numbers, for course notes.
//
// Forward first, in the order of recording and by steps; then each sweep. A line of the backward pass says which
// derivative it multiplies with and why a sum, a broadcast or an addition stands there, in the description's sentences.
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/dump/formats/latex.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <vector>

namespace ebb {
namespace {

using detail::Notation;

// Text that Markdown takes for nothing else, as code. A fence is longer than any row of backticks inside.
std::string code(std::string_view text) {
  const std::string plain = printable(text);
  std::size_t longest = 0;
  std::size_t run = 0;
  for (const char c : plain) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  const std::string fence(longest + 1, '`');
  const char* space = plain.starts_with('`') || plain.ends_with('`') ? " " : "";
  return fence + space + plain + space + fence;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    if (c == '<' || c == '>' || c == '&') {
      out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;";
    } else {
      if (std::string_view("\\`*_{}[]()#+-.!|$~").find(c) != std::string_view::npos) out += '\\';
      out += c;
    }
  }
  return out;
}

class Document {
 public:
  Document(const Graph& graph, const DumpOptions& options) : graph_(graph), options_(options), notation_(graph) {}

  std::string write() {
    index();
    out_ = fmt::format("# {}\n", graph_.title.empty() ? "A worked example" : escaped(graph_.title));
    preface();
    for (const GraphSection& section : graph_.sections) write(section);
    return std::move(out_);
  }

 private:
  struct Given {  // by the rules of a node
    const GraphNode* by;
    const GraphContribution* contribution;
  };

  void index();
  void preface();
  void write(const GraphSection& section);
  void write(const GraphItem& item);
  void write(const GraphNode& node);
  void write(const GraphAlias& alias);
  void equation(const std::string& left, const std::string& a, const std::string& b = {});
  void value(const GraphNode& node, const std::string& name);
  void facts(const GraphNode& node);
  void reasons(NodeId id, std::uint32_t sweep, const std::string& name);
  void tell(const std::vector<GraphSentence>& sentences);
  std::string told(const GraphSentence& sentence) const;

  std::string math(std::string_view label) const { return fmt::format("${}$", notation_.name(label)); }
  // What has no name and is spelled out elsewhere is called by its formula.
  std::string math(NodeId id) const {
    const GraphNode* of = node(id);
    const bool part = of && graph_.spelled_out_by(id) != id;
    return part ? fmt::format("${}$", notation_.formula(of->formula)) : math(graph_.label_of(id));
  }
  const GraphNode* node(NodeId id) const {
    const std::size_t i = graph_.index_of(id);
    return i == kNoIndex ? nullptr : &graph_.nodes[i];
  }
  void paragraph(const std::string& text) { out_ += "\n" + text + "\n"; }

  const Graph& graph_;
  const DumpOptions& options_;
  Notation notation_;
  std::map<NodeId, std::vector<Given>> given_;  // by the node that holds it
  std::string out_;
};

void Document::index() {
  for (const GraphNode& node : graph_.nodes) {
    for (const GraphContribution& given : node.contributions) given_[given.node].push_back({&node, &given});
  }
  // A sweep meets the last node first.
  for (auto& [id, all] : given_) {
    std::ranges::stable_sort(all, [](const Given& a, const Given& b) { return a.by->id > b.by->id; });
  }
}

void Document::preface() {
  std::size_t unnamed = 0;
  for (const GraphNode& node : graph_.nodes) {
    unnamed += node.name.empty() && node.role != Role::constant && node.role != Role::failed &&
                       graph_.spelled_out_by(node.id) == node.id
                   ? 1
                   : 0;
  }
  const auto failed = std::ranges::count(graph_.nodes, Role::failed, &GraphNode::role);
  const std::size_t shown = graph_.nodes.size() - static_cast<std::size_t>(failed);
  std::string text = shown == graph_.tape_size
                         ? fmt::format("The tape holds {} nodes.", shown)
                         : fmt::format("Of the tape's {} nodes, {} are shown.", graph_.tape_size, shown);
  text += " The sign $\\odot$ multiplies element by element.";
  if (unnamed > 0) text += " A value without a name is called $v$, with the number of its node.";
  paragraph(text);
  if (!notation_.numbered().empty()) {
    paragraph("Names that are no symbols:");
    out_ += "\n";
    for (const auto& [id, name] : notation_.numbered()) out_ += fmt::format("- $v_{{{}}}$ is {}\n", id, code(name));
  }
  if (graph_.repeats.empty()) return;
  paragraph("What comes several times in a row is shown once:");
  out_ += "\n";
  for (const GraphRepeat& repeat : graph_.repeats) out_ += fmt::format("- {}\n", code(to_string(repeat)));
}

void Document::write(const GraphSection& section) {
  std::string title = section.title;
  title[0] = static_cast<char>(title[0] - 'a' + 'A');
  out_ += fmt::format("\n## {}\n", title);
  const GraphStep* before = nullptr;
  for (const GraphStep& step : section.steps) {
    const bool any = std::ranges::any_of(step.items, [&](const GraphItem& item) {
      return item.alias || graph_.spelled_out_by(graph_.nodes[item.index].id) == graph_.nodes[item.index].id;
    });
    if (!any) continue;
    const std::string& path = graph_.scopes[step.scope].path;
    const bool moved = (before ? before->scope : 0) != step.scope;
    std::vector<std::string> words;
    if (!step.label.empty()) words.push_back("Step " + escaped(step.label));
    if (moved && !path.empty()) words.push_back(code(path + times(graph_.scopes[step.scope].repeats)));
    // Back outside, or done with a step: what follows needs a heading of its own.
    const bool back = before && words.empty() && (moved || !before->label.empty());
    if (back) words.emplace_back("Then");
    if (!words.empty()) out_ += fmt::format("\n### {}\n", fmt::join(words, ", "));
    before = &step;
    for (const GraphItem& item : step.items) write(item);
  }
}

void Document::write(const GraphItem& item) {
  if (item.alias) {
    write(graph_.aliases[item.index]);
  } else if (const GraphNode& node = graph_.nodes[item.index]; graph_.spelled_out_by(node.id) == node.id) {
    write(node);
  }
}

// `left = a`, and below `= b`, where both are there.
void Document::equation(const std::string& left, const std::string& a, const std::string& b) {
  std::string text = left;
  if (!a.empty() && !b.empty()) {
    text = fmt::format("\\begin{{aligned}}\n{} &= {} \\\\\n&= {}\n\\end{{aligned}}", left, a, b);
  } else if (!a.empty() || !b.empty()) {
    text += " = " + a + b;
  }
  out_ += fmt::format("\n$$\n{}\n$$\n", text);
}

void Document::write(const GraphNode& node) {
  const std::string label = graph_.label_of(node.id);
  if (node.role == Role::scope) {
    paragraph(fmt::format("{}: {}", code(node.name + times(node.repeats)), code(node.formula)));
    facts(node);
    return;
  }
  if (node.role == Role::failed) {
    paragraph(
        fmt::format("**Here the recording failed**, at ${}$, {}:", notation_.formula(node.formula), code(node.op)));
    paragraph("> " + code(node.message));
    return;
  }
  const std::string name = notation_.name(label);
  equation(name, node.formula.empty() ? "" : notation_.formula(node.formula),
           node.value ? Notation::matrix(*node.value, node.shape) : "");
  value(node, name);
  facts(node);
  tell(node.why);
  if (node.sweep == 0) return;
  if (const GraphNode* of = this->node(node.origin); of && node.role == Role::accumulation) {
    for (const GraphGradient& gradient : of->gradients) {
      if (gradient.node == node.id) tell(gradient.why);
    }
  } else {
    reasons(node.id, node.sweep, label);
  }
}

void Document::write(const GraphAlias& alias) {
  if (alias.of == kNoNode)
    return paragraph(fmt::format("{} is another name of {}.", code(alias.name), math(alias.node)));
  equation(notation_.name(alias.name), notation_.name(alias.same_as));
  reasons(alias.node, alias.sweep, alias.name);
}

// What a matrix cannot hold.
void Document::value(const GraphNode& node, const std::string& name) {
  if (!node.value) {
    if (node.presence == Presence::released) paragraph("The value was released.");
    return;
  }
  const ValueSummary& v = *node.value;
  if (v.text.empty()) {
    std::string text = fmt::format(
        "The {} values of ${}$ lie between ${}$ and ${}$, with mean ${}$ and standard deviation ${}$", v.count, name,
        Notation::number(v.min), Notation::number(v.max), Notation::number(v.mean), Notation::number(v.deviation));
    if (v.not_finite > 0) text += fmt::format("; {} are not finite", v.not_finite);
    paragraph(text + ".");
  } else if (node.shape.rank() > 2) {
    out_ += fmt::format("\n```text\n{}\n```\n", v.text);
  }
}

void Document::facts(const GraphNode& node) {
  std::string text;
  if (node.role == Role::scope) {
    text = fmt::format("{} node{}", node.stands_for, node.stands_for == 1 ? "" : "s");
  } else {
    text = code(node.op);
  }
  if (const std::string type = type_of(node); !type.empty()) text += ", " + code(type);
  if (const std::string cost = cost_of(node); !cost.empty()) text += ", " + cost;
  if (options_.source_lines && !node.where.empty()) text += ", " + code(node.where);
  paragraph(text + ".");
}

// The cotangent that a node holds may have come through several rules.
void Document::reasons(NodeId id, std::uint32_t sweep, const std::string& name) {
  const auto found = given_.find(id);
  if (found == given_.end()) return;
  for (const Given& given : found->second) {
    const GraphContribution& to = *given.contribution;
    if (to.sweep != sweep) continue;
    // One node may be the cotangent of several inputs: each name says its own.
    if (to.name == name || to.name.starts_with('%')) tell(to.why);
  }
}

// Names and formulas as mathematics, the rest as it stands.
std::string Document::told(const GraphSentence& sentence) const {
  std::string out;
  for (const GraphPiece& piece : sentence) {
    switch (piece.kind) {
      case GraphPiece::Kind::text:
        out += piece.text;
        break;
      case GraphPiece::Kind::name:
      case GraphPiece::Kind::cotangent:
        out += math(piece.text);
        break;
      case GraphPiece::Kind::formula:
        out += fmt::format("${}$", notation_.formula(piece.text));
        break;
      case GraphPiece::Kind::code:
        out += code(piece.text);
        break;
    }
  }
  return out;
}

void Document::tell(const std::vector<GraphSentence>& sentences) {
  std::string text;
  for (const GraphSentence& sentence : sentences) text += (text.empty() ? "" : " ") + told(sentence);
  if (!text.empty()) paragraph(text);
}

}  // namespace

std::string write_markdown(const Graph& graph, const DumpOptions& options) { return Document(graph, options).write(); }

}  // namespace ebb
