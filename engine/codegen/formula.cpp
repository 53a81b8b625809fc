#include <ebb/engine/codegen/formula.h>

#include <bit>

namespace ebb::codegen {
namespace {

using Symbol = lane::Symbol;

std::optional<Op> op_of(const Symbol& symbol) {
  switch (symbol.op) {
    case Symbol::Op::negate:
      return Op::bit_xor;
    case Symbol::Op::add:
      return Op::add;
    case Symbol::Op::subtract:
      return Op::subtract;
    case Symbol::Op::multiply:
      return Op::multiply;
    case Symbol::Op::divide:
      return Op::divide;
    case Symbol::Op::less:
      return Op::less;
    case Symbol::Op::less_equal:
      return Op::less_equal;
    case Symbol::Op::greater:
      return Op::greater;
    case Symbol::Op::greater_equal:
      return Op::greater_equal;
    case Symbol::Op::equal:
    case Symbol::Op::differ:
      return Op::equal;
    case Symbol::Op::both:
      return Op::both;
    case Symbol::Op::either:
      return Op::either;
    case Symbol::Op::opposite:
      return Op::exclusive;
    case Symbol::Op::select:
      return Op::select;
    case Symbol::Op::call:
      if (symbol.word == "sqrt") return Op::root;
      return std::nullopt;
    case Symbol::Op::name:
    case Symbol::Op::literal:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::size_t Value::arity() const {
  switch (op) {
    case Op::input:
    case Op::flag:
    case Op::accumulator:
    case Op::literal:
    case Op::always:
      return 0;
    case Op::root:
    case Op::shift_left:
    case Op::shift_right:
      return 1;
    case Op::select:
      return 3;
    default:
      return 2;
  }
}

std::size_t Formula::Hash::operator()(const Value& value) const {
  std::uint64_t hash = static_cast<std::uint64_t>(value.op);
  for (const std::uint64_t part : {std::uint64_t{value.of[0]}, std::uint64_t{value.of[1]}, std::uint64_t{value.of[2]},
                                   value.bits ^ value.bits >> 32}) {
    hash = (hash ^ part) * 0x9e3779b97f4a7c15;
  }
  return hash ^ hash >> 29;
}

Id Formula::add(const Value& value) {
  const auto [at, is_new] = known_.try_emplace(value, static_cast<Id>(values_.size()));
  if (is_new) values_.push_back(value);
  return at->second;
}

Id Formula::literal(double value) {
  return add({Op::literal,
              {},
              dtype_ == DType::f64 ? std::bit_cast<std::uint64_t>(value)
                                   : std::bit_cast<std::uint32_t>(static_cast<float>(value))});
}

std::optional<Id> Formula::add(const lane::Symbol& symbol, std::span<const Id> operands) {
  if (symbol.op == Symbol::Op::name) return operands[static_cast<std::size_t>(symbol.value)];
  if (symbol.op == Symbol::Op::literal) return literal(symbol.value);
  const std::optional<Op> op = op_of(symbol);
  if (!op) return std::nullopt;
  Value value{*op, {}, 0};
  for (std::size_t k = 0; k < symbol.operands.size(); ++k) {
    const std::optional<Id> operand = add(symbol.operands[k], operands);
    if (!operand) return std::nullopt;
    value.of[k] = *operand;
  }
  if (symbol.op == Symbol::Op::negate) value.of[1] = literal(-0.0);
  if (symbol.op == Symbol::Op::opposite) value.of[1] = add({Op::always});
  // Truth values are masks, numbers are packs: neither takes the other's place.
  const bool logic = value.op == Op::both || value.op == Op::either || value.op == Op::exclusive;
  for (std::size_t k = 0; k < value.arity(); ++k) {
    if (values_[value.of[k]].is_truth() != (logic || (value.op == Op::select && k == 0))) return std::nullopt;
  }
  const Id id = add(value);
  return symbol.op == Symbol::Op::differ ? add({Op::exclusive, {id, add({Op::always})}}) : id;
}

}  // namespace ebb::codegen
