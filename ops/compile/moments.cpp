// sum(square(x - mean(x))) and mean(x) from one pass over x.
//
// The mean is held in two parts. x - mean becomes (x - high) - low, and from there algebra sweeps the low part into the
// work per channel: the cancellation happens exactly, at no cost in the loop.
#include <ebb/ops/compile/algebra.h>
#include <ebb/ops/compile/known_rows.h>
#include <ebb/ops/compile/rewrites.h>
#include <ebb/ops/reduction/moments.h>

#include <algorithm>

namespace ebb {
namespace {

// x, and the axes of its moments.
struct Found {
  NodeId x;
  unsigned axes;
  IntList list;
  bool operator==(const Found&) const = default;
};

class Moments {
 public:
  explicit Moments(const Traced& traced) : traced_(traced), formulas_(*traced.tape) {
    const std::vector<bool> live = live_nodes(traced);
    for (NodeId id = 0; id < live.size(); ++id) {
      if (!live[id]) continue;
      if (const auto moments = squares(id); moments && std::ranges::find(found_, *moments) == found_.end()) {
        found_.push_back(*moments);
      }
    }
  }

  bool any() const { return !found_.empty(); }

  // What takes the place of a node.
  std::optional<NodeId> replace(Rewriter& to, NodeId old, RewriteLog& log) const {
    const KnownRows& rows = known_rows();
    const auto part = [&](const Row& row, const Found& f) {
      return to.record(row, {to.of(f.x)}, {{"axes", f.list}, {"keepdim", true}});
    };
    const auto done = [&](std::string_view rule, NodeId now) {
      log.note(rule, old, now);
      return now;
    };
    if (const auto moments = squares(old)) {
      return done("sum(square(x - mean(x))) -> squared_deviations(x)", part(kSquaredDeviations, *moments));
    }
    const Row* row = traced_.node(old).row;
    for (const Found& f : found_) {
      if (row == &rows.sub && is_centred(old, f)) {
        const NodeId high = to.record(rows.sub, {to.of(traced_.input(old, 0)), part(kMeanHigh, f)});
        return done("x - mean(x) -> (x - mean_high(x)) - mean_low(x)", to.record(rows.sub, {high, part(kMeanLow, f)}));
      }
      if (row == &rows.mul && formulas_.is_mean(old, f.x, f.axes)) {
        return done("mean(x) -> mean_high(x) + mean_low(x)",
                    to.record(rows.add, {part(kMeanHigh, f), part(kMeanLow, f)}));
      }
    }
    return std::nullopt;
  }

 private:
  bool is_centred(NodeId id, const Found& f) const {
    return formulas_.is_centring(id) && formulas_.peel(traced_.input(id, 0)) == f.x &&
           formulas_.is_mean(traced_.input(id, 1), f.x, f.axes);
  }

  // If `id` is sum(square(x - mean(x))) over the axes of the mean: of what.
  std::optional<Found> squares(NodeId id) const {
    const Node& node = traced_.node(id);
    if (node.row != &kSum || !Attrs(node.attrs).flag("keepdim") || !is_floating(node.value.dtype())) {
      return std::nullopt;
    }
    const Product p = formulas_.product(traced_.input(id, 0));
    if (p.k != 1 || p.factors.size() != 2 || p.factors[0] != p.factors[1]) return std::nullopt;
    const NodeId centred = p.factors[0];
    if (traced_.node(centred).row != &known_rows().sub) return std::nullopt;
    const NodeId x = formulas_.peel(traced_.input(centred, 0));
    if (!(formulas_.shape(x) == formulas_.shape(traced_.input(id, 0)))) return std::nullopt;
    const Found f{x, formulas_.reduced_axes(id) & formulas_.axes_of(x), Attrs(node.attrs).list("axes")};
    return is_centred(centred, f) ? std::optional(f) : std::nullopt;
  }

  const Traced& traced_;
  Formulas formulas_;
  std::vector<Found> found_;
};

Traced moments(const Traced& traced, RewriteLog& log) {
  const Moments moments(traced);
  if (!moments.any()) return rewrite(traced, nullptr);
  return rewrite(traced, [&](Rewriter& to, NodeId old) { return moments.replace(to, old, log); });
}

}  // namespace

const Pass kMoments{"moments", Setting::relaxed, moments};

}  // namespace ebb
