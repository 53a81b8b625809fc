// How long one node takes: its row called again on the values it has read, by itself.
//
// What is measured is a call in eager mode, its recording and its output's memory with it. On a tape many elementwise
// nodes share one loop, and a program plans its memory ahead, so the sum over the nodes is more than the whole takes.
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace ebb {
namespace {

constexpr int kRuns = 15;

bool readable(const Node& node) { return node.presence != Presence::traced && node.presence != Presence::released; }

}  // namespace

std::optional<double> time_of(const Tape& tape, NodeId id) {
  using Clock = std::chrono::steady_clock;
  const Node& node = tape.node(id);
  if (node.row->kind == Kind::source || !readable(node)) return {};
  Tape scratch;
  std::vector<Operand> inputs;
  bool leaf = false;
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId in = tape.input(node, i);
    if (!readable(tape.node(in))) return {};
    const Tensor& value = tape.value(in);
    // A literal stays one; but of nothing else could a tape know its type.
    const bool last = i + 1 == static_cast<std::size_t>(node.inputs);
    if (tape.node(in).row == &kConstant && is_floating(value.dtype()) && (leaf || !last)) {
      inputs.emplace_back(value.at(0));
    } else {
      inputs.emplace_back(scratch.leaf(value));
      leaf = true;
    }
  }
  if (!leaf) return {};
  const Tape::Mark mark = scratch.mark();
  std::vector<double> seconds;
  for (int run = 0; run <= kRuns; ++run) {
    const Clock::time_point start = Clock::now();
    scratch.record(*node.row, inputs, node.attrs).value();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    scratch.rewind(mark);
  }
  seconds.erase(seconds.begin());  // the first meets cold memory
  std::ranges::nth_element(seconds, seconds.begin() + kRuns / 2);
  return seconds[kRuns / 2];
}

std::string duration(double seconds) {
  if (seconds < 1e-6) return fmt::format("{:.0f} ns", seconds * 1e9);
  if (seconds < 1e-3) return fmt::format("{:.3g} us", seconds * 1e6);
  return seconds < 1 ? fmt::format("{:.3g} ms", seconds * 1e3) : fmt::format("{:.3g} s", seconds);
}

std::string cost_of(const GraphNode& node) {
  if (node.role == Role::failed) return {};
  std::string out = fmt::format("{} B", node.bytes);
  if (node.flops > 0) out += fmt::format(", {:.10g} flop{}", node.flops, node.flops == 1 ? "" : "s");
  if (node.seconds) out += ", " + duration(*node.seconds);
  return out;
}

}  // namespace ebb
