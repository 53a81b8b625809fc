// Products, sums of products and sums over axes, brought into normal form.
#include <ebb/ops/compile/algebra.h>
#include <ebb/ops/compile/known_rows.h>
#include <ebb/ops/compile/rewrites.h>

#include <algorithm>

namespace ebb {
namespace {

// By node: a kernel reads it, so that it is in memory as it is.
std::vector<bool> kernel_inputs(const Traced& traced) {
  std::vector<bool> read(traced.tape->size());
  const std::vector<bool> live = live_nodes(traced);
  for (NodeId id = 0; id < read.size(); ++id) {
    const Node& node = traced.node(id);
    const bool loops = node.row->is_step() || node.row->is_loop_reduction();
    const bool view = node.row == &kReshape || node.row == &kBroadcastTo || node.row == &kDetach;
    if (!live[id] || loops || view) continue;
    for (std::size_t i = 0; i < node.inputs; ++i) read[traced.input(id, i)] = true;
  }
  return read;
}

Traced algebra(const Traced& traced, RewriteLog& log) {
  const KnownRows& rows = known_rows();
  const std::vector<bool> whole = kernel_inputs(traced);
  std::optional<Algebra> algebra;
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (!algebra) algebra.emplace(to);
    const Node& node = traced.node(old);
    const bool known = node.row == &rows.add || node.row == &rows.sub || node.row == &rows.mul ||
                       node.row == &rows.neg || node.row == &rows.square;
    std::optional<NodeId> result;
    if (known && is_floating(node.value.dtype())) {
      const NodeId plain = to.copy(old);
      result = plain;
      if (!algebra->is_centring(plain)) {
        const std::vector<Product> terms = algebra->terms(plain);
        result = algebra->fit(algebra->build(terms, node.value.dtype()), node.value.shape());
        if (*result != plain) log.note("products and sums in normal form", old, *result);
      }
    }
    if (whole[old]) algebra->keep_whole(result ? *result : *(result = to.copy(old)));
    return result;
  });
}

// sum(c * a) is c * sum(a) where c does not vary along the axes, sum(c) is n * c, sum(x - mean(x)) is 0. A sum is split
// over its terms only where that adds no accumulator: each term loses a factor or vanishes, or one keeps its form and
// the others' sums are there already. So sum(y - t) is never split, which would only buy a cancellation.
// `vanished` says that a term was 0.
std::optional<NodeId> linear_sum(Algebra& algebra, NodeId old, bool& vanished) {
  Rewriter& to = algebra.to();
  const Node& node = to.from().node(old);
  const Attrs attrs(node.attrs);
  if (node.row != &kSum || !attrs.flag("keepdim") || node.value.numel() == 0) return std::nullopt;
  const NodeId x = to.of(to.from().input(old, 0));
  const Shape& shape = to.shape(x);
  const unsigned reduced = Formulas(*to.from().tape).reduced_axes(old);
  const auto extent = [&](unsigned axes) {
    double n = 1;
    for (int i = 0; i < shape.rank(); ++i) n *= axes >> i & 1 ? static_cast<double>(shape[shape.rank() - 1 - i]) : 1.0;
    return n;
  };
  const std::vector<Product> terms = algebra.terms(x);
  std::vector<Product> out;
  int as_they_are = 0;  // terms that keep their form
  int fresh = 0;        // sums that are not there yet
  for (const Product& p : terms) {
    Product invariant{p.k, {}};
    Product varying;
    for (NodeId factor : p.factors) {
      ((algebra.axes_of(factor) & reduced) == 0 ? invariant : varying).factors.push_back(factor);
    }
    if (varying.factors.empty()) {
      invariant.k *= extent(reduced);
      out.push_back(invariant);
      continue;
    }
    if (varying.factors.size() == 1 && algebra.is_centring(varying.factors[0])) {
      const NodeId centred = varying.factors[0];
      const NodeId of = algebra.peel(to.input(centred, 0));
      if (algebra.is_mean(to.input(centred, 1), of, reduced & algebra.axes_of(of))) {
        vanished = true;
        continue;
      }
    }
    as_they_are += invariant.factors.empty() && invariant.k == 1 ? 1 : 0;
    NodeId v = algebra.build(varying, node.value.dtype());
    if (!same_but_leading_ones(to.shape(v), shape)) return std::nullopt;  // a broadcast along some axes: left alone
    v = algebra.fit(v, shape);
    const std::array inputs{v};
    fresh += to.find(kSum, inputs, node.attrs) == kNoNode ? 1 : 0;
    invariant.factors.push_back(to.record(kSum, inputs, node.attrs));
    std::ranges::sort(invariant.factors);
    out.push_back(invariant);
  }
  if (terms.size() > 1 && as_they_are > 0 && !(as_they_are == 1 && fresh <= 1)) return std::nullopt;
  if (out.empty()) return algebra.fit(to.constant(0, node.value.dtype()), node.value.shape());
  return algebra.fit(algebra.build(out, node.value.dtype()), node.value.shape());
}

Traced linearity(const Traced& traced, RewriteLog& log) {
  std::optional<Algebra> algebra;
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (!algebra) algebra.emplace(to);
    if (!is_floating(traced.type(old).dtype())) return std::nullopt;
    bool vanished = false;
    const auto replaced = linear_sum(*algebra, old, vanished);
    const std::string_view rule =
        vanished ? "sum(c * a + k * (x - mean(x))) -> c * sum(a)" : "sum(c * a) -> c * sum(a)";
    if (replaced) log.note(rule, old, *replaced);
    return replaced;
  });
}

}  // namespace

const Pass kAlgebra{"algebra", Setting::relaxed, algebra};
const Pass kLinearity{"linearity", Setting::relaxed, linearity};

}  // namespace ebb
