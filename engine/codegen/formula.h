// Formulas over packs: what generated code computes for each element, as a list in order of computation.
//
// A formula is built from the expressions that rows give of themselves on symbols; equal parts are one value. What the
// generator cannot emit with the bits of the row's own lanes is refused: an expression with a call in it, but for those
// that are one instruction.
#pragma once

#include <ebb/engine/lanes/symbol.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ebb::codegen {

enum class Op : std::uint8_t {
  input,        ///< of[0] is its number
  accumulator,  ///< of[0] is its number
  literal,
  negate,
  absolute,
  root,
  add,
  subtract,
  multiply,
  divide,
  less,  // from here to `opposite`, but for the choice, truth values
  less_equal,
  greater,
  greater_equal,
  equal,
  differ,
  both,
  either,
  opposite,
  select,
};

using Id = std::uint16_t;

struct Value {
  Op op = Op::input;
  std::array<Id, 3> of{};
  double literal = 0;
  bool operator==(const Value&) const = default;

  std::size_t arity() const;
  bool is_truth() const { return op >= Op::less && op <= Op::opposite; }
};

class Formula {
 public:
  Id add(const Value& value);
  Id input(std::size_t number) { return add({Op::input, {static_cast<Id>(number)}}); }
  Id accumulator(std::size_t number) { return add({Op::accumulator, {static_cast<Id>(number)}}); }
  /// Adds what `symbol` computes; a name in it stands for operands[its number]. Nothing if that cannot be emitted.
  std::optional<Id> add(const lane::Symbol& symbol, std::span<const Id> operands);

  const std::vector<Value>& values() const { return values_; }
  const Value& operator[](Id id) const { return values_[id]; }
  std::size_t size() const { return values_.size(); }
  void shrink(std::size_t size) { values_.resize(size); }

 private:
  std::vector<Value> values_;
};

}  // namespace ebb::codegen
