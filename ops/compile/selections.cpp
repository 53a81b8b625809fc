// What an index selects: gather and scatter_add beside elementwise ops and sums.
//
// Of a large tensor that someone only gathers from, few elements are wanted: to gather first spares the others. The
// gradient of a gather is a tensor of zeros but for what is scattered into it: what is added to it can take its place,
// and its sums are known.
#include <ebb/ops/compile/algebra.h>
#include <ebb/ops/compile/known_rows.h>
#include <ebb/ops/compile/rewrites.h>

#include <algorithm>

namespace ebb {
namespace {

// Whether an index selects along `axis` alone: as much as `full` along the others.
bool selects_along(const Shape& index, const Shape& full, int axis) {
  for (int i = 0; i < full.rank(); ++i) {
    if (i != axis && index[i] != full[i]) return false;
  }
  return index.rank() == full.rank();
}

NodeId below_broadcasts(const Rewriter& to, NodeId id) {
  while (to.node(id).row == &kBroadcastTo) id = to.input(id, 0);
  return id;
}

// Whether an operand that broadcasts to `full` is the same all along an axis of it.
bool repeats_along(const Shape& operand, const Shape& full, int axis) {
  const int own = axis - full.rank() + operand.rank();
  return own < 0 || operand[own] == 1;
}

// gather(f(a, b), index) is f(gather(a, index), b) where b is the same along the axis: the same bits.
class Gathering {
 public:
  Gathering(Rewriter& to, NodeId old)
      : to_(to),
        attrs_(to.from().node(old).attrs),
        axis_(static_cast<int>(Attrs(attrs_).integer("axis"))),
        index_(to.of(to.from().input(old, 1))) {}

  std::optional<NodeId> run(NodeId x) {
    full_ = to_.shape(x);
    if (full_[axis_] == 1 || 2 * to_.shape(index_).numel() > full_.numel()) return std::nullopt;
    if (!selects_along(to_.shape(index_), full_, axis_) || varying(x) == kNoNode) return std::nullopt;
    return gathered(x);
  }

 private:
  static constexpr int kMostSteps = 64;  // that a gather moves below: each level takes the stack's room

  // The one operand of a step that differs along the axis; none if there are several, or it is no step.
  NodeId varying(NodeId step) const {
    if (!to_.node(step).row->is_step()) return kNoNode;
    NodeId one = kNoNode;
    for (std::size_t i = 0; i < to_.node(step).inputs; ++i) {
      const NodeId operand = below_broadcasts(to_, to_.input(step, i));
      if (repeats_along(to_.shape(operand), full_, axis_) || operand == one) continue;
      if (one != kNoNode || to_.shape(operand) != full_) return kNoNode;
      one = operand;
    }
    return one;
  }

  NodeId gathered(NodeId x, int depth = 0) {
    const NodeId inside = depth < kMostSteps ? varying(x) : kNoNode;
    if (inside == kNoNode) return to_.record(known_rows().gather, std::array{x, index_}, attrs_);
    const NodeId of_inside = gathered(inside, depth + 1);
    std::vector<NodeId> operands;
    for (std::size_t i = 0; i < to_.node(x).inputs; ++i) {
      const NodeId operand = below_broadcasts(to_, to_.input(x, i));
      operands.push_back(operand == inside ? of_inside : operand);
    }
    return to_.record(*to_.node(x).row, operands, to_.node(x).attrs);
  }

  Rewriter& to_;
  const std::span<const Attr> attrs_;
  const int axis_;
  const NodeId index_;
  Shape full_;
};

Traced gathers(const Traced& traced, RewriteLog& log) {
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (traced.node(old).row != &known_rows().gather) return std::nullopt;
    const auto replaced = Gathering(to, old).run(to.of(traced.input(old, 0)));
    if (replaced) log.note("gather(f(x)) -> f(gather(x))", old, *replaced);
    return replaced;
  });
}

