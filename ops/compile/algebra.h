// Algebra on a graph that is being rebuilt: products and sums in a normal form.
//
// A product is a number and its factors, a sum is a list of products. Built again, factors that vary along fewer axes
// are multiplied first (xmu * (ivar * gamma), never (xmu * ivar) * gamma), and terms that share their widest factors
// are collected (x * a + x * b = x * (a + b)), so that work moves from whole tensors to the small ones.
//
// One thing is never taken apart: x - m, where m does not vary along an axis of x. Such a centring is where a
// cancellation happens, and it has to happen before anything is multiplied or summed.
#pragma once

#include <ebb/engine/program/passes/rewriter.h>

#include <span>
#include <unordered_set>
#include <vector>

namespace ebb {

struct Product {
  double k = 1;
  std::vector<NodeId> factors;  // sorted; one that occurs twice is there twice
};

/// What a graph says, read as algebra.
class Formulas {
 public:
  explicit Formulas(const Tape& tape) : tape_(tape) {}

  const Node& node(NodeId id) const { return tape_.node(id); }
  NodeId input(NodeId id, std::size_t i) const { return tape_.input(tape_.node(id), i); }
  const Shape& shape(NodeId id) const { return tape_.node(id).value.shape(); }

  /// The axes along which a node varies, counted from the last: bit 0 is axis -1.
  unsigned axes_of(NodeId id) const { return axes_of(shape(id)); }
  static unsigned axes_of(const Shape& shape);
  /// The axes of a reduction, counted in the same way.
  unsigned reduced_axes(NodeId reduction) const;
  /// Below reshapes that only add or drop leading axes of size 1, and below broadcasts.
  NodeId peel(NodeId id) const;

  bool is_constant(NodeId id, double value) const;
  /// x - m with m invariant along an axis of x.
  bool is_centring(NodeId id) const;
  /// (x - high) - low with the low part of a mean: a correction, which may be distributed.
  bool is_corrected(NodeId id) const;
  /// The mean of x over `axes`, however it is written.
  bool is_mean(NodeId id, NodeId x, unsigned axes) const;

  Product product(NodeId id) const;
  std::vector<Product> terms(NodeId id) const;

  /// Nodes that are in memory in any case, since a kernel reads them, are factors as they are.
  void keep_whole(NodeId id) { whole_.insert(id); }

 private:
  bool is_whole(NodeId id) const { return whole_.contains(id); }
  std::vector<Product> distributed(const Product& p) const;

  const Tape& tape_;
  std::unordered_set<NodeId> whole_;
};

/// The same of a graph that is being rebuilt, to which it adds.
class Algebra : public Formulas {
 public:
  explicit Algebra(Rewriter& to) : Formulas(to.tape()), to_(to) {}

  Rewriter& to() const { return to_; }

  /// Record a product or a sum in normal form. What comes out broadcasts to the shape of what went in.
  NodeId build(const Product& product, DType dtype);
  NodeId build(std::span<const Product> terms, DType dtype);

  /// `id` under exactly this shape: reshaped or broadcast, if it is not.
  NodeId fit(NodeId id, const Shape& shape);

 private:
  Rewriter& to_;
};

}  // namespace ebb
