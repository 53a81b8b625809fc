#include <ebb/ops/compile/algebra.h>

#include <ebb/ops/compile/known_rows.h>
#include <ebb/ops/reduction/moments.h>
#include <ebb/ops/rows.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>

namespace ebb {
namespace {

constexpr std::size_t kMaxFactors = 12;  // shared squares would grow without end
constexpr std::size_t kMaxTerms = 12;

}  // namespace

const KnownRows& known_rows() {
  static const KnownRows rows{.sub = *find_row("sub"),
                              .mul = *find_row("mul"),
                              .div = *find_row("div"),
                              .neg = *find_row("neg"),
                              .square = *find_row("square"),
                              .reciprocal = *find_row("reciprocal"),
                              .mean = *find_row("mean"),
                              .gather = *find_row("gather"),
                              .scatter_add = *find_row("scatter_add")};
  return rows;
}

unsigned Formulas::axes_of(const Shape& shape) {
  unsigned axes = 0;
  for (int i = 0; i < shape.rank(); ++i) axes |= (shape[shape.rank() - 1 - i] != 1 ? 1u : 0u) << i;
  return axes;
}

unsigned Formulas::reduced_axes(NodeId reduction) const {
  unsigned axes = 0;
  const int rank = shape(input(reduction, 0)).rank();
  for (std::int64_t axis : Attrs(node(reduction).attrs).list("axes")) axes |= 1u << (rank - 1 - axis);
  return axes;
}

NodeId Formulas::peel(NodeId id) const {
  while (true) {
    const Row* row = node(id).row;
    const bool same = row == &kReshape && same_but_leading_ones(shape(id), shape(input(id, 0)));
    if (!same && row != &kBroadcastTo) return id;
    id = input(id, 0);
  }
}

bool Formulas::is_constant(NodeId id, double value) const {
  const Node& node = tape_.node(id);
  return node.row == &kConstant && Attrs(node.attrs).real("value") == value;
}

bool Formulas::is_centring(NodeId id) const {
  if (node(id).row != &known_rows().sub) return false;
  const unsigned x = axes_of(peel(input(id, 0)));
  const unsigned m = axes_of(peel(input(id, 1)));
  return m != 0 && m != x && (x & m) == m;
}

bool Formulas::is_corrected(NodeId id) const {
  return node(id).row == &known_rows().sub && is_centring(peel(input(id, 0))) &&
         node(peel(input(id, 1))).row == &kMeanLow;
}

bool Formulas::is_mean(NodeId id, NodeId x, unsigned axes) const {
  const Product p = product(peel(id));
  if (p.factors.size() != 1) return false;
  const Node& sum = tape_.node(p.factors[0]);
  if (sum.row != &kSum || peel(input(p.factors[0], 0)) != x) return false;
  const Shape& from = shape(x);
  const double n = static_cast<double>(from.numel()) / static_cast<double>(sum.value.numel());
  return (axes_of(from) & ~axes_of(p.factors[0])) == axes && std::abs(p.k * n - 1) < 1e-12;
}

Product Formulas::product(NodeId id) const {
  const KnownRows& rows = known_rows();
  id = peel(id);
  const Node& node = tape_.node(id);
  Product p;
  const auto times = [&](NodeId factor) {
    const Product q = product(factor);
    p.k *= q.k;
    p.factors.insert(p.factors.end(), q.factors.begin(), q.factors.end());
  };
  if (node.row == &kConstant) {
    p.k = Attrs(node.attrs).real("value");
    return p;
  }
  if (is_whole(id)) {
    p.factors = {id};
    return p;
  }
  if (node.row == &rows.mul) {
    times(input(id, 0));
    times(input(id, 1));
  } else if (node.row == &rows.square) {
    times(input(id, 0));
    times(input(id, 0));
  } else if (node.row == &rows.neg) {
    times(input(id, 0));
    p.k = -p.k;
  } else {
    p.factors = {id};
  }
  if (p.factors.size() > kMaxFactors) p = {1, {id}};
  std::ranges::sort(p.factors);
  return p;
}

// a * ((x - high) - low) is a * (x - high) - a * low, where that is not another tensor of the full size.
std::vector<Product> Formulas::distributed(const Product& p) const {
  const auto corrected = std::ranges::find_if(p.factors, [&](NodeId factor) { return is_corrected(factor); });
  if (corrected == p.factors.end() || std::ranges::count(p.factors, *corrected) > 1) return {p};
  unsigned whole = 0, others = 0;
  for (const NodeId& factor : p.factors) {
    whole |= axes_of(factor);
    if (&factor != &*corrected) others |= axes_of(factor);
  }
  const NodeId low = peel(input(*corrected, 1));
  if ((others | axes_of(low)) == whole) return {p};
  const std::size_t at = static_cast<std::size_t>(corrected - p.factors.begin());
  Product main = p;
  Product correction = p;
  main.factors[at] = peel(input(*corrected, 0));
  correction.factors[at] = low;
  correction.k = -correction.k;
  std::ranges::sort(main.factors);
  std::ranges::sort(correction.factors);
  return {main, correction};
}

std::vector<Product> Formulas::terms(NodeId id) const {
  const KnownRows& rows = known_rows();
  id = peel(id);
  const Node& node = tape_.node(id);
  const bool sub = node.row == &rows.sub && (!is_centring(id) || is_corrected(id));
  if ((sub || node.row == &kAdd) && !is_whole(id)) {
    std::vector<Product> all = terms(input(id, 0));
    for (Product& p : terms(input(id, 1))) {
      if (sub) p.k = -p.k;
      all.push_back(std::move(p));
    }
    if (all.size() > kMaxTerms) return {{1, {id}}};
    return all;
  }
  const Product p = product(id);
  if (p.factors.size() == 1 && p.factors[0] != id) {  // k * (a + b)
    std::vector<Product> inner = terms(p.factors[0]);
    if (inner.size() > 1) {
      for (Product& q : inner) q.k *= p.k;
      return inner;
    }
  }
  return distributed(p);
}

NodeId Algebra::build(const Product& product, DType dtype) {
  const KnownRows& rows = known_rows();
  // By the axes they vary along, fewest first.
  std::vector<std::pair<unsigned, NodeId>> parts;
  for (NodeId factor : product.factors) {
    const unsigned axes = axes_of(factor);
    const auto same = std::ranges::find(parts, axes, &std::pair<unsigned, NodeId>::first);
    if (same == parts.end()) {
      parts.emplace_back(axes, factor);
    } else if (same->second == factor) {
      same->second = to_.record(rows.square, {factor});
    } else {
      same->second = to_.record(rows.mul, {same->second, factor});
    }
  }
  std::ranges::sort(parts, [](const auto& a, const auto& b) {
    const int x = std::popcount(a.first);
    const int y = std::popcount(b.first);
    return x != y ? x < y : a.first < b.first;
  });
  double k = product.k;
  NodeId result = kNoNode;
  for (auto [axes, part] : parts) {
    if (k != 1 && k != -1) {
      part = to_.record(rows.mul, {to_.constant(k, dtype), part});
      k = 1;
    }
    result = result == kNoNode ? part : to_.record(rows.mul, {result, part});
  }
  if (result == kNoNode) return to_.constant(k, dtype);
  return k == -1 ? to_.record(rows.neg, {result}) : result;
}

NodeId Algebra::build(std::span<const Product> terms, DType dtype) {
  const KnownRows& rows = known_rows();
  if (terms.size() == 1) return build(terms[0], dtype);
  unsigned top = 0;
  for (const Product& p : terms) {
    for (NodeId factor : p.factors) top |= axes_of(factor);
  }
  // Terms with the same widest factors belong together; those that vary along fewer axes have none.
  std::map<std::vector<NodeId>, std::vector<Product>> groups;
  double constant = 0;
  for (const Product& p : terms) {
    if (p.factors.empty()) {
      constant += p.k;
      continue;
    }
    unsigned joint = 0;
    bool wide = false;
    for (NodeId factor : p.factors) {
      joint |= axes_of(factor);
      wide |= axes_of(factor) == top;
    }
    std::vector<NodeId> key;
    Product rest{p.k, {}};
    for (NodeId factor : p.factors) {
      const bool widest = axes_of(factor) == top || (joint == top && !wide);
      (widest ? key : rest.factors).push_back(factor);
    }
    groups[key].push_back(rest);
  }
  NodeId sum = kNoNode;
  const auto join = [&](NodeId term, double sign) {
    if (sum == kNoNode) {
      sum = sign < 0 ? to_.record(rows.neg, {term}) : term;
    } else {
      sum = to_.record(sign < 0 ? rows.sub : rows.add, {sum, term});
    }
  };
  for (const auto& [key, rest] : groups) {
    if (key.empty() && (top == 0 || groups.size() == 1)) {  // nothing to collect
      for (const Product& p : rest) join(build(p, dtype), 1);
      continue;
    }
    const bool numbers = std::ranges::all_of(rest, [](const Product& p) { return p.factors.empty(); });
    if (numbers) {
      double k = 0;
      for (const Product& p : rest) k += p.k;
      if (k == 0) continue;
      Product whole{std::abs(k), key};
      join(build(whole, dtype), k);
      continue;
    }
    const NodeId c = build(rest, dtype);
    if (key.empty()) {
      join(c, 1);
    } else {
      const NodeId x = build(Product{1, key}, dtype);
      join(to_.record(rows.mul, {c, x}), 1);
    }
  }
  if (constant != 0 || sum == kNoNode) {
    const NodeId number = to_.constant(constant, dtype);
    sum = sum == kNoNode ? number : to_.record(rows.add, {sum, number});
  }
  return sum;
}

NodeId Algebra::fit(NodeId id, const Shape& shape) {
  const Shape& is = to_.shape(id);
  if (is == shape) return id;
  if (same_but_leading_ones(is, shape)) return to_.record(kReshape, {id}, {{"shape", IntList(shape)}});
  return to_.record(kBroadcastTo, {id}, {{"shape", IntList(shape)}});
}

}  // namespace ebb
