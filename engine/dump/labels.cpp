#include <ebb/engine/dump/labels.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <ranges>

namespace ebb::detail {
namespace {

constexpr std::size_t kLongestPart = 48;  // a longer formula is not spelled out inside another

// A minus is an operator, as it is for a reader.
lane::Symbol literal(const Tensor& value) {
  std::string text =
      value.dtype() == DType::boolean ? (value.at(0) != 0 ? "true" : "false") : fmt::format("{}", value.at(0));
  if (value.dtype() == DType::f32) text = fmt::format("{}", static_cast<float>(value.at(0)));
  const bool negative = text.starts_with('-');
  lane::Symbol number{lane::Symbol::Op::literal, text.substr(negative ? 1 : 0), value.at(0), {}};
  if (!negative) return number;
  number.value = -number.value;
  return -number;
}

}  // namespace

std::string quoted_name(std::string name) {
  const bool plain = std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '.' ||
           c == '#' || c == '\'' || static_cast<unsigned char>(c) >= 0x80;
  });
  return plain ? name : fmt::format("`{}`", name);
}

Labels::Labels(const Tape& tape, const std::vector<bool>& shown)
    : tape_(tape),
      texts_(tape.name_texts()),
      first_(tape.size(), kNoEntry),
      uses_(tape.size()),
      folded_(tape.size(), kNoNode),
      formulas_(tape.size()),
      formula_texts_(tape.size()) {
  index_names();
  fold(shown);
  for (NodeId id = 0; id < tape_.size(); ++id) {
    formulas_[id] = formula_of(id);
    formula_texts_[id] = formulas_[id].text();
  }
}

void Labels::index_names() {
  for (std::uint32_t i = 0; i < texts_.size(); ++i) {
    const NameEntry& entry = tape_.names()[i];
    if (entry.kind == NameKind::cotangent) summand_[entry.node] = entry.index;
    if (texts_[i].empty()) continue;
    ++bearers_[texts_[i]];
    // A literal is printed as its value, so that all names of its cotangents are further names.
    const bool anonymous = entry.kind != NameKind::given && tape_.node(entry.node).row == &kConstant;
    if (first_[entry.node] == kNoEntry && !anonymous) first_[entry.node] = i;
    if (entry.kind != NameKind::given) cotangents_[{entry.node, entry.of, entry.sweep}].push_back(i);
  }
}

bool Labels::is_alias(std::uint32_t entry) const {
  return !texts_[entry].empty() && first_[tape_.names()[entry].node] != entry;
}

bool Labels::is_literal(NodeId id) const { return tape_.node(id).row == &kConstant && first_[id] == kNoEntry; }

std::string Labels::label(NodeId id) const {
  if (first_[id] != kNoEntry) return texts_[first_[id]];
  return is_literal(id) ? literal(tape_.node(id).value).text() : fmt::format("%{}", id);
}

// An unnamed node that only one other uses is spelled out in that one's formula if both belong to one derivative rule,
// or if a name stands at the end: `dvar = 0.5 / sqrtvar * dsqrtvar` says more than two lines with a number between
// them.
void Labels::fold(const std::vector<bool>& shown) {
  std::vector<NodeId> user(tape_.size(), kNoNode);
  std::vector<std::size_t> slot(tape_.size());
  for (NodeId id = 0; id < tape_.size(); ++id) {
    const Node& node = tape_.node(id);
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      ++uses_[in];
      user[in] = id;
      slot[in] = i;
    }
  }
  for (NodeId id = static_cast<NodeId>(tape_.size()); id-- > 0;) {
    const Node& node = tape_.node(id);
    if (node.inputs == 0 || first_[id] != kNoEntry || uses_[id] != 1 || !shown[id] || !shown[user[id]]) continue;
    const Node& consumer = tape_.node(user[id]);
    const bool end = first_[user[id]] != kNoEntry || folded_[user[id]] != kNoNode || node.sweep != 0;
    if (end && node.sweep == consumer.sweep && node.origin == consumer.origin && node.scope == consumer.scope &&
        mentions_once(*consumer.row, slot[id])) {
      folded_[id] = user[id];
    }
  }
}

bool Labels::mentions_once(const Row& row, std::size_t slot) {
  if (!row.expression) return true;
  const auto [place, fresh] = once_.try_emplace({&row, slot}, false);
  if (fresh) {
    std::vector<lane::Symbol> probe(static_cast<std::size_t>(row.arity));
    probe[slot].word = "\x01";
    place->second = std::ranges::count(row.expression(probe).text(), '\x01') == 1;
  }
  return place->second;
}

