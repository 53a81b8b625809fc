// Large graphs made small enough to read: repeated scopes shown once, scopes drawn as one node, the neighbourhood of
// one node.
//
// All of it is done to the plain description, before any writer sees it, and by one means: each node is given another
// that is shown in its place, then edges, names and steps follow. Private to this folder.
#pragma once

#include <ebb/engine/dump/graph.h>

#include <algorithm>
#include <map>
#include <unordered_map>

namespace ebb {

class Condenser {
 public:
  Condenser(Graph graph, const DumpOptions& options) : graph_(std::move(graph)), options_(options) {
    index_.assign(graph_.tape_size + 1, kNoIndex);
    reindex();
    for (NodeId id = 0; id <= graph_.tape_size; ++id) became_.push_back(id);
    for (const GraphSection& section : graph_.sections) sweeps_ = std::max(sweeps_, section.sweep);
    for (const GraphNode& node : graph_.nodes) {
      for (const std::string& name : node.names) ++bearers_[name];
    }
    for (std::size_t i = 0; i < graph_.scopes.size(); ++i) {
      level_.push_back(i == 0 ? 0 : level_[graph_.scopes[i].parent] + 1);
    }
  }

  Graph run() {
    if (options_.fold_repeats) fold_repeats();
    if (options_.depth || !options_.collapse.empty()) collapse();
    if (options_.focus) focus(options_.focus->id());
    return std::move(graph_);
  }

 private:
  using Encoding = std::vector<std::uint64_t>;
  struct Item {                      // a scope, or a forward node between scopes, with what the sweeps recorded for it
    std::size_t scope = kNoIndex;    // kNoIndex for a node
    std::vector<std::size_t> nodes;  // by index, in order
    std::size_t equal = 0;           // the same number for equal ones
  };
  struct Copy {  // which copy in which run of equal items a node is in
    std::size_t run = kNoIndex, number = 0;
    bool operator==(const Copy&) const = default;
  };

  void reindex() {
    std::ranges::fill(index_, kNoIndex);
    for (std::size_t i = 0; i < graph_.nodes.size(); ++i) index_[graph_.nodes[i].id] = i;
  }
  std::size_t index_of(NodeId id) const { return id == kNoNode ? kNoIndex : index_[id]; }
  std::size_t above(std::size_t scope, std::size_t level) const {
    while (level_[scope] > level) scope = graph_.scopes[scope].parent;
    return scope;
  }

  void fold_repeats();
  void fold_level(std::size_t level);
  void fold_run(std::span<const Item> items, std::size_t period, std::size_t count);
  std::size_t forward_of(std::size_t index) const;
  Encoding encode(const Item& item);
  std::uint64_t intern(const std::string& text) { return words_.try_emplace(text, words_.size()).first->second; }
  std::string label_of(const Item& item) const {
    return item.scope != kNoIndex ? graph_.scopes[item.scope].path : graph_.label_of(graph_.nodes[item.nodes[0]].id);
  }

  struct Group {  // what becomes one node
    std::size_t scope;
    std::vector<std::size_t> members;
    std::vector<const GraphEdge*> edges;  // into it
  };
  void collapse();
  std::vector<std::size_t> closed_scopes() const;
  GraphNode make_group(const Group& group, const std::vector<std::size_t>& outputs);
  std::string read_by(std::size_t scope, const GraphEdge& edge) const;

  void focus(NodeId wanted);

  void keep_all();
  void keep_literals();
  void replace();
  void replace_edges(const std::vector<std::size_t>& alias_now);
  void replace_reads(GraphNode& node, std::size_t index);
  NodeId shown(NodeId id) const;
  NodeId read(std::size_t reader, NodeId id) const;
  lane::Symbol renamed(lane::Symbol formula, std::size_t reader) const;
  bool in_another_copy(std::size_t reader, std::size_t index) const;
  std::string called(NodeId id, std::size_t scope) const;

  Graph graph_;
  const DumpOptions& options_;
  std::uint32_t sweeps_ = 0;
  std::vector<std::size_t> index_;  // by id
  std::vector<NodeId> became_;      // by id: the node that is shown in its place
  std::vector<std::size_t> level_;  // of scopes: how deep
  std::unordered_map<std::string, std::uint64_t> words_;
  std::unordered_map<std::string, std::size_t> bearers_;  // how many nodes bear a name, over all scopes

  // What replace() does. By index of a node: the one that is shown in its place, or kNoNode; and which copy it is in.
  std::vector<NodeId> shown_as_;
  std::vector<Copy> copies_;
  std::vector<std::size_t> last_;       // of a node in a copy: the one in its place in the last copy
  std::map<NodeId, NodeId> entries_;    // what the first copy reads of another, and what the last one reads there
  std::map<NodeId, GraphNode> groups_;  // new nodes, each in the place of the old one with its id
  std::map<std::pair<NodeId, NodeId>, std::size_t> slots_;  // of a new node and what it reads: as which input
  std::vector<bool> keep_alias_;
};

}  // namespace ebb
