#include <ebb/engine/program/plan/bands.h>
#include <ebb/engine/program/plan/order.h>
#include <ebb/engine/program/plan/schedule.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/loop/loop.h>
#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/row/structural.h>

#include <algorithm>

namespace ebb {

NodeId base_of(const Traced& traced, NodeId id) {
  while (traced.node(id).row == &kReshape || traced.node(id).row == &kDetach) id = traced.input(id, 0);
  return id;
}

View view_of(const Traced& traced, const std::vector<bool>& stored, NodeId id) {
  while (true) {
    const Row* row = traced.node(id).row;
    if (row == &kReshape) return {base_of(traced, id), traced.type(id).shape()};
    if (row != &kDetach && (row != &kBroadcastTo || stored[id])) return {id, traced.type(id).shape()};
    id = traced.input(id, 0);
  }
}

View loop_view_of(const Traced& traced, const std::vector<bool>& stored, NodeId id) {
  const View view = view_of(traced, stored, id);
  return {view.root, without_leading_ones(view.shape)};
}

namespace {

// A step that is cheap enough to compute twice: arithmetic, nothing with a polynomial in it.
bool is_cheap(const Node& node) { return node.row->ulp <= 0.5; }

class Scheduler {
 public:
  explicit Scheduler(const Traced& traced) : traced_(traced), live_(live_nodes(traced)) {
    schedule_.stored.assign(live_.size(), false);
    schedule_.home.assign(live_.size(), kNowhere);
  }

  Schedule run() {
    mark_interface();
    for (NodeId id = 0; id < live_.size(); ++id) {
      if (live_[id]) place(id);
    }
    for (std::size_t a = schedule_.actions.size(); a-- > 0;) finish(a);
    drop_empty();
    return std::move(schedule_);
  }

 private:
  static constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);
  static constexpr std::size_t kMaxRecomputed = 10;  // steps done again rather than stored

  const Shape& shape(NodeId id) const { return traced_.type(id).shape(); }
  bool is_source(NodeId id) const {
    const Row* row = traced_.node(id).row;
    return row == &kLeaf || row == &kConstant;
  }
  bool stored(NodeId id) const { return schedule_.stored[id]; }
  void store(NodeId id) { schedule_.stored[id] = true; }

  // What the world sees, or a kernel reads, has to be in memory whatever loops do.
  void mark_interface() {
    for (NodeId id = 0; id < live_.size(); ++id) {
      if (live_[id] && is_source(id)) store(id);
    }
    for (NodeId id : traced_.outputs) store(base_of(traced_, id));
    for (const Traced::Update& update : traced_.updates) store(base_of(traced_, update.value));
    for (NodeId id = 0; id < live_.size(); ++id) {
      if (!live_[id]) continue;
      const Node& node = traced_.node(id);
      for (std::size_t i = 0; i < node.inputs; ++i) {
        const NodeId input = traced_.tape->input(node, i);
        const bool view = node.row == &kBroadcastTo || node.row == &kDetach || node.row->is_step();
        const bool reads_broadcast = node.row->reads_broadcast && traced_.node(input).row == &kBroadcastTo;
        if (view || reads_broadcast) continue;
        // A reduction reads every element of its operand: a broadcast has to be written out.
        if (node.row->is_loop_reduction() && view_of(traced_, schedule_.stored, input).shape == shape(input)) continue;
        store(base_of(traced_, input));
      }
    }
  }

  // The first action that can follow what computes `root`.
  std::size_t after(NodeId root) const { return schedule_.home[root] == kNowhere ? 0 : schedule_.home[root] + 1; }

  // A node that a loop of `loop_shape` may hold as a step of its own.
  bool joinable(const View& view, const Shape& loop_shape) const {
    return traced_.node(view.root).row->is_step() && view.shape == loop_shape &&
           without_leading_ones(shape(view.root)) == loop_shape;
  }

  void place(NodeId id) {
    const Node& node = traced_.node(id);
    if (is_source(id) || node.row == &kReshape || node.row == &kDetach) return;
    if (node.row == &kBroadcastTo) {
      // Read below, unless someone needs it written out.
      if (stored(id)) own_action(id, Action::Kind::copy);
      return;
    }
    const bool loops =
        node.row->is_step() || (node.row->is_loop_reduction() && traced_.type(traced_.input(id, 0)).numel() > 0);
    if (!loops || shape(id).numel() == 0) {
      own_action(id, Action::Kind::kernel);
      return;
    }
    node.row->is_step() ? place_step(id) : place_reduction(id);
  }

  void own_action(NodeId id, Action::Kind kind) {
    for (std::size_t i = 0; i < traced_.node(id).inputs; ++i) {
      const View view = view_of(traced_, schedule_.stored, traced_.input(id, i));
      store(view.root);
    }
    schedule_.home[id] = schedule_.actions.size();
    store(id);
    Action action;
    action.kind = kind;
    action.node = id;
    schedule_.actions.push_back(action);
  }

