#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace ebb {

std::optional<ValueSummary> summarise(const Tape& tape, NodeId id, std::int64_t full) {
  const std::int64_t count = tape.node(id).value.numel();
  // A large broadcast that nobody has needed in full stays that way: its elements are those of its source.
  while (tape.node(id).presence == Presence::lazy && count > full) id = tape.input(tape.node(id), 0);
  const Presence presence = tape.node(id).presence;
  if (presence == Presence::traced || presence == Presence::released) return {};
  const Tensor& tensor = tape.value(id);
  if (!tensor.has_buffer() && tensor.numel() > 0) return {};
  ValueSummary s;
  s.count = count;
  s.min = std::numeric_limits<double>::infinity();
  s.max = -s.min;
  // Welford's mean and sum of squares: exact enough at any mean.
  double squares = 0;
  std::int64_t n = 0;
  for (std::int64_t i = 0; i < tensor.numel(); ++i) {
    const double x = tensor.at(i);
    if (!std::isfinite(x)) {
      ++s.not_finite;
      continue;
    }
    s.min = std::min(s.min, x);
    s.max = std::max(s.max, x);
    const double delta = x - s.mean;
    s.mean += delta / static_cast<double>(++n);
    squares += delta * (x - s.mean);
  }
  if (n == 0) s.min = s.max = 0;
  if (n > 0) s.deviation = std::sqrt(squares / static_cast<double>(n));
  if (tensor.numel() > 0) s.not_finite *= count / tensor.numel();
  if (count <= full) {
    for (std::int64_t i = 0; i < count; ++i) s.elements.push_back(tensor.at(i));
    s.text = to_string(tensor);
  }
  return s;
}

std::string to_string(const ValueSummary& value) {
  if (!value.text.empty()) return value.text;
  const std::string bad = value.not_finite > 0 ? fmt::format(", {} not finite", value.not_finite) : "";
  return fmt::format("{} values: min {:.6g}, mean {:.6g}, max {:.6g}, deviation {:.6g}{}", value.count, value.min,
                     value.mean, value.max, value.deviation, bad);
}

std::string brief(const ValueSummary& value) {
  if (!value.text.empty()) return value.text;
  const std::string bad = value.not_finite > 0 ? fmt::format(", {} not finite", value.not_finite) : "";
  return fmt::format("min {:.4g}, mean {:.4g}, max {:.4g}{}", value.min, value.mean, value.max, bad);
}

}  // namespace ebb
