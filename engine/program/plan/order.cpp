#include <ebb/engine/program/plan/order.h>

#include <ebb/engine/program/plan/bands.h>
#include <ebb/engine/program/plan/in_place.h>

#include <algorithm>

namespace ebb {
namespace {

class Advancer {
 public:
  Advancer(const Traced& traced, Schedule& schedule) : traced_(traced), schedule_(schedule) {
    updated_.assign(traced.tape->size(), false);
    for (const Traced::Update& update : traced.updates) {
      const auto read = std::ranges::find(traced.reads, update.state, &Traced::Read::state);
      const bool was_read = read != traced.reads.end();
      const NodeId value = base_of(traced, update.value);
      updates_.push_back({value, was_read ? read->leaf : kNoNode});
      updated_[value] = true;
    }
    for (NodeId id : traced.outputs) updated_[base_of(traced, id)] = false;
  }

  void run() {
    for (std::size_t a = 0; a < schedule_.actions.size(); ++a) {
      if (schedule_.band_of(a)) continue;
      const bool update = only_updates(a);
      if (!update && !is_number(a)) continue;
      std::size_t to = earliest(a);
      if (update && a >= after_refusals(traced_, schedule_)) to = std::max(to, after_refusals(traced_, schedule_));
      for (const Band& band : schedule_.bands) {
        if (band.begin < to && to < band.end) to = band.end;
      }
      if (to < a) move_action(schedule_, a, to);
    }
    schedule_.bands = find_bands(schedule_);
  }

 private:
  struct Update {
    NodeId value, old;
  };

  template <class Visit>
  void for_each_read(const Action& action, Visit&& visit) const {
    for (const View& view : action.sources) visit(view.root);
    if (action.kind == Action::Kind::loop) return;
    for (std::size_t i = 0; i < traced_.node(action.node).inputs; ++i) {
      visit(base_of(traced_, traced_.input(action.node, i)));
      visit(view_of(traced_, schedule_.stored, traced_.input(action.node, i)).root);
    }
  }
  bool reads(const Action& action, NodeId id) const {
    bool any = false;
    for_each_read(action, [&](NodeId root) { any |= root == id; });
    return any;
  }

  // Whether all that a loop stores are new values of States, which nothing else reads.
  bool only_updates(std::size_t a) const {
    const Action& action = schedule_.actions[a];
    if (action.kind != Action::Kind::loop || !action.reductions.empty()) return false;
    return std::ranges::all_of(action.steps, [&](NodeId id) {
      if (!schedule_.stored[id] || schedule_.home[id] != a) return true;
      return updated_[id] &&
             std::ranges::none_of(schedule_.actions, [&](const Action& other) { return reads(other, id); });
    });
  }

  bool is_number(std::size_t a) const {
    const Action& action = schedule_.actions[a];
    if (action.kind == Action::Kind::loop) return action.shape.numel() == 1 && action.reductions.empty();
    return traced_.type(action.node).numel() == 1 && traced_.node(action.node).row->kind != Kind::opaque;
  }

  // Behind what makes its operands, and behind all other readers of what it may be written over.
  std::size_t earliest(std::size_t a) const {
    std::size_t to = 0;
    for_each_read(schedule_.actions[a], [&](NodeId root) {
      if (schedule_.home[root] < schedule_.actions.size()) to = std::max(to, schedule_.home[root] + 1);
    });
    for (const Update& update : updates_) {
      if (update.old == kNoNode || schedule_.home[update.value] != a) continue;
      for (std::size_t reader = to; reader < a; ++reader) {
        if (reads(schedule_.actions[reader], update.old)) to = reader + 1;
      }
    }
    return to;
  }

  const Traced& traced_;
  Schedule& schedule_;
  std::vector<Update> updates_;
  std::vector<bool> updated_;  // by node: nothing but a new value
};

}  // namespace

void move_action(Schedule& schedule, std::size_t from, std::size_t to) {
  const auto begin = schedule.actions.begin();
  std::rotate(begin + static_cast<std::ptrdiff_t>(to), begin + static_cast<std::ptrdiff_t>(from),
              begin + static_cast<std::ptrdiff_t>(from + 1));
  for (std::size_t& home : schedule.home) {
    if (home == from) {
      home = to;
    } else if (home >= to && home < from) {
      ++home;
    }
  }
  for (Band& band : schedule.bands) {
    if (band.begin < to || band.begin >= from) continue;
    ++band.begin;
    ++band.end;
  }
}

void advance_updates(const Traced& traced, Schedule& schedule) { Advancer(traced, schedule).run(); }

}  // namespace ebb
