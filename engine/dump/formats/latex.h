// Formulas in LaTeX, made from the formulas that labels spell out.
//
// The language of those formulas is what a row's lambda prints of itself (lanes/symbol.h): names, numbers, calls with
// attributes, operators. It is read into a tree here and set as a person would write it, with fractions, roots, powers
// and sums over axes. What each op computes is said by its row alone.
#pragma once

#include <ebb/engine/dump/graph.h>

#include <map>
#include <set>
#include <string>
#include <string_view>

namespace ebb::detail {

class Notation {
 public:
  /// Knows the names of `graph`: which are cotangents, and which are no names that LaTeX can set.
  explicit Notation(const Graph& graph);

  /// `\mu`, `\mathit{xmu}`, `d\mathit{xmu}_{1}`; `v_{12}` for `%12` and for a name that is none to LaTeX.
  std::string name(std::string_view text) const;
  /// A formula; as typewriter text if it is not of the language.
  std::string formula(std::string_view text) const;
  /// `-1.5 \cdot 10^{-5}`, from at most six digits.
  static std::string number(double value);
  /// The elements as a matrix, for ranks 0 to 2; empty for a higher rank, or if there are none.
  static std::string matrix(const ValueSummary& value, const Shape& shape);

  /// The names that stand as numbers: `v_{3}`, and the name.
  const std::map<NodeId, std::string>& numbered() const { return numbered_; }

 private:
  std::set<std::string, std::less<>> names_;  // of forward nodes
  std::map<std::string, NodeId, std::less<>> strange_;
  std::map<NodeId, std::string> numbered_;
};

}  // namespace ebb::detail