bool is_scattered_into_zeros(const Rewriter& to, NodeId id) {
  if (to.node(id).row != &known_rows().scatter_add) return false;
  const Node& base = to.node(below_broadcasts(to, to.input(id, 0)));
  const bool zero = base.row == &kConstant && Attrs(base.attrs).real("value") == 0;
  const int axis = static_cast<int>(Attrs(to.node(id).attrs).integer("axis"));
  return zero && selects_along(to.shape(to.input(id, 1)), to.shape(id), axis);
}

// The sum along the axis of what was scattered along it is that of what there was to scatter.
std::optional<NodeId> sum_of_scattered(Rewriter& to, NodeId old) {
  const Node& node = to.from().node(old);
  const Attrs attrs(node.attrs);
  if (node.row != &kSum || !attrs.flag("keepdim")) return std::nullopt;
  const NodeId x = to.of(to.from().input(old, 0));
  if (!is_scattered_into_zeros(to, x)) return std::nullopt;
  const IntList axes = attrs.list("axes");
  if (!axes.contains(Attrs(to.node(x).attrs).integer("axis"))) return std::nullopt;
  const NodeId source = to.input(x, 2);
  return to.shape(source) == node.value.shape() ? source : to.record(kSum, std::array{source}, node.attrs);
}

// t + scatter_add(0, index, source) is scatter_add(t, index, source), which touches no more than it changes.
std::optional<NodeId> sum_with_scattered(Rewriter& to, NodeId old, const std::vector<int>& readers) {
  const Node& node = to.from().node(old);
  const KnownRows& rows = known_rows();
  if (node.row != &kAdd && node.row != &rows.sub) return std::nullopt;
  for (std::size_t i = node.row == &kAdd ? 0 : 1; i < 2; ++i) {
    const NodeId scattered = to.of(to.from().input(old, i));
    const NodeId other = to.of(to.from().input(old, 1 - i));
    if (readers[to.from().input(old, i)] != 1 || !is_scattered_into_zeros(to, scattered)) continue;
    if (to.shape(scattered) != node.value.shape() || to.shape(other) != node.value.shape()) continue;
    if (!to.node(other).row->is_step()) continue;
    NodeId source = to.input(scattered, 2);
    if (node.row == &rows.sub) source = to.record(rows.neg, {source});
    return to.record(rows.scatter_add, std::array{other, to.input(scattered, 1), source}, to.node(scattered).attrs);
  }
  return std::nullopt;
}

Traced scatters(const Traced& traced, RewriteLog& log) {
  const std::vector<bool> live = live_nodes(traced);
  std::vector<int> readers(live.size());
  for (NodeId id = 0; id < live.size(); ++id) {
    for (std::size_t i = 0; live[id] && i < traced.node(id).inputs; ++i) {
      const NodeId input = traced.input(id, i);
      // Its sums along the axis are none: they are put in terms of what was scattered.
      const bool sum =
          traced.node(id).row == &kSum && traced.node(input).row == &known_rows().scatter_add &&
          Attrs(traced.node(id).attrs).list("axes").contains(Attrs(traced.node(input).attrs).integer("axis"));
      readers[input] += sum ? 0 : 1;
    }
  }
  for (NodeId id : traced.outputs) ++readers[id];
  for (const Traced::Update& update : traced.updates) ++readers[update.value];
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (!is_floating(traced.type(old).dtype())) return std::nullopt;
    if (const auto replaced = sum_of_scattered(to, old)) {
      log.note("sum(scatter_add(0, i, a)) -> sum(a)", old, *replaced);
      return replaced;
    }
    const auto replaced = sum_with_scattered(to, old, readers);
    if (replaced) log.note("t + scatter_add(0, i, a) -> scatter_add(t, i, a)", old, *replaced);
    return replaced;
  });
}

}  // namespace

const Pass kGathers{"gathers", Setting::exact, gathers};
const Pass kScatters{"scatters", Setting::relaxed, scatters};

}  // namespace ebb