std::uint32_t Labels::known_as(NodeId id, std::size_t slot) const {
  const Node& node = tape_.node(id);
  const NodeId in = tape_.input(node, slot);
  if (is_literal(in) || folded_[in] == id) return kNoEntry;
  if (node.origin != kNoNode && node.sweep != 0) {
    if (const auto found = cotangents_.find({in, node.origin, node.sweep}); found != cotangents_.end()) {
      // Two contributions may be one node: a sum's second summand is the one that it was recorded for.
      const auto sum = summand_.find(id);
      const std::uint32_t index = sum == summand_.end() ? 0 : slot == 1 ? sum->second : 1;
      for (const std::uint32_t entry : found->second) {
        if (index == 0 || tape_.names()[entry].index == index) return entry;
      }
      return found->second.front();
    }
  }
  return first_[in];
}

std::uint32_t Labels::alias_of(std::uint32_t i) const {
  const NameEntry& entry = tape_.names()[i];
  if (entry.kind != NameKind::given && entry.origin != kNoNode) {
    const auto found = cotangents_.find({entry.node, entry.origin, entry.sweep});
    if (found != cotangents_.end() && found->second.front() < i) {
      const auto& all = found->second;
      return *std::prev(std::ranges::lower_bound(all, i));
    }
  }
  return first_[entry.node];
}

std::string Labels::qualified(std::uint32_t entry, std::uint32_t scope) const {
  const std::string& text = texts_[entry];
  const NameEntry& named = tape_.names()[entry];
  const std::uint32_t home = tape_.node(named.kind == NameKind::given ? named.node : named.of).scope;
  const std::string path = home == scope || bearers_.at(text) == 1 ? "" : tape_.scope_path(home);
  return quoted_name(path.empty() ? text : fmt::format("{}.{}", path, text));
}

// As operand, but a part that grew too long is taken out of the formula.
lane::Symbol Labels::spelled_operand(NodeId id, std::size_t slot) {
  const NodeId in = tape_.input(tape_.node(id), slot);
  if (folded_[in] == id && formula_texts_[in].size() > kLongestPart) folded_[in] = kNoNode;
  return operand(id, slot);
}

lane::Symbol Labels::operand(NodeId id, std::size_t slot) const {
  const NodeId in = tape_.input(tape_.node(id), slot);
  if (is_literal(in)) return literal(tape_.node(in).value);
  if (folded_[in] == id) return formulas_[in];
  const std::uint32_t entry = known_as(id, slot);
  return lane::Symbol::name(entry == kNoEntry ? fmt::format("%{}", in) : qualified(entry, tape_.node(id).scope), in);
}

lane::Symbol call_of(const Row& row, std::span<const lane::Symbol> operands, std::span<const Attr> attrs) {
  const bool right = row.arity < 0 || static_cast<std::size_t>(row.arity) == operands.size();
  if (row.expression && right) return row.expression(operands);
  std::vector<lane::Symbol> arguments(operands.begin(), operands.end());
  for (const Attr& attr : attrs) {
    const bool* flag = std::get_if<bool>(&attr.value);
    if (flag && !*flag) continue;
    arguments.push_back(lane::Symbol::name(to_string(Attrs(std::span(&attr, 1))), kNoNumber));
  }
  return lane::Symbol::call(row.name, std::move(arguments));
}

lane::Symbol Labels::call(NodeId id, std::span<const lane::Symbol> operands) const {
  return call_of(*tape_.node(id).row, operands, tape_.node(id).attrs);
}

lane::Symbol Labels::formula_of(NodeId id) {
  const Node& node = tape_.node(id);
  if (node.row == &kConstant) return literal(node.value);
  if (node.inputs == 0 && node.attrs.empty()) return {};
  std::vector<lane::Symbol> operands(node.inputs);
  for (std::size_t i = 0; i < operands.size(); ++i) operands[i] = spelled_operand(id, i);
  return call(id, operands);
}

std::string Labels::cotangent_name(NodeId node, NodeId of, std::uint32_t sweep) const {
  const auto found = cotangents_.find({node, of, sweep});
  return found == cotangents_.end() ? label(node) : texts_[found->second.front()];
}

}  // namespace ebb::detail
