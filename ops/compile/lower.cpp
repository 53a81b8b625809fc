// Ops in terms of fewer ops, so that one set of rules serves them all.
#include <ebb/ops/compile/algebra.h>
#include <ebb/ops/compile/known_rows.h>
#include <ebb/ops/compile/rewrites.h>
#include <fmt/format.h>

namespace ebb {
namespace {

// mean(x) is sum(x) * (1 / n), and every sum keeps its axes, so that what multiplies it lines up with it.
std::optional<NodeId> lower_reduction(Rewriter& to, NodeId old) {
  const KnownRows& rows = known_rows();
  const Node& node = to.from().node(old);
  const bool mean = node.row == &rows.mean;
  const Attrs attrs(node.attrs);
  if (!mean && (node.row != &kSum || attrs.flag("keepdim"))) return std::nullopt;
  const NodeId x = to.of(to.from().input(old, 0));
  NodeId result = to.record(kSum, {x}, {{"axes", attrs.list("axes")}, {"keepdim", true}});
  if (mean && node.value.numel() > 0) {
    const double n = static_cast<double>(to.shape(x).numel()) / static_cast<double>(node.value.numel());
    result = to.record(rows.mul, {result, to.constant(1 / n, node.value.dtype())});
  }
  if (to.shape(result) == node.value.shape()) return result;
  return to.record(kReshape, {result}, {{"shape", IntList(node.value.shape())}});
}

// a / b is a * (1 / b) where b is the smaller tensor.
std::optional<NodeId> lower_division(Rewriter& to, NodeId old) {
  const KnownRows& rows = known_rows();
  const Node& node = to.from().node(old);
  if (node.row != &rows.div) return std::nullopt;
  const Algebra algebra(to);
  const NodeId a = to.of(to.from().input(old, 0));
  const NodeId b = to.of(to.from().input(old, 1));
  const bool smaller = to.shape(b).numel() < to.shape(a).numel();
  const bool number = to.node(a).row == &kConstant;
  if (!smaller && !number) return std::nullopt;
  const NodeId inverse = to.node(b).row == &kConstant
                             ? to.constant(1 / Attrs(to.node(b).attrs).real("value"), node.value.dtype())
                             : to.record(rows.reciprocal, {b});
  return algebra.is_constant(a, 1) ? inverse : to.record(rows.mul, {a, inverse});
}

Traced lower(const Traced& traced, RewriteLog& log) {
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (!is_floating(traced.type(old).dtype())) return std::nullopt;
    if (const auto replaced = lower_reduction(to, old)) {
      if (traced.node(old).row == &known_rows().mean) log.note("mean(x) -> sum(x) * (1 / n)", old, *replaced);
      return replaced;
    }
    const auto replaced = lower_division(to, old);
    if (replaced) log.note("a / b -> a * (1 / b)", old, *replaced);
    return replaced;
  });
}

}  // namespace

const Pass kLower{"lower", Setting::relaxed, lower};

}  // namespace ebb
