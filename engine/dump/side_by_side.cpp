#include <ebb/engine/dump/side_by_side.h>

#include <ebb/engine/dump/graph.h>
#include <ebb/engine/program/explain.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace ebb {
namespace {

// "5a" and "5b" are one step; forward and backward are two.
std::string step_of(const GraphNode& node) {
  if (node.step.empty()) return {};
  std::string step = node.step;
  while (step.size() > 1 && step.back() >= 'a' && step.back() <= 'z') step.pop_back();
  return fmt::format("{} {}", step, node.sweep);
}

struct Work {  // of one action
  std::set<std::string> names, steps;
};

Work work_of(const Action& action, const Graph& graph) {
  std::vector<NodeId> nodes = action.steps;
  nodes.insert(nodes.end(), action.reductions.begin(), action.reductions.end());
  if (action.kind != Action::Kind::loop) nodes = {action.node};
  Work out;
  for (const NodeId id : nodes) {
    const GraphNode& node = graph.nodes[graph.index_of(id)];
    for (const std::string& name : node.names) out.names.insert(name);
    if (const std::string step = step_of(node); !step.empty()) out.steps.insert(step);
  }
  return out;
}

}  // namespace

DumpColumn loops_beside(const Tape& tape, const Program& program) {
  const Graph staged = describe(tape);
  const Graph optimised = describe(*program.optimised().tape);
  const Explanation explanation = explain(program);
  DumpColumn out;
  out.title = "compiled loops";
  std::vector<Work> work;
  for (std::size_t a = 0; a < explanation.actions.size(); ++a) {
    const Explanation::Action& action = explanation.actions[a];
    DumpPart part;
    part.title = fmt::format("{} {}", action.what, a + 1);
    if (action.what == "loop") part.title += " over " + to_string(action.shape);
    part.detail = fmt::format("{} bytes read, {} written", action.bytes_read, action.bytes_written);
    for (const std::string& step : action.steps) part.lines.push_back(step);
    out.parts.push_back(std::move(part));
    work.push_back(work_of(program.schedule().actions[a], optimised));
  }
  for (const GraphNode& node : staged.nodes) {
    if (node.folded_into != kNoNode || node.kind == Kind::source) continue;
    const auto gather = [&](auto&& does) {
      bool any = false;
      for (std::size_t a = 0; a < work.size(); ++a) {
        if (!does(work[a])) continue;
        out.parts[a].nodes.push_back(node.id);
        any = true;
      }
      return any;
    };
    const std::string step = step_of(node);
    const auto by_name = [&](const Work& w) {
      return std::ranges::any_of(node.names, [&](const std::string& name) { return w.names.contains(name); });
    };
    if (!gather(by_name) && !step.empty()) gather([&](const Work& w) { return w.steps.contains(step); });
  }
  return out;
}

}  // namespace ebb
