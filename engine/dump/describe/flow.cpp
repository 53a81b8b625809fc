#include <ebb/engine/dump/describe/flow.h>
#include <ebb/engine/row/structural.h>

#include <algorithm>

namespace ebb::detail {
namespace {

const lane::Symbol kOne{lane::Symbol::Op::literal, "1", 1, {}};

}  // namespace

bool is_unit(const lane::Symbol& symbol) { return symbol.op == kOne.op && symbol.value == kOne.value; }

bool mentions_cotangent(const lane::Symbol& local) {
  return (local.op == lane::Symbol::Op::name && local.value == kNoNumber && local.word == kCotangent) ||
         std::ranges::any_of(local.operands, mentions_cotangent);
}

Flow::Flow(const Tape& tape, const Labels& labels) : tape_(tape), labels_(labels) {
  find_seeds();
  find_cotangents();
  find_terms();
}

bool Flow::reads_forward(NodeId id, NodeId in) const {
  const Node& node = tape_.node(id);
  if (tape_.node(in).sweep == node.sweep) return !carries_[in];
  if (node.origin == kNoNode || tape_.node(in).row == &kConstant) return true;
  if (node.accumulation) return false;
  if (in == node.origin) return true;
  const Node& origin = tape_.node(node.origin);
  for (std::size_t i = 0; i < origin.inputs; ++i) {
    if (tape_.input(origin, i) == in) return true;
  }
  return false;
}

void Flow::find_seeds() {
  carries_.assign(tape_.size(), false);
  seeds_sweep_.assign(tape_.size(), 0);
  seeds_of_.assign(tape_.size(), kNoNode);
  // The rules that see a seed are those of the node the sweep began at, and of nodes before it.
  const auto seen_by = [&](NodeId seed, NodeId origin) {
    NodeId& of = seeds_of_[seed];
    if (origin != kNoNode && (of == kNoNode || of < origin)) of = origin;
  };
  std::vector<bool> forward_use(tape_.size());
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    bool constants = node.inputs > 0;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      constants = constants && tape_.node(in).row == &kConstant;
      if (node.sweep == 0) {
        forward_use[in] = true;
      } else if (!reads_forward(id, in)) {
        carries_[id] = true;
        if (tape_.node(in).sweep == 0 && seeds_sweep_[in] == 0) seeds_sweep_[in] = node.sweep;
        if (tape_.node(in).sweep == 0 && seeds_sweep_[in] == node.sweep) seen_by(in, node.origin);
      }
    }
    // The gradient of a scalar begins with the literal 1.
    if (node.sweep != 0 && constants) carries_[id] = true;
  }
  for (std::size_t i = 0; i < tape_.names().size(); ++i) {
    const NameEntry& entry = tape_.names()[i];
    if (entry.kind != NameKind::given && entry.sweep == seeds_sweep_[entry.node]) seen_by(entry.node, entry.origin);
  }
  // A forward value that happens to be a cotangent too stays where it is.
  for (NodeId id = 0; id < tape_.size(); ++id) {
    if (forward_use[id]) seeds_sweep_[id] = 0;
  }
}

void Flow::find_cotangents() {
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    if (seeds_sweep_[id] != 0 && seeds_of_[id] != kNoNode) whole_[{seeds_of_[id], seeds_sweep_[id]}] = id;
    if (node.sweep == 0 || node.origin == kNoNode) continue;
    if (node.accumulation) {
      whole_[{node.origin, node.sweep}] = id;  // the last one is the whole sum
      continue;
    }
    if (!carries_[id]) continue;
    bool literal = true;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      if (reads_forward(id, in)) continue;
      literal = false;
      // Passes of a compiler leave in a rule what is no cotangent of its node: another's, or a forward value.
      if (tape_.node(in).value.shape() != tape_.node(node.origin).value.shape()) continue;
      if (tape_.mode() == Tape::Mode::trace && tape_.node(in).sweep == 0 && seeds_sweep_[in] == 0) continue;
      if (!of_rule(in, node.origin, node.sweep)) whole_.try_emplace({node.origin, node.sweep}, in);
    }
    for (std::size_t i = 0; i < node.inputs && literal; ++i) {
      if (is_one(node, i)) whole_.try_emplace({node.origin, node.sweep}, tape_.input(node, i));
    }
  }
  std::map<Key, NodeId> named;
  for (std::size_t i = 0; i < tape_.names().size(); ++i) {
    const NameEntry& entry = tape_.names()[i];
    if (entry.kind == NameKind::given) continue;
    named[{entry.of, entry.sweep}] = entry.node;
  }
  for (const auto& [key, node] : named) whole_[key] = node;
  find_passed();
}

