// How cotangents flow on a tape: which nodes carry one, whose it is, and what each rule contributed.
//
// A tape notes this for nodes that bear names. For the others it is read off what the rules recorded: a rule sees its
// cotangent, its output and its inputs, so what it reads from outside and is neither of the latter two is the
// cotangent.
#pragma once

#include <ebb/engine/dump/labels.h>

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace ebb::detail {

/// What the rule of `by` gave for its input `input`.
struct Contribution {
  NodeId node = kNoNode;
  NodeId by = kNoNode;
  std::size_t input = 0;
  std::string name;  // `dxmu1`, or `%12`
};

/// The cotangent of one node in one sweep.
struct Cotangent {
  std::uint32_t sweep = 0;
  NodeId node = kNoNode;
  std::vector<Contribution> terms;  // what it adds up, in the order of the sweep; empty where that is not known
};

/// What a local derivative calls the cotangent, where it does more than multiply it.
inline constexpr const char* kCotangent = "ct";

/// Whether it is the number 1: a rule passed its cotangent on.
bool is_unit(const lane::Symbol& local);
bool mentions_cotangent(const lane::Symbol& local);

class Flow {
 public:
  Flow(const Tape& tape, const Labels& labels);

  /// `id`, recorded by a sweep, reads its input `in` as a forward value, not as a cotangent.
  bool reads_forward(NodeId id, NodeId in) const;
  /// The sweep that a node outside of sweeps is a seed of, or 0, and the node that sweep began at.
  std::uint32_t seeds_sweep(NodeId id) const { return seeds_sweep_[id]; }
  NodeId seed_of(NodeId id) const { return seeds_of_[id]; }

  /// The cotangents of a node, by sweep.
  const std::vector<Cotangent>& cotangents(NodeId id) const;
  /// The contributions that the rule of a node made, with their sweeps.
  const std::vector<std::pair<std::uint32_t, Contribution>>& given_by(NodeId id) const;

  /// What a contribution multiplies the cotangent of `by` with, in the words of the rule: `ivar` for `dxhat * ivar`.
  /// Where a rule does more than multiply, its formula with `ct` in the cotangent's place.
  lane::Symbol local_derivative(std::uint32_t sweep, const Contribution& contribution) const;

 private:
  using Key = std::pair<NodeId, std::uint32_t>;

  void find_seeds();
  void find_cotangents();
  void find_passed();
  void find_terms();
  bool is_one(const Node& node, std::size_t input) const;
  void flatten(NodeId sum, std::vector<Contribution>& terms) const;
  bool of_rule(NodeId id, NodeId by, std::uint32_t sweep) const;
  bool is_factor(NodeId id, NodeId by, std::uint32_t sweep) const;
  lane::Symbol formula(NodeId id, NodeId by, std::uint32_t sweep, const lane::Symbol& unit) const;

  const Tape& tape_;
  const Labels& labels_;
  std::vector<bool> carries_;  // holds a cotangent of the sweep that recorded it
  std::vector<std::uint32_t> seeds_sweep_;
  std::vector<NodeId> seeds_of_;
  std::map<Key, NodeId> whole_;  // by node and sweep
  std::map<NodeId, std::vector<Cotangent>> cotangents_;
  std::map<NodeId, std::vector<std::pair<std::uint32_t, Contribution>>> given_;
};

}  // namespace ebb::detail
