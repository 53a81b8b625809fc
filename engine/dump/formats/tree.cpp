// The dump as a tree in text: forward and each sweep, in them the scopes and the steps, below a node what its formula
// spells out.
#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>

#include <map>
#include <vector>

namespace ebb {
namespace {

constexpr std::size_t kLongest = 96;  // columns of a formula

struct Branch {
  std::string head;                 // first line
  std::vector<std::string> values;  // further lines
  std::string key;                  // of a scope or a step: consecutive ones of one key are one branch
  std::vector<Branch> below;
};

class Tree {
 public:
  Tree(const Graph& graph, const DumpOptions& options) : graph_(graph), options_(options) {}

  std::string write() {
    for (const GraphNode& node : graph_.nodes) {
      if (node.folded_into != kNoNode && graph_.index_of(node.folded_into) != kNoIndex) {
        parts_[node.folded_into].push_back(node.id);
      }
    }
    out_ = heading(graph_);
    for (const GraphSection& section : graph_.sections) {
      Branch root;
      for (const GraphStep& step : section.steps) {
        for (const GraphItem& item : step.items) put(root, step, item);
      }
      out_ += "\n" + colored(section.title, "1") + "\n";
      lines(root, "");
    }
    return std::move(out_);
  }

 private:
  std::string colored(const std::string& text, std::string_view code) const {
    return options_.color && !text.empty() ? fmt::format("\x1b[{}m{}\x1b[0m", code, text) : text;
  }
  std::string head(const std::string& name, const std::string& formula, const std::string& small, bool backward,
                   std::string_view sign) const;
  Branch branch_of(const GraphNode& node) const;
  Branch branch_of(const GraphAlias& alias) const;
  Branch& scope(Branch& root, std::size_t index);
  static Branch& open(Branch& in, const std::string& key, const std::string& head);
  void put(Branch& root, const GraphStep& step, const GraphItem& item);
  void lines(const Branch& branch, const std::string& indent);

  const Graph& graph_;
  const DumpOptions& options_;
  std::map<NodeId, std::vector<NodeId>> parts_;
  std::string out_;
};

std::string Tree::head(const std::string& name, const std::string& formula, const std::string& small, bool backward,
                       std::string_view sign) const {
  std::string out = colored(printable(name), backward ? "1;31" : "1;34");
  if (!formula.empty()) out += fmt::format("{}{}{}", out.empty() ? "" : " ", sign, shortened(formula, kLongest));
  return small.empty() ? out : out + "  " + colored(small, "2");
}

void append_lines(std::vector<std::string>& lines, const std::string& text) {
  for (std::size_t begin = 0; begin != std::string::npos;) {
    const std::size_t end = text.find('\n', begin);
    lines.push_back(text.substr(begin, end - begin));
    begin = end == std::string::npos ? end : end + 1;
  }
}

Branch Tree::branch_of(const GraphNode& node) const {
  std::string small = type_of(node);
  if (node.role == Role::scope) {
    small += fmt::format("{}{} node{}", small.empty() ? "" : ", ", node.stands_for, node.stands_for == 1 ? "" : "s");
  }
  if (const std::string cost = cost_of(node); !cost.empty()) small += (small.empty() ? "" : ", ") + cost;
  if (node.uses > 1) small += fmt::format(", used {} times", node.uses);
  if (node.role == Role::accumulation) small += ", sum at " + printable(graph_.label_of(node.origin));
  if (!node.derivative.empty()) small += ", " + printable(node.derivative);
  if (options_.source_lines && !node.where.empty()) small += "  " + node.where;
  const std::string label = printable(graph_.label_of(node.id)) + times(node.repeats);
  Branch out;
  out.head = head(label, node.formula, small, node.sweep != 0 || node.role == Role::seed,
                  node.role == Role::scope ? "" : "= ");
  if (node.role == Role::failed) out.values.push_back(colored("failed: " + printable(node.message), "1;33"));
  if (options_.values && node.value) append_lines(out.values, to_string(*node.value));
  if (options_.values && node.presence == Presence::released) out.values.emplace_back("(released)");
  if (const auto parts = parts_.find(node.id); parts != parts_.end()) {
    for (const NodeId part : parts->second) out.below.push_back(branch_of(graph_.nodes[graph_.index_of(part)]));
  }
  return out;
}

Branch Tree::branch_of(const GraphAlias& alias) const {
  Branch out;
  out.head = head(alias.name, alias.same_as, printable(alias.derivative), alias.sweep != 0, "= ");
  return out;
}

Branch& Tree::open(Branch& in, const std::string& key, const std::string& head) {
  if (in.below.empty() || in.below.back().key != key) in.below.push_back({head, {}, key, {}});
  return in.below.back();
}

Branch& Tree::scope(Branch& root, std::size_t index) {
  if (index == 0) return root;
  const GraphScope& s = graph_.scopes[index];
  return open(scope(root, s.parent), fmt::format("scope {}", index),
              colored(printable(s.name) + times(s.repeats), "1"));
}

void Tree::put(Branch& root, const GraphStep& step, const GraphItem& item) {
  const GraphNode* node = item.alias ? nullptr : &graph_.nodes[item.index];
  if (node && graph_.spelled_out_by(node->id) != node->id) return;  // hangs below another
  Branch* in = &scope(root, step.scope);
  if (!step.label.empty()) {
    const std::string label = "step " + printable(step.label);
    in = &open(*in, label, colored(label, "2"));
  }
  in->below.push_back(node ? branch_of(*node) : branch_of(graph_.aliases[item.index]));
}

void Tree::lines(const Branch& branch, const std::string& indent) {
  for (std::size_t i = 0; i < branch.below.size(); ++i) {
    const Branch& b = branch.below[i];
    const bool last = i + 1 == branch.below.size();
    const std::string below = indent + (last ? "   " : "│  ");
    out_ += indent + (last ? "└─ " : "├─ ") + b.head + "\n";
    for (const std::string& value : b.values) {
      out_ += below;
      out_ += b.below.empty() ? "   " : "│  ";
      out_ += value;
      out_ += '\n';
    }
    lines(b, below);
  }
}

}  // namespace

std::string write_tree(const Graph& graph, const DumpOptions& options) { return Tree(graph, options).write(); }

}  // namespace ebb