  // Where among the loops over `loop_shape` a node can join, given what it reads; the one where most of it is at hand.
  std::size_t choose(const Shape& loop_shape, std::size_t lower, std::span<const View> reads,
                     const std::optional<IntList>& axes) {
    std::size_t best = kNowhere;
    std::size_t best_shared = 0;
    for (std::size_t a = lower; a < schedule_.actions.size(); ++a) {
      const Action& action = schedule_.actions[a];
      if (action.kind != Action::Kind::loop || !(action.shape == loop_shape)) continue;
      if (action.steps.size() >= Loop::kMaxSteps / 2 || action.reductions.size() >= Loop::kMaxReductions - 1 ||
          action.sources.size() + reads.size() > Loop::kMaxSources / 2) {
        continue;
      }
      if (!agrees(action, reads, axes)) continue;
      // A loop that runs in any case comes first: one that holds nothing but steps which others compute again is
      // dropped.
      const bool runs = !action.reductions.empty() || std::ranges::any_of(action.steps, [&](NodeId id) {
        return stored(id) || !is_cheap(traced_.node(id));
      });
      std::size_t shared = runs ? 1 + Loop::kMaxSources : 1;
      for (const View& read : reads) {
        const bool here = std::ranges::any_of(action.sources, [&](const View& s) { return s.root == read.root; }) ||
                          schedule_.home[read.root] == a;
        shared += here ? 1 : 0;
      }
      if (shared > best_shared) {
        best = a;
        best_shared = shared;
      }
    }
    if (best != kNowhere) return best;
    Action action;
    action.shape = loop_shape;
    schedule_.actions.push_back(action);
    return schedule_.actions.size() - 1;
  }

  // A loop reduces over one set of axes, and every operand must have plain strides along it.
  bool agrees(const Action& action, std::span<const View> reads, const std::optional<IntList>& axes) const {
    if (axes && action.axes && !(*axes == *action.axes)) return false;
    const std::optional<IntList>& reduced = axes ? axes : action.axes;
    if (!reduced) return true;
    const Plan plan(action.shape, *reduced);
    const auto fits = [&](const Shape& operand) {
      Strides ignored{};
      return operand == action.shape || operand.numel() == 1 || plan.strides_of(operand, ignored);
    };
    if (axes && !action.axes) {
      for (const View& source : action.sources) {
        if (!fits(source.shape)) return false;
      }
    }
    return std::ranges::all_of(reads, [&](const View& view) { return fits(view.shape); });
  }

  void place_step(NodeId id) {
    const Node& node = traced_.node(id);
    const Shape loop_shape = without_leading_ones(shape(id));
    std::vector<View> reads;
    std::size_t lower = 0;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const View view = loop_view_of(traced_, schedule_.stored, traced_.tape->input(node, i));
      const bool joins = joinable(view, loop_shape);
      lower = std::max(lower, joins ? schedule_.home[view.root] : after(view.root));
      if (!joins) store(view.root);
      reads.push_back(view);
    }
    const std::size_t a = choose(loop_shape, lower, reads, std::nullopt);
    schedule_.home[id] = a;
    schedule_.actions[a].steps.push_back(id);
    note_sources(a, reads);
  }

  struct Space {
    Shape shape;
    IntList axes;
  };
  // The shape that a reduction's loop has, and the axes that it reduces of it.
  static Space space_of(const Shape& operand, const IntList& axes) {
    const Shape shape = without_leading_ones(operand);
    IntList left;
    for (const std::int64_t axis : axes) {
      if (axis >= operand.rank() - shape.rank()) left.push_back(axis - (operand.rank() - shape.rank()));
    }
    return left.empty() ? Space{operand, axes} : Space{shape, left};
  }

  void place_reduction(NodeId id) {
    const Node& node = traced_.node(id);
    const NodeId input = traced_.tape->input(node, 0);
    const View view = loop_view_of(traced_, schedule_.stored, input);
    const auto [loop_shape, axes] = space_of(shape(input), Attrs(node.attrs).list("axes"));
    const bool joins = joinable(view, loop_shape);
    if (!joins) store(view.root);
    const std::size_t lower = joins ? schedule_.home[view.root] : after(view.root);
    const std::size_t a = choose(loop_shape, lower, std::span(&view, 1), axes);
    schedule_.home[id] = a;
    schedule_.actions[a].axes = axes;
    schedule_.actions[a].reductions.push_back(id);
    store(id);
    note_sources(a, std::span(&view, 1));
  }

  void note_sources(std::size_t a, std::span<const View> reads) {
    for (const View& view : reads) {
      if (schedule_.home[view.root] == a) continue;
      add_source(schedule_.actions[a].sources, view);
    }
  }

  static bool add_source(std::vector<View>& sources, const View& view) {
    const auto same = [&](const View& s) { return s.root == view.root && s.shape == view.shape; };
    if (std::ranges::any_of(sources, same)) return false;
    sources.push_back(view);
    return true;
  }

  // --- what a loop stores, and what it computes again --------------------------------------------------------------

