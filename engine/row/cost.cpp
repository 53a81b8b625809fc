#include <ebb/engine/row/cost.h>

#include <cmath>

namespace ebb {
namespace {

// How many products an element of a contraction sums: [M, K] and [K, N] hold K^2 times what [M, N] does.
double products(const Tape& tape, const Node& node) {
  const auto matrix = [](const Node& of) {
    const Shape& shape = of.value.shape();
    return static_cast<double>(shape[shape.rank() - 2]) * static_cast<double>(shape[shape.rank() - 1]);
  };
  const double out = matrix(node);
  const double in = matrix(tape.node(tape.input(node, 0))) * matrix(tape.node(tape.input(node, 1)));
  return out == 0 ? 0 : std::sqrt(in / out);
}

}  // namespace

double flops(const Tape& tape, NodeId id) {
  const Node& node = tape.node(id);
  const double elements = static_cast<double>(node.value.numel());
  switch (node.row->kind) {
    case Kind::source:
    case Kind::movement:
      return 0;
    case Kind::reduction:
    case Kind::scan:
      return static_cast<double>(tape.node(tape.input(node, 0)).value.numel());
    case Kind::contraction:
      return elements * 2 * products(tape, node);
    default:
      return elements;
  }
}

}  // namespace ebb
