#include <ebb/engine/codegen/formula.h>

#include <algorithm>
#include <cmath>

namespace ebb::codegen {
namespace {

using Symbol = lane::Symbol;

std::optional<Op> op_of(const Symbol& symbol) {
  switch (symbol.op) {
    case Symbol::Op::literal:
      return Op::literal;
    case Symbol::Op::negate:
      return Op::negate;
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
      return Op::equal;
    case Symbol::Op::differ:
      return Op::differ;
    case Symbol::Op::both:
      return Op::both;
    case Symbol::Op::either:
      return Op::either;
    case Symbol::Op::opposite:
      return Op::opposite;
    case Symbol::Op::select:
      return Op::select;
    case Symbol::Op::call:
      if (symbol.word == "sqrt") return Op::root;
      if (symbol.word == "abs") return Op::absolute;
      return std::nullopt;
    case Symbol::Op::name:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace

std::size_t Value::arity() const {
  switch (op) {
    case Op::input:
    case Op::accumulator:
    case Op::literal:
      return 0;
    case Op::negate:
    case Op::absolute:
    case Op::root:
    case Op::opposite:
      return 1;
    case Op::select:
      return 3;
    default:
      return 2;
  }
}

Id Formula::add(const Value& value) {
  const auto known = std::ranges::find_if(
      values_, [&](const Value& v) { return v == value && std::signbit(v.literal) == std::signbit(value.literal); });
  if (known != values_.end()) return static_cast<Id>(known - values_.begin());
  values_.push_back(value);
  return static_cast<Id>(values_.size() - 1);
}

std::optional<Id> Formula::add(const lane::Symbol& symbol, std::span<const Id> operands) {
  if (symbol.op == Symbol::Op::name) return operands[static_cast<std::size_t>(symbol.value)];
  const std::optional<Op> op = op_of(symbol);
  if (!op) return std::nullopt;
  Value value{*op, {}, *op == Op::literal ? symbol.value : 0};
  for (std::size_t k = 0; k < symbol.operands.size(); ++k) {
    const std::optional<Id> operand = add(symbol.operands[k], operands);
    if (!operand) return std::nullopt;
    value.of[k] = *operand;
  }
  // Truth values are masks, numbers are packs: neither takes the other's place.
  const bool logic = value.op == Op::both || value.op == Op::either || value.op == Op::opposite;
  for (std::size_t k = 0; k < value.arity(); ++k) {
    if (values_[value.of[k]].is_truth() != (logic || (value.op == Op::select && k == 0))) return std::nullopt;
  }
  return add(value);
}

}  // namespace ebb::codegen
