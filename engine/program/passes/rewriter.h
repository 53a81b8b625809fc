// The machine under every pass: it rebuilds a traced function node by node, what is needed and nothing else.
//
// A pass is a rule that may put something else in a node's place. Whatever is recorded on the way is looked up first,
// so each pass also removes dead code and merges equal nodes. Names, scopes, steps and source lines go with the nodes.
#pragma once

#include <ebb/engine/program/traced.h>

#include <functional>
#include <optional>
#include <unordered_map>

namespace ebb {

class Rewriter {
 public:
  explicit Rewriter(const Traced& from);

  const Traced& from() const { return from_; }
  const Tape& tape() const { return *tape_; }
  const Node& node(NodeId id) const { return to_.node(id); }
  NodeId input(NodeId id, std::size_t i) const { return to_.input(id, i); }
  const Shape& shape(NodeId id) const { return to_.type(id).shape(); }
  DType dtype(NodeId id) const { return to_.type(id).dtype(); }

  /// What stands for a node of the old graph in the new one.
  NodeId of(NodeId old) const { return map_[old]; }

  /// Records an op in the new graph, or finds the equal one.
  NodeId record(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs = {});
  NodeId record(const Row& row, std::initializer_list<NodeId> inputs, std::initializer_list<Attr> attrs = {}) {
    return record(row, std::span(inputs.begin(), inputs.size()), std::span(attrs.begin(), attrs.size()));
  }
  NodeId constant(double value, DType dtype);
  NodeId leaf(Tensor value);
  /// The old node's op on what stands for its inputs.
  NodeId copy(NodeId old);
  /// The node that record() would find; kNoNode if it is not there yet.
  NodeId find(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs = {}) const;

  /// Rebuilds everything, with what `rule` returns in the place of a node; a node for which it returns nothing is
  /// copied.
  using Rule = std::function<std::optional<NodeId>(Rewriter&, NodeId old)>;
  Traced run(const Rule& rule);

 private:
  std::size_t hash(const Row& row, std::span<const NodeId> inputs, std::span<const Attr> attrs) const;
  void take_place(NodeId old, NodeId id, std::size_t before);
  void copy_scopes();
  void copy_names();

  const Traced& from_;
  std::shared_ptr<Tape> tape_;  // to_'s, while it grows
  Traced to_;
  std::vector<NodeId> map_;
  std::unordered_multimap<std::size_t, NodeId> seen_;
  NodeId current_ = kNoNode;  // the old node that is being rebuilt
};

/// One rebuild of `traced` under a rule.
inline Traced rewrite(const Traced& traced, const Rewriter::Rule& rule) { return Rewriter(traced).run(rule); }

}  // namespace ebb