  // From the last action to the first, so that all who want a node are known when its own loop is finished.
  void finish(std::size_t a) {
    Action& action = schedule_.actions[a];
    if (action.kind != Action::Kind::loop) return;
    std::vector<NodeId> wanted;
    for (NodeId id : action.steps) {
      if (stored(id)) wanted.push_back(id);
    }
    std::vector<NodeId> steps;  // what the loop will hold
    std::vector<View> sources;
    std::vector<NodeId> foreign;  // steps of earlier loops that it wants
    const auto want = [&](NodeId id, auto&& self) -> void {
      if (std::ranges::find(steps, id) != steps.end()) return;
      steps.push_back(id);
      for (std::size_t i = 0; i < traced_.node(id).inputs; ++i) {
        const View view = loop_view_of(traced_, schedule_.stored, traced_.input(id, i));
        if (!joinable(view, action.shape)) {
          add_source(sources, view);
        } else if (schedule_.home[view.root] == a) {
          self(view.root, self);
        } else if (std::ranges::find(foreign, view.root) == foreign.end()) {
          foreign.push_back(view.root);
        }
      }
    };
    for (NodeId id : wanted) want(id, want);
    for (NodeId id : action.reductions) {
      const View view = loop_view_of(traced_, schedule_.stored, traced_.input(id, 0));
      if (!joinable(view, action.shape)) {
        add_source(sources, view);
      } else if (schedule_.home[view.root] == a) {
        want(view.root, want);
      } else if (std::ranges::find(foreign, view.root) == foreign.end()) {
        foreign.push_back(view.root);
      }
    }
    // The latest first: its cone may hold the others.
    std::ranges::sort(foreign, std::greater());
    for (NodeId id : foreign) {
      if (std::ranges::find(steps, id) == steps.end()) compute_again_or_store(action, id, steps, sources);
    }
    std::ranges::sort(steps);
    action.steps = std::move(steps);
    action.sources = std::move(sources);
  }

  void compute_again_or_store(const Action& action, NodeId id, std::vector<NodeId>& steps, std::vector<View>& sources) {
    std::vector<NodeId> cone;
    std::vector<View> reads = sources;
    bool cheap = true;
    const auto visit = [&](NodeId step, auto&& self) -> void {
      if (std::ranges::find(cone, step) != cone.end() || std::ranges::find(steps, step) != steps.end()) return;
      cone.push_back(step);
      cheap = cheap && is_cheap(traced_.node(step)) && cone.size() <= kMaxRecomputed;
      if (!cheap) return;
      for (std::size_t i = 0; i < traced_.node(step).inputs; ++i) {
        const View view = loop_view_of(traced_, schedule_.stored, traced_.input(step, i));
        const bool recompute = joinable(view, action.shape) && !stored(view.root);
        recompute ? self(view.root, self) : void(add_source(reads, view));
      }
    };
    visit(id, visit);
    const auto whole = [&](const std::vector<View>& list) {
      return std::ranges::count_if(list, [&](const View& v) { return v.shape.numel() == action.shape.numel(); });
    };
    // To store it is a write and a read; if it is stored anyhow, a read.
    const auto more = whole(reads) - whole(sources);
    const bool room = steps.size() + cone.size() <= Loop::kMaxSteps && reads.size() <= Loop::kMaxSources;
    if (cheap && room && more <= (stored(id) ? 0 : 1) && agrees(action, reads, action.axes)) {
      steps.insert(steps.end(), cone.begin(), cone.end());
      sources = std::move(reads);
    } else {
      store(id);
      add_source(sources, {id, without_leading_ones(shape(id))});
    }
  }

  void drop_empty() {
    std::vector<Action> kept;
    std::vector<std::size_t> place(schedule_.actions.size(), kNowhere);
    for (std::size_t a = 0; a < schedule_.actions.size(); ++a) {
      Action& action = schedule_.actions[a];
      const bool empty =
          action.kind == Action::Kind::loop && action.reductions.empty() &&
          std::ranges::none_of(action.steps, [&](NodeId id) { return stored(id) && schedule_.home[id] == a; });
      if (empty) continue;
      place[a] = kept.size();
      kept.push_back(std::move(action));
    }
    for (std::size_t& home : schedule_.home)
      home = home == kNowhere || place[home] == kNowhere ? kept.size() : place[home];
    schedule_.actions = std::move(kept);
  }

  const Traced& traced_;
  std::vector<bool> live_;
  Schedule schedule_;
};

}  // namespace

const Band* Schedule::band_of(std::size_t action) const {
  const auto band = std::ranges::find_if(bands, [&](const Band& b) { return b.begin <= action && action < b.end; });
  return band == bands.end() ? nullptr : &*band;
}

Schedule make_schedule(const Traced& traced) {
  Schedule schedule = Scheduler(traced).run();
  draw_together(schedule);
  schedule.bands = find_bands(schedule);
  advance_updates(traced, schedule);
  return schedule;
}

}  // namespace ebb
