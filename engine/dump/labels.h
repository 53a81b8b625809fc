// What the nodes of a tape are called, and the formulas that say how they are computed.
//
// A formula is the row's own expression with the names of the operands in it. What a cotangent is called depends on who
// reads it: the sum at xmu is dxmu to the rule of xmu, and dx1 to the sum at x.
#pragma once

#include <ebb/engine/lanes/symbol.h>
#include <ebb/engine/tape/tape.h>

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

namespace ebb::detail {

inline constexpr std::uint32_t kNoEntry = 0xffffffff;

/// The number of a name in a formula is the node that it stands for; this one's stands for none.
inline constexpr double kNoNumber = -1;

/// A name as a formula has it: in quotes if it could be read as a formula of its own.
std::string quoted_name(std::string name);

/// A call of `row` on `operands`: its expression, or `matmul(a, b, transpose_b=true)`.
lane::Symbol call_of(const Row& row, std::span<const lane::Symbol> operands, std::span<const Attr> attrs);

class Labels {
 public:
  /// Labels all of `tape`. Parts are only spelled out in formulas of nodes that `shown` holds too.
  Labels(const Tape& tape, const std::vector<bool>& shown);

  /// The text of an entry of Tape::names(); empty if it is void.
  const std::string& text(std::uint32_t entry) const { return texts_[entry]; }
  /// The entry of a node's first name, or kNoEntry.
  std::uint32_t first(NodeId id) const { return first_[id]; }
  bool is_alias(std::uint32_t entry) const;
  /// A literal that is printed where it is used.
  bool is_literal(NodeId id) const;
  /// The node's first name, its number, or the value of a literal.
  std::string label(NodeId id) const;

  const std::string& formula(NodeId id) const { return formula_texts_[id]; }
  /// The same as a tree, in which the number of a name is the node that it stands for.
  const lane::Symbol& spelled(NodeId id) const { return formulas_[id]; }
  /// What stands for input `slot` in the formula of `node`.
  lane::Symbol operand(NodeId node, std::size_t slot) const;
  /// A call of the node's row on `operands`, with its attributes.
  lane::Symbol call(NodeId id, std::span<const lane::Symbol> operands) const;
  NodeId folded_into(NodeId id) const { return folded_[id]; }
  std::uint32_t uses(NodeId id) const { return uses_[id]; }

  /// The entry by which `node` knows its input `slot`, or kNoEntry if that is a number, a literal or a part.
  std::uint32_t known_as(NodeId node, std::size_t slot) const;
  /// The entry that alias `entry` is another name of, or kNoEntry.
  std::uint32_t alias_of(std::uint32_t entry) const;
  /// What `node` is called as the cotangent of `of`: a name that it bears for that, or its label.
  std::string cotangent_name(NodeId node, NodeId of, std::uint32_t sweep) const;

 private:
  struct Key {
    NodeId node, of;
    std::uint32_t sweep;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    std::size_t operator()(const Key& key) const {
      std::uint64_t h = (std::uint64_t{key.node} << 32 | key.of) * 0x9e3779b97f4a7c15u;
      h = (h ^ (h >> 29) ^ key.sweep) * 0xbf58476d1ce4e5b9u;
      return static_cast<std::size_t>(h ^ (h >> 32));
    }
  };

  void index_names();
  void fold(const std::vector<bool>& shown);
  bool mentions_once(const Row& row, std::size_t slot);
  lane::Symbol spelled_operand(NodeId node, std::size_t slot);
  lane::Symbol formula_of(NodeId id);
  std::string qualified(std::uint32_t entry, std::uint32_t scope) const;

  const Tape& tape_;
  std::vector<std::string> texts_;
  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> uses_;
  std::vector<NodeId> folded_;
  std::vector<lane::Symbol> formulas_;
  std::vector<std::string> formula_texts_;
  std::unordered_map<Key, std::vector<std::uint32_t>, KeyHash> cotangents_;
  std::unordered_map<NodeId, std::uint32_t> summand_;            // of a sum of contributions: which of them it added
  std::unordered_map<std::string_view, std::uint32_t> bearers_;  // how many entries share a text, over all scopes
  std::map<std::pair<const Row*, std::size_t>, bool> once_;
};

}  // namespace ebb::detail