// A rule that only passes its cotangent on records nothing: what an input has from it alone is its own cotangent.
void Flow::find_passed() {
  std::vector<std::map<std::uint32_t, std::size_t>> uses(tape_.size());  // by the sweep of the user
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      if (node.row->vjp[i].differentiable()) ++uses[tape_.input(node, i)][node.sweep];
    }
  }
  const auto only_use = [&](NodeId in, std::uint32_t sweep) {
    std::size_t before = 0;
    for (const auto& [at, count] : uses[in]) before += at < sweep ? count : 0;
    return before == 1;
  };
  std::map<NodeId, std::vector<std::uint32_t>> sweeps;
  for (const auto& [key, node] : whole_) sweeps[key.first].push_back(key.second);
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      const auto found = sweeps.find(in);
      if (found == sweeps.end() || !node.row->vjp[i].differentiable()) continue;
      if (tape_.node(in).value.shape() != node.value.shape()) continue;
      for (const std::uint32_t sweep : std::vector(found->second)) {
        if (node.sweep >= sweep || !only_use(in, sweep)) continue;
        if (whole_.try_emplace({id, sweep}, whole_.at({in, sweep})).second) sweeps[id].push_back(sweep);
      }
    }
  }
}

// The literal that the gradient of a scalar begins with.
bool Flow::is_one(const Node& node, std::size_t input) const {
  const Node& in = tape_.node(tape_.input(node, input));
  return in.row == &kConstant && in.value.at(0) == 1;
}

// Of the nodes that the rule of `by` recorded, not counting sums of contributions to the cotangent of `by`.
bool Flow::of_rule(NodeId id, NodeId by, std::uint32_t sweep) const {
  const Node& node = tape_.node(id);
  return node.sweep == sweep && node.origin == by && !node.accumulation;
}

void Flow::flatten(NodeId sum, std::vector<Contribution>& terms) const {
  // A chain, the first contributions innermost: as long as a node has uses, so no recursion.
  std::vector<std::pair<NodeId, std::size_t>> slots;
  const NodeId of = tape_.node(sum).origin;
  const std::uint32_t sweep = tape_.node(sum).sweep;
  const auto is_sum = [&](NodeId id) {
    return tape_.node(id).accumulation && tape_.node(id).origin == of && tape_.node(id).sweep == sweep;
  };
  for (NodeId at = sum;;) {
    slots.emplace_back(at, 1);
    const NodeId before = tape_.input(tape_.node(at), 0);
    if (!is_sum(before)) {
      slots.emplace_back(at, 0);
      break;
    }
    at = before;
  }
  std::ranges::reverse(slots);
  for (const auto& [at, slot] : slots) {
    const NodeId in = tape_.input(tape_.node(at), slot);
    const std::uint32_t entry = labels_.known_as(at, slot);
    terms.push_back({in, kNoNode, 0, entry == kNoEntry ? labels_.label(in) : labels_.text(entry)});
  }
}

