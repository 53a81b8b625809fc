#include <ebb/engine/program/plan/in_place.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/plan.h>
#include <ebb/engine/program/plan/memory.h>

#include <algorithm>

namespace ebb {
namespace {

class Finder {
 public:
  Finder(const Traced& traced, const Schedule& schedule, const std::vector<bool>& result)
      : traced_(traced),
        schedule_(schedule),
        result_(result),
        last_(last_readers(traced, schedule)),
        taken_(result.size()) {
    found_.over.assign(result.size(), kNoNode);
    found_.inside.assign(result.size(), kNoNode);
    found_.rewrites.resize(result.size());
  }

  InPlace run() {
    for (std::size_t i = 0; i < traced_.updates.size(); ++i) state(i);
    for (std::size_t a = 0; a < schedule_.actions.size(); ++a) {
      const Action& action = schedule_.actions[a];
      if (action.kind == Action::Kind::kernel) memory_for_kernel(action.node);
      for (NodeId id : action.steps) {
        if (schedule_.stored[id] && schedule_.home[id] == a && !is_over_state(id)) memory_for(id);
      }
    }
    for (NodeId id = 0; id < result_.size(); ++id) {
      if (!result_[id]) continue;
      for (NodeId from = found_.over[id]; from != kNoNode; from = found_.over[from]) found_.inside[from] = id;
      found_.over[id] = kNoNode;
    }
    return std::move(found_);
  }

 private:
  // The update's new value over the old one.
  void state(std::size_t update) {
    const Traced::Update& to = traced_.updates[update];
    const NodeId value = base_of(traced_, to.value);
    const auto read = std::ranges::find(traced_.reads, to.state, &Traced::Read::state);
    if (read == traced_.reads.end() || result_[read->leaf] || !is_handed_out_once(value)) return;
    const std::size_t home = schedule_.home[value];
    if (home == schedule_.actions.size() || home < after_refusals(traced_, schedule_)) return;
    if (!fits(read->leaf, value)) return;
    found_.states.push_back({update, static_cast<std::size_t>(read - traced_.reads.begin()), value});
  }

  bool is_handed_out_once(NodeId value) const {
    const auto same = [&](NodeId id) { return base_of(traced_, id) == value; };
    return std::ranges::none_of(traced_.outputs, same) &&
           std::ranges::count_if(traced_.updates, [&](const Traced::Update& u) { return same(u.value); }) == 1;
  }

  bool is_over_state(NodeId id) const {
    return result_[id] && std::ranges::find(found_.states, id, &OverState::value) != found_.states.end();
  }
  bool is_free(NodeId from) const {
    return schedule_.home[from] != schedule_.actions.size() && !result_[from] && !taken_[from];
  }
  void take(NodeId from, NodeId id) {
    found_.over[id] = from;
    taken_[from] = true;
    found_.rewrites[id] = true;
  }

  void memory_for(NodeId id) {
    // What passes from loop to loop through the cache had better lie in the arena, which is there from the run before.
    if (result_[id] && static_cast<std::int64_t>(traced_.type(id).bytes()) < kStreamBytes) return;
    for (const View& source : schedule_.actions[schedule_.home[id]].sources) {
      if (is_free(source.root) && fits(source.root, id)) return take(source.root, id);
    }
  }

  // A kernel that may write over its first input, which none of the others is.
  void memory_for_kernel(NodeId id) {
    const Node& node = traced_.node(id);
    if (!node.row->over_first || traced_.type(id).numel() == 0) return;
    const NodeId from = root(id, 0);
    const Tensor& type = traced_.type(from);
    const bool whole = type.dtype() == traced_.type(id).dtype() && type.numel() == traced_.type(id).numel();
    if (!whole || !is_free(from) || last_[from] > schedule_.home[id]) return;
    for (std::size_t i = 1; i < node.inputs; ++i) {
      if (root(id, i) == from) return;
    }
    take(from, id);
  }

  // Whether `to` may be written where `from` lies.
  bool fits(NodeId from, NodeId to) const {
    const std::size_t home = schedule_.home[to];
    const Action& action = schedule_.actions[home];
    const Tensor& type = traced_.type(to);
    if (action.kind != Action::Kind::loop || type.dtype() != traced_.type(from).dtype() ||
        type.numel() != traced_.type(from).numel() || last_[from] > home) {
      return false;
    }
    // The end of a reduced run is computed twice.
    if (!action.reductions.empty() && Plan(action.shape, *action.axes).inner_reduced()) return false;
    // Loops of a band take turns: each is past its own part of what is whole, but not of anything else.
    const Band* const band = schedule_.band_of(home);
    if (band && !(action.shape == band->shape)) return false;
    const auto whole = [&](const View& view) { return view.root != from || view.shape.numel() == type.numel(); };
    return std::ranges::all_of(action.sources, whole) && only_its_own_reads(action, from, to);
  }

  // Whether nothing in the loop reads `from` but what `to` is made of.
  bool only_its_own_reads(const Action& action, NodeId from, NodeId to) const {
    std::vector<NodeId> own;
    const auto add = [&](NodeId id, auto&& self) -> void {
      if (std::ranges::find(action.steps, id) == action.steps.end() || std::ranges::find(own, id) != own.end()) return;
      own.push_back(id);
      for (std::size_t i = 0; i < traced_.node(id).inputs; ++i) self(root(id, i), self);
    };
    add(to, add);
    const auto reads = [&](NodeId id) {
      for (std::size_t i = 0; i < traced_.node(id).inputs; ++i) {
        if (root(id, i) == from) return true;
      }
      return false;
    };
    return std::ranges::none_of(action.reductions, reads) && std::ranges::none_of(action.steps, [&](NodeId id) {
             return std::ranges::find(own, id) == own.end() && reads(id);
           });
  }

  NodeId root(NodeId id, std::size_t i) const { return view_of(traced_, schedule_.stored, traced_.input(id, i)).root; }

  const Traced& traced_;
  const Schedule& schedule_;
  const std::vector<bool>& result_;
  const std::vector<std::size_t> last_;
  std::vector<bool> taken_;
  InPlace found_;
};

}  // namespace

InPlace find_in_place(const Traced& traced, const Schedule& schedule, const std::vector<bool>& result) {
  return Finder(traced, schedule, result).run();
}

std::size_t after_refusals(const Traced& traced, const Schedule& schedule) {
  // Ops of every other kind take any numbers.
  const auto refuses = [&](const Action& action) {
    return action.kind == Action::Kind::kernel && traced.node(action.node).row->kind == Kind::opaque;
  };
  std::size_t a = schedule.actions.size();
  while (a > 0 && !refuses(schedule.actions[a - 1])) --a;
  return a;
}

}  // namespace ebb
