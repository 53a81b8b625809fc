// Formulas over packs: what generated code computes for each element, as a list in order of computation.
//
// A formula is built by rows' lambdas on recorded packs (recorded.h), and by reductions' steps on symbols; equal parts
// are one value. What cannot be emitted with the bits of the rows' own lanes is refused.
#pragma once

#include <ebb/engine/lanes/symbol.h>
#include <ebb/engine/tensor/dtype.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

namespace ebb::codegen {

enum class Op : std::uint8_t {
  input,        ///< `bits` is its number
  accumulator,  ///< `bits` is its number
  literal,      ///< `bits` are its own
  root,
  add,
  subtract,
  multiply,
  divide,
  least,  ///< the second operand if one is a NaN, and so the next
  greatest,
  bit_and,
  bit_or,
  bit_xor,
  add_integers,
  shift_left,  ///< of the bits, by `bits` places
  shift_right,
  select,
  flag,  ///< from here on truth values: an input of booleans, whose number is `bits`
  always,
  less,
  less_equal,
  greater,
  greater_equal,
  equal,
  both,
  either,
  exclusive,
};

using Id = std::uint16_t;

struct Value {
  Op op = Op::input;
  std::array<Id, 3> of{};
  std::uint64_t bits = 0;
  bool operator==(const Value&) const = default;

  std::size_t arity() const;
  bool is_truth() const { return op >= Op::flag; }
};

class Formula {
 public:
  static constexpr std::size_t kMaxSize = 4096;

  /// Of f32 or f64.
  explicit Formula(DType dtype = DType::f32) : dtype_(dtype) {}

  DType dtype() const { return dtype_; }

  Id add(const Value& value);
  Id input(std::size_t number) { return add({Op::input, {}, number}); }
  Id flag(std::size_t number) { return add({Op::flag, {}, number}); }
  Id accumulator(std::size_t number) { return add({Op::accumulator, {}, number}); }
  Id literal(double value);
  /// Adds what `symbol` computes; a name in it stands for operands[its number]. Nothing if that cannot be emitted.
  std::optional<Id> add(const lane::Symbol& symbol, std::span<const Id> operands);

  const std::vector<Value>& values() const { return values_; }
  const Value& operator[](Id id) const { return values_[id]; }
  std::size_t size() const { return values_.size(); }

 private:
  struct Hash {
    std::size_t operator()(const Value& value) const;
  };
  DType dtype_;
  std::vector<Value> values_;
  std::unordered_map<Value, Id, Hash> known_;
};

}  // namespace ebb::codegen