// A sweep walks ids downwards and the inputs of each upwards: in this order uses and contributions are pairs.
void Flow::find_terms() {
  std::map<NodeId, std::vector<std::pair<NodeId, std::size_t>>> uses;
  for (NodeId id = static_cast<NodeId>(tape_.size()); id-- > 0;) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      if (node.row->vjp[i].differentiable()) uses[tape_.input(node, i)].emplace_back(id, i);
    }
  }
  for (const auto& [key, node] : whole_) {
    const auto [of, sweep] = key;
    Cotangent cotangent{sweep, node, {}};
    if (tape_.node(node).accumulation && tape_.node(node).origin == of) {
      flatten(node, cotangent.terms);
    } else if (seeds_sweep_[node] != sweep || seeds_of_[node] != of) {
      cotangent.terms.push_back({node, kNoNode, 0, labels_.cotangent_name(node, of, sweep)});
    }
    std::vector<std::pair<NodeId, std::size_t>> users;
    if (const auto found = uses.find(of); found != uses.end()) {
      for (const auto& use : found->second) {
        if (whole_.contains({use.first, sweep})) users.push_back(use);
      }
    }
    // A node that a sweep began at, which others use as well, has one term more than uses.
    const std::size_t extra = cotangent.terms.size() - std::min(users.size(), cotangent.terms.size());
    if (users.size() + extra == cotangent.terms.size() && extra <= 1) {
      for (std::size_t i = 0; i < users.size(); ++i) {
        Contribution& term = cotangent.terms[i + extra];
        term.by = users[i].first;
        term.input = users[i].second;
        given_[term.by].emplace_back(sweep, term);
      }
    }
    cotangents_[of].push_back(std::move(cotangent));
  }
}

const std::vector<Cotangent>& Flow::cotangents(NodeId id) const {
  static const std::vector<Cotangent> none;
  const auto found = cotangents_.find(id);
  return found == cotangents_.end() ? none : found->second;
}

const std::vector<std::pair<std::uint32_t, Contribution>>& Flow::given_by(NodeId id) const {
  static const std::vector<std::pair<std::uint32_t, Contribution>> none;
  const auto found = given_.find(id);
  return found == given_.end() ? none : found->second;
}

// Whether everything between a contribution and the cotangent is spelled out by formulas; sums and movements only fit
// the cotangent to the input's shape.
bool Flow::is_factor(NodeId id, NodeId by, std::uint32_t sweep) const {
  const Node& node = tape_.node(id);
  if (!node.row->expression && node.row->kind != Kind::movement && node.row != &kSum) return false;
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId in = tape_.input(node, i);
    if (!reads_forward(id, in) && of_rule(in, by, sweep) && !is_factor(in, by, sweep)) return false;
  }
  return true;
}

// The formula of a rule's node with `unit` in the cotangent's place.
lane::Symbol Flow::formula(NodeId id, NodeId by, std::uint32_t sweep, const lane::Symbol& unit) const {
  const Node& node = tape_.node(id);
  std::vector<lane::Symbol> operands(node.inputs);
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId in = tape_.input(node, i);
    if (reads_forward(id, in)) {
      operands[i] = labels_.operand(id, i);
    } else {
      operands[i] = of_rule(in, by, sweep) ? formula(in, by, sweep, unit) : unit;
    }
  }
  if (!node.row->expression) return is_unit(unit) ? operands[0] : labels_.call(id, operands);
  lane::Symbol whole = node.row->expression(operands);
  // 1 * a and a * 1 are a.
  if (whole.op == lane::Symbol::Op::multiply) {
    if (is_unit(whole.operands[0])) return whole.operands[1];
    if (is_unit(whole.operands[1])) return whole.operands[0];
  }
  return whole;
}

lane::Symbol Flow::local_derivative(std::uint32_t sweep, const Contribution& contribution) const {
  const auto [node, by, input, name] = contribution;
  if (!of_rule(node, by, sweep)) return kOne;  // the rule passed its cotangent on
  return formula(node, by, sweep, is_factor(node, by, sweep) ? kOne : lane::Symbol::name(kCotangent, kNoNumber));
}

}  // namespace ebb::detail
