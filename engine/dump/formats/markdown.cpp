// The dump as a worked example in Markdown, with formulas in LaTeX: the run with its numbers, for course notes.
//
// Forward first, in the order of recording and by steps; then each sweep. A line of the backward pass says which
// derivative it multiplies with and why a sum, a broadcast or an addition stands there. All of it is read off the
// description: kinds, shapes, uses, and the derivatives that the rules have recorded.
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

std::string listed(const std::vector<std::string>& all) {
  if (all.size() < 2) return all.empty() ? "" : all[0];
  return fmt::format("{} and {}", fmt::join(std::span(all).first(all.size() - 1), ", "), all.back());
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
  struct Given {  // by the rule of a node
    const GraphNode* by;
    const GraphPullback* pullback;
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
  void reason(const Given& given);
  void sum_reason(const GraphNode& node);

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
  std::map<NodeId, std::vector<Given>> given_;               // by the node that holds it
  std::map<NodeId, std::vector<const GraphNode*>> readers_;  // forward
  std::string out_;
};

void Document::index() {
  for (const GraphNode& node : graph_.nodes) {
    for (const GraphPullback& pullback : node.pullbacks) given_[pullback.node].push_back({&node, &pullback});
    if (node.sweep != 0) continue;
    for (const NodeId in : node.inputs) readers_[in].push_back(&node);
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
  if (node.role == Role::accumulation) {
    sum_reason(node);
  } else if (node.role == Role::seed && node.cotangent_of != kNoNode) {
    paragraph(fmt::format("Given: the cotangent of {}, with which the sweep begins.", math(node.cotangent_of)));
  } else if (node.sweep != 0) {
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
  if (options_.source_lines && !node.where.empty()) text += ", " + code(node.where);
  if (node.sweep == 0) {
    std::vector<std::string> readers;
    if (const auto found = readers_.find(node.id); found != readers_.end()) {
      for (const GraphNode* reader : found->second) {
        const GraphNode* home = this->node(graph_.spelled_out_by(reader->id));
        const std::string step = home->step.empty() ? "" : " in step " + escaped(home->step);
        const std::string word = (home->role == Role::scope ? code(home->name) : math(home->id)) + step;
        if (std::ranges::find(readers, word) == readers.end()) readers.push_back(word);
      }
    }
    if (readers.size() > 1) text += fmt::format(". Used {} times: for {}", readers.size(), listed(readers));
  }
  paragraph(text + ".");
}

// The cotangent that a node holds may have come through several rules.
void Document::reasons(NodeId id, std::uint32_t sweep, const std::string& name) {
  const auto found = given_.find(id);
  if (found == given_.end()) return;
  for (const Given& given : found->second) {
    if (given.pullback->sweep != sweep) continue;
    // One node may be the cotangent of several inputs: each name says its own.
    if (given.pullback->name == name || given.pullback->name.starts_with('%')) reason(given);
  }
}

void Document::reason(const Given& given) {
  const GraphNode* by = given.by;
  const GraphPullback* pullback = given.pullback;
  const NodeId target = by->inputs[pullback->input];
  const std::string to = math(target);
  const std::string of = math(by->id);
  const auto gradient = std::ranges::find(by->gradients, pullback->sweep, &GraphGradient::sweep);
  const std::string incoming = gradient == by->gradients.end() ? "the cotangent" : math(gradient->name);
  std::string text;
  const bool uses_cotangent = [&] {  // the word ct, not a part of another
    const std::string& local = pullback->local;
    for (std::size_t at = local.find("ct"); at != std::string::npos; at = local.find("ct", at + 1)) {
      const auto letter = [&](std::size_t i) {
        return i < local.size() && (std::isalnum(local[i]) || local[i] == '_');
      };
      if (!(at > 0 && letter(at - 1)) && !letter(at + 2)) return true;
    }
    return false;
  }();
  if (pullback->local == "1") {
    text = fmt::format("{} depends on {} with derivative $1$: the cotangent {} passes as it is.", of, to, incoming);
  } else if (uses_cotangent) {
    text = fmt::format("The rule of {} takes the cotangent $ct$ = {} to ${}$.", code(by->op), incoming,
                       notation_.formula(pullback->local));
  } else {
    text = fmt::format("Chain rule: {} times the derivative of {} by {}, which is ${}$.", incoming, of, to,
                       notation_.formula(pullback->local));
  }
  if (const GraphNode* input = node(target)) {
    const std::int64_t many = by->shape.numel();
    const std::int64_t few = input->shape.numel();
    if (by->kind == Kind::elementwise && few > 0 && few < many) {
      text += fmt::format(
          " {} {} was broadcast to {}: each of its elements had a part in {} results, so their cotangents are summed.",
          to, code(to_string(input->shape)), code(to_string(by->shape)), many / few);
    } else if (by->kind == Kind::reduction && many > 0 && many < few) {
      text += fmt::format(" {} took {} elements of {} to one, so each of them receives that one's cotangent.",
                          code(by->op), few / many, to);
    }
  }
  paragraph(text);
}

void Document::sum_reason(const GraphNode& sum) {
  const GraphNode* of = node(sum.origin);
  if (!of) return;
  std::vector<std::string> ways;
  if (const auto found = readers_.find(of->id); found != readers_.end()) {
    for (const GraphNode* reader : found->second) {
      const std::string way = math(graph_.spelled_out_by(reader->id));
      if (std::ranges::find(ways, way) == ways.end()) ways.push_back(way);
    }
  }
  const std::string name = math(of->id);
  std::string text = ways.size() > 1 ? fmt::format("{} goes {} ways: to {}.", name, ways.size(), listed(ways))
                                     : fmt::format("{} is used more than once.", name);
  paragraph(text +
            fmt::format(" A change of {} moves the result through each of them, so the contributions add.", name));
}

}  // namespace

std::string write_markdown(const Graph& graph, const DumpOptions& options) { return Document(graph, options).write(); }

}  // namespace ebb
