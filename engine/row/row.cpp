#include <ebb/engine/error.h>
#include <ebb/engine/row/row.h>
#include <ebb/engine/row/structural.h>
#include <ebb/engine/tape/tape.h>
#include <fmt/format.h>

namespace ebb {

std::string to_string(const TensorType& type) { return fmt::format("{}{}", name(type.dtype), to_string(type.shape)); }

std::string_view name(Kind kind) {
  constexpr std::string_view kNames[] = {"source",   "elementwise", "reduction", "scan",
                                         "movement", "contraction", "opaque"};
  return kNames[static_cast<int>(kind)];
}

const Shape& Call::shape(std::size_t i) const { return tape_.node(inputs_[i]).value.shape(); }
DType Call::dtype(std::size_t i) const { return tape_.node(inputs_[i]).value.dtype(); }

std::string Call::message(std::string_view what, std::string_view advice) const {
  std::string text = fmt::format("{}: {}", row_.name, what);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Node& node = tape_.node(inputs_[i]);
    if (node.row == &kConstant && !node.named) {
      text += fmt::format("{} the literal {}", i == 0 ? "; got" : ",", to_string(node.value, 17));
      continue;
    }
    const std::string named = tape_.name_of(inputs_[i]);
    const std::string number = fmt::format("%{}", inputs_[i]);
    text += fmt::format("{} {} ({}{})", i == 0 ? "; got" : ",", describe(tape_.node(inputs_[i]).value), number,
                        named == number ? "" : fmt::format(" \"{}\"", named));
  }
  text += '.';
  if (!advice.empty()) text += fmt::format(" {}", advice);
  return text += tape_.place(row_.name, where_);
}

void Call::fail_shape(std::string_view what, std::string_view advice) const { throw ShapeError(message(what, advice)); }
void Call::fail_dtype(std::string_view what, std::string_view advice) const { throw DTypeError(message(what, advice)); }
void Call::fail_usage(std::string_view what, std::string_view advice) const { throw UsageError(message(what, advice)); }

Shape Call::broadcast() const {
  Shape out = shape(0);
  for (std::size_t i = 1; i < arity(); ++i) {
    if (shape(i) == out) continue;
    const std::optional<Shape> both = ebb::broadcast(out, shape(i));
    if (!both) {
      fail_shape(fmt::format("shapes {} and {} do not broadcast", to_string(out), to_string(shape(i))));
    }
    out = *both;
  }
  return out;
}

DType Call::common_dtype(std::size_t first) const {
  for (std::size_t i = first + 1; i < arity(); ++i) {
    if (dtype(i) != dtype(first)) {
      fail_dtype(fmt::format("inputs are {} and {}", ebb::name(dtype(first)), ebb::name(dtype(i))),
                 fmt::format("Convert one with cast(x, DType::{}).", ebb::name(dtype(first))));
    }
  }
  return dtype(first);
}

void Call::require_floating(std::size_t i) const {
  if (!is_floating(dtype(i))) {
    fail_dtype(fmt::format("needs a floating type, input {} is {}", i, ebb::name(dtype(i))),
               "Convert it with cast(x, DType::f32).");
  }
}

void Call::require_dtype(std::size_t i, DType wanted) const {
  if (dtype(i) != wanted) {
    fail_dtype(
        fmt::format("input {} must be {}, not {}", i, ebb::name(wanted), ebb::name(dtype(i))),
        fmt::format("Convert it with cast(x, DType::{}).", wanted == DType::boolean ? "boolean" : ebb::name(wanted)));
  }
}

int Call::axis(std::int64_t axis, std::size_t i) const {
  const int rank = shape(i).rank();
  if (axis < -rank || axis >= rank) {
    fail_shape(fmt::format("axis {} is outside of {} axes", axis, rank),
               rank == 0 ? "" : fmt::format("Axes run from {} to {}.", -rank, rank - 1));
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

}  // namespace ebb
