// What functions of several ops need in order to speak for themselves: they have no row of their own, but they check
// their arguments in a row's words, before the first node is recorded, and their errors bear their name.
#pragma once

#include <ebb/engine/row/row.h>
#include <ebb/engine/tape/tape.h>

#include <array>
#include <initializer_list>
#include <span>

namespace ebb {

/// A row that is a name alone.
constexpr Row composition(std::string_view name) { return Row{.name = name, .vjp = kNoGrad("a composition")}; }

/// factor * n + more, the size of an axis. Throws the ShapeError of `call` past 2^63 - 1.
inline std::int64_t axis_size(const Call& call, std::int64_t n, std::int64_t factor, std::int64_t more) {
  std::int64_t size = 0;
  if (__builtin_mul_overflow(n, factor, &size) || __builtin_add_overflow(size, more, &size)) {
    call.fail_shape("an axis would have more than 2^63 - 1 elements");
  }
  return size;
}

namespace detail {
struct ArgumentIds {
  std::array<NodeId, 4> ids{};
};
}  // namespace detail

/// A call that is not recorded: its arguments are checked and errors are raised in the name of `row`.
class Arguments : private detail::ArgumentIds, public Call {
 public:
  Arguments(const Row& row, std::span<const Operand> inputs, Attrs attrs = {})
      : ArgumentIds(ids_of(inputs)),
        Call(inputs[0].tape(), row, std::span<const NodeId>(ids).first(std::min(inputs.size(), ids.size())), attrs,
             inputs[0].tape().line(inputs[0].where())) {}
  Arguments(const Row& row, std::initializer_list<Operand> inputs, Attrs attrs = {})
      : Arguments(row, std::span(inputs.begin(), inputs.size()), attrs) {}
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

 private:
  static ArgumentIds ids_of(std::span<const Operand> inputs) {
    ArgumentIds out;
    for (std::size_t i = 0; i < std::min(inputs.size(), out.ids.size()); ++i) out.ids[i] = inputs[i].var().id();
    return out;
  }
};

}  // namespace ebb
