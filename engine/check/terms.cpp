#include <ebb/engine/check/terms.h>
#include <ebb/engine/grad/grad.h>

#include <algorithm>
#include <cmath>

namespace ebb {
namespace {

bool has_value(const Tape& tape, NodeId id) {
  const Presence presence = tape.node(id).presence;
  return presence != Presence::traced && presence != Presence::released;
}

bool same_graph(const Tape& a, const Tape& b, NodeId end) {
  for (NodeId id = 0; id < end; ++id) {
    if (id >= b.size() || a.node(id).row != b.node(id).row || a.node(id).value.shape() != b.node(id).value.shape()) {
      return false;
    }
  }
  return true;
}

// The root of the sum of squares of cotangent * (after - before) / 2h.
double root_of_squares(const std::vector<double>& cotangent, const Tensor& before, const Tensor& after, double h) {
  double sum = 0;
  for (std::size_t i = 0; i < cotangent.size(); ++i) {
    const std::int64_t at = static_cast<std::int64_t>(i);
    const double term = cotangent[i] * (after.at(at) - before.at(at)) / (2 * h);
    if (std::isfinite(term)) sum += term * term;
  }
  return std::sqrt(sum);
}

// The value of a node if input `k` alone came from `other`.
Tensor with_input_from(const Tape& here, const Tape& other, NodeId id, std::size_t k) {
  const Node& node = here.node(id);
  Tape scratch;
  std::vector<Operand> inputs;
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId in = here.input(node, i);
    inputs.push_back(scratch.leaf(i == k ? other.value(in) : here.value(in)));
  }
  return scratch.record(*node.row, inputs, node.attrs).value();
}

}  // namespace

std::vector<bool> reached(const Tape& tape, NodeId y) {
  std::vector<bool> reached(std::size_t{y} + 1);
  reached[y] = is_floating(tape.node(y).value.dtype());
  for (NodeId id = y + 1; id-- > 0;) {
    if (!reached[id]) continue;
    const Node& node = tape.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape.input(node, i);
      if (node.row->vjp[i].differentiable() && is_floating(tape.node(in).value.dtype())) reached[in] = true;
    }
  }
  return reached;
}

Cotangents cotangents(Tape& tape, std::span<const Var> outputs, std::span<const Tensor> weights) {
  Cotangents all;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const std::vector<bool> on_path = reached(tape, outputs[k].id());
    Vars nodes;
    for (NodeId id = 0; id < on_path.size(); ++id) {
      if (on_path[id]) nodes.push_back(tape.var(id));
    }
    const Vars found = pullback(outputs[k], tape.leaf(weights[k]), nodes, {.keep = true, .unused = {}});
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const Tensor& value = found[i].value();
      std::vector<double>& sum = all[nodes[i].id()];
      sum.resize(static_cast<std::size_t>(value.numel()));
      for (std::size_t j = 0; j < sum.size(); ++j) sum[j] += value.at(static_cast<std::int64_t>(j));
    }
  }
  return all;
}

double size_of_terms(const Tape& here, const Cotangents& cotangents, const Tape& before, const Tape& after, double h) {
  if (cotangents.empty()) return 0;
  const NodeId end = cotangents.rbegin()->first + 1;
  if (!same_graph(here, before, end) || !same_graph(here, after, end)) return 0;
  // What moves between the two tapes.
  std::vector<bool> moves(end);
  for (NodeId id = 0; id < end; ++id) {
    moves[id] = has_value(before, id) && has_value(after, id) && !identical(before.value(id), after.value(id));
  }
  double largest = 0;
  for (const auto& [id, cotangent] : cotangents) {
    const Node& node = here.node(id);
    if (moves[id]) largest = std::max(largest, root_of_squares(cotangent, before.value(id), after.value(id), h));
    // Contributions of single inputs: they can cancel within a node, as in x / deviation(x) of two values.
    std::size_t moving = 0;
    bool known = true;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      moving += moves[here.input(node, i)];
      known &= has_value(here, here.input(node, i));
    }
    if (moving < 2 || !known) continue;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      if (!moves[here.input(node, i)]) continue;
      try {
        largest = std::max(largest, root_of_squares(cotangent, with_input_from(here, before, id, i),
                                                    with_input_from(here, after, id, i), h));
      } catch (const Error&) {
        continue;  // a kernel may refuse inputs that do not belong together
      }
    }
  }
  return largest;
}

}  // namespace ebb
