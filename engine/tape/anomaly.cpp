// Anomaly mode: the first node that is not finite, named with its op, its element and the user's line.
#include <ebb/engine/row/structural.h>
#include <ebb/engine/tape/tape.h>
#include <fmt/format.h>

#include <cmath>

namespace ebb {
namespace {

// The first element that is not finite, or -1.
std::int64_t first_not_finite(const Tensor& tensor) {
  if (!is_floating(tensor.dtype()) || !tensor.has_buffer()) return -1;
  return with_type(tensor.dtype(), [&]<class T>(std::type_identity<T>) -> std::int64_t {
    if constexpr (std::is_floating_point_v<T>) {
      const std::span<const T> data = tensor.data<T>();
      for (std::size_t i = 0; i < data.size(); ++i) {
        if (!std::isfinite(data[i])) return static_cast<std::int64_t>(i);
      }
    }
    return -1;
  });
}

std::string index_text(const Shape& shape, std::int64_t flat) {
  std::string text;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    text = fmt::format("{}{}{}", flat % shape[axis], text.empty() ? "" : ", ", text);
    flat /= shape[axis];
  }
  return "[" + text + "]";
}

// The sign of a NaN says nothing, and differs between processors.
std::string number(double value) { return std::isnan(value) ? "nan" : fmt::format("{}", value); }

}  // namespace

void Tape::check_finite(NodeId id) const {
  const Node& node = nodes_[id];
  const Tensor& value = node.presence == Presence::lazy ? lazies_[node.lazy] : node.value;
  const std::int64_t bad = first_not_finite(value);
  if (bad < 0) return;
  std::string text = fmt::format("{}: the value of {} is {} at {}", node.row->name, name_of(id), number(value.at(bad)),
                                 index_text(value.shape(), bad));
  for (std::size_t i = 0; i < node.inputs; ++i) {
    const NodeId in = input(node, i);
    text += fmt::format("{} {} {}", i == 0 ? "; got" : ",", describe(nodes_[in].value), name_of(in));
  }
  text += '.';
  if (node.origin != kNoNode) {
    const Node& origin = nodes_[node.origin];
    text += fmt::format(" It belongs to the derivative of {} {}.", origin.row->name, name_of(node.origin));
  }
  throw UsageError(text += place(node.row->name, node.where, node.scope));
}

}  // namespace ebb
