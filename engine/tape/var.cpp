#include <ebb/engine/tape/var.h>

#include <ebb/engine/tape/slots.h>
#include <ebb/engine/tape/tape.h>
#include <fmt/format.h>

namespace ebb {

Tape& Var::tape() const {
  if (slot_ == 0) throw UsageError("var: this Var is empty. Only Vars that a tape has recorded can be used.");
  Slot& slot = slots()[slot_];
  Tape* tape = slot.tape.load(std::memory_order_acquire);
  if (!tape || generation_ < tape->first_generation_) {
    throw UsageError(
        fmt::format("var: the tape of this Var (%{}) no longer exists. Keep the tape alive as long as its "
                    "Vars are used, or keep var.value().",
                    node_));
  }
  return *tape;
}

NodeId Var::id() const { return tape().resolve(*this); }

bool Var::alive() const {
  if (slot_ == 0) return false;
  const Tape* tape = slots()[slot_].tape.load(std::memory_order_acquire);
  return tape && generation_ >= tape->first_generation_ && node_ < tape->size() &&
         tape->node(node_).birth == generation_;
}

const Shape& Var::shape() const {
  const Tape& of = tape();
  return of.node(of.resolve(*this)).value.shape();
}
DType Var::dtype() const {
  const Tape& of = tape();
  return of.node(of.resolve(*this)).value.dtype();
}
std::string Var::name() const { return tape().name_of(id()); }
const Tensor& Var::value() const { return tape().value(id()); }

void Operand::fail_literal() const {
  throw UsageError(
      fmt::format("the literal {} stands where a Var is needed. Record it: tape.constant({}, DType::f32). ({})",
                  literal_, literal_, to_string(where_)));
}

}  // namespace ebb
