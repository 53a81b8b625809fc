#include <ebb/ops/indexing/rearrange.h>

#include <ebb/ops/composition.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/iota.h>
#include <ebb/ops/indexing/slice.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

namespace ebb {
namespace {

std::int64_t product(const Shape& shape, int first, int last) {
  std::int64_t n = 1;
  for (int i = first; i < last; ++i) n *= shape[i];
  return n;
}

Shape without(const Shape& shape, int axis) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (i != axis) out.push_back(shape[i]);
  }
  return out;
}

Shape with_one(const Shape& shape, int axis) {
  Shape out;
  for (int i = 0; i <= shape.rank(); ++i) {
    if (i == axis) out.push_back(1);
    if (i < shape.rank()) out.push_back(shape[i]);
  }
  return out;
}

// The place of a new axis, which may stand behind the last one.
int new_axis(const Call& call, int axis) {
  const int rank = call.shape(0).rank();
  if (axis < -rank - 1 || axis > rank) {
    call.fail_shape(fmt::format("the result has no axis {}", axis),
                    fmt::format("Its axes run from {} to {}.", -rank - 1, rank));
  }
  return axis < 0 ? axis + rank + 1 : axis;
}

// The runs of `run` elements that x consists of, each `times` times, under the shape of x with `axis` longer.
Var repeat_runs(const Call& call, const Var& x, std::int64_t run, std::int64_t times, int axis) {
  if (times == 1) return x;
  Shape shape = x.shape();
  const std::int64_t runs = run == 0 ? 0 : x.numel() / run;
  shape[axis] = axis_size(call, shape[axis], times, 0);
  return reshape(broadcast_to(reshape(x, Shape{runs, 1, run}), Shape{runs, times, run}), shape);
}

Vars pieces_of(const Operand& x, std::span<const std::int64_t> sizes, int axis) {
  Vars out;
  std::int64_t start = 0;
  for (const std::int64_t size : sizes) {
    out.push_back(slice_axis(x, axis, start, start + size));
    start += size;
  }
  return out;
}

// x where compare(j, i + diagonal), 0 elsewhere.
Var triangle(const Row& row, const Operand& x, std::int64_t diagonal, Var (*compare)(const Operand&, const Operand&)) {
  Tape& tape = x.tape();
  const auto scope = tape.scope(row.name, x.where());
  const Arguments call(row, {x});
  const Shape shape = call.shape(0);
  if (shape.rank() < 2) call.fail_shape("a triangle needs two axes");
  if (call.dtype(0) == DType::boolean) call.fail_dtype("does not take bool", "Convert it with cast(x, DType::i64).");
  const std::int64_t rows = shape[shape.rank() - 2];
  const std::int64_t columns = shape[shape.rank() - 1];
  const Var first = reshape(iota(tape, rows), Shape{rows, 1});
  // Beyond the corners a diagonal is as good as next to them, and no literal too long for a double.
  return where(compare(iota(tape, columns), first + std::clamp(diagonal, -rows - 1, columns + 1)), x, 0);
}

}  // namespace

Var squeeze(const Operand& x, int axis) {
  static constexpr Row kSqueeze = composition("squeeze");
  const Arguments call(kSqueeze, {x});
  const int at = call.axis(axis);
  if (call.shape(0)[at] != 1) {
    call.fail_shape(fmt::format("axis {} has size {}, only an axis of size 1 can be dropped", at, call.shape(0)[at]),
                    "Use select for one of its slices.");
  }
  return reshape(x, without(call.shape(0), at));
}

Var unsqueeze(const Operand& x, int axis) {
  static constexpr Row kUnsqueeze = composition("unsqueeze");
  const Arguments call(kUnsqueeze, {x});
  return reshape(x, with_one(call.shape(0), new_axis(call, axis)));
}

Var flatten(const Operand& x, int first, int last) {
  static constexpr Row kFlatten = composition("flatten");
  const Shape shape = x.var().shape();
  if (shape.rank() == 0) return reshape(x, Shape{1});
  const Arguments call(kFlatten, {x});
  const int from = call.axis(first);
  const int to = call.axis(last);
  if (from > to) call.fail_shape(fmt::format("axis {} comes after axis {}", first, last));
  Shape out(shape.sizes().first(static_cast<std::size_t>(from)));
  out.push_back(product(shape, from, to + 1));
  for (int i = to + 1; i < shape.rank(); ++i) out.push_back(shape[i]);
  return reshape(x, out);
}

Var select(const Operand& x, int axis, std::int64_t index) {
  static constexpr Row kSelect = composition("select");
  const auto scope = x.tape().scope("select", x.where());
  const Arguments call(kSelect, {x});
  const Shape shape = call.shape(0);
  const int at = call.axis(axis);
  const std::int64_t n = shape[at];
  if (index < -n || index >= n) {
    call.fail_usage(
        fmt::format("index {} is outside of axis {}, which has {} element{}", index, at, n, n == 1 ? "" : "s"),
        n == 0 ? "" : fmt::format("Indices run from {} to {}.", -n, n - 1));
  }
  const std::int64_t from_front = index < 0 ? index + n : index;
  return reshape(slice_axis(x, at, from_front, from_front + 1), without(shape, at));
}

Var stack(std::span<const Operand> inputs, int axis) {
  static constexpr Row kStack = composition("stack");
  if (inputs.empty()) throw ShapeError("stack: there is nothing to stack. Give at least one Var.");
  const auto scope = inputs[0].tape().scope("stack", inputs[0].where());
  const int at = new_axis(Arguments(kStack, inputs.first(1)), axis);
  CachedVector<Operand> parts;
  for (const Operand& x : inputs) {
    const std::array both{inputs[0], x};
    const Arguments call(kStack, both);
    if (call.shape(0) != call.shape(1)) {
      call.fail_shape(fmt::format("shapes {} and {} differ", to_string(call.shape(0)), to_string(call.shape(1))));
    }
    call.common_dtype();
  }
  for (const Operand& x : inputs) parts.emplace_back(reshape(x, with_one(x.var().shape(), at)));
  return concat(parts, at);
}
Var stack(std::initializer_list<Operand> inputs, int axis) {
  return stack(std::span(inputs.begin(), inputs.size()), axis);
}

Vars split(const Operand& x, std::span<const std::int64_t> sizes, int axis) {
  static constexpr Row kSplit = composition("split");
  const auto scope = x.tape().scope("split", x.where());
  const Arguments call(kSplit, {x});
  const int at = call.axis(axis);
  std::int64_t sum = 0;
  for (const std::int64_t size : sizes) {
    if (size < 0) call.fail_shape(fmt::format("a piece cannot have size {}", size));
    sum = axis_size(call, sum, 1, size);
  }
  if (sum != call.shape(0)[at]) {
    call.fail_shape(fmt::format("the pieces have {} elements of axis {}, which has {}", sum, at, call.shape(0)[at]));
  }
  return pieces_of(x, sizes, at);
}
Vars split(const Operand& x, std::initializer_list<std::int64_t> sizes, int axis) {
  return split(x, std::span(sizes.begin(), sizes.size()), axis);
}

Vars chunk(const Operand& x, std::int64_t pieces, int axis) {
  static constexpr Row kChunk = composition("chunk");
  const auto scope = x.tape().scope("chunk", x.where());
  const Arguments call(kChunk, {x});
  const int at = call.axis(axis);
  if (pieces < 1) call.fail_usage(fmt::format("{} pieces cannot be cut", pieces));
  const std::int64_t n = call.shape(0)[at];
  CachedVector<std::int64_t> sizes(static_cast<std::size_t>(pieces), n / pieces);
  for (std::int64_t i = 0; i < n % pieces; ++i) ++sizes[static_cast<std::size_t>(i)];
  return pieces_of(x, sizes, at);
}

Var tile(const Operand& x, const IntList& reps) {
  static constexpr Row kTile = composition("tile");
  const auto scope = x.tape().scope("tile", x.where());
  const Arguments call(kTile, {x});
  for (const std::int64_t n : reps) {
    if (n < 0) call.fail_usage(fmt::format("{} copies cannot be made", n));
  }
  Shape shape = call.shape(0);
  if (reps.size() > static_cast<std::size_t>(kMaxRank)) {
    call.fail_shape(fmt::format("{} reps make more than {} axes", reps.size(), kMaxRank));
  }
  const auto axes = static_cast<std::size_t>(std::max<int>(shape.rank(), static_cast<int>(reps.size())));
  while (static_cast<std::size_t>(shape.rank()) < axes) shape = with_one(shape, 0);
  Var out = reshape(x, shape);
  for (std::size_t k = 0; k < reps.size(); ++k) {
    const int i = static_cast<int>(axes - reps.size() + k);
    out = repeat_runs(call, out, product(out.shape(), i, out.rank()), reps[k], i);
  }
  return out;
}

Var repeat(const Operand& x, std::int64_t times, int axis) {
  static constexpr Row kRepeat = composition("repeat");
  const auto scope = x.tape().scope("repeat", x.where());
  const Arguments call(kRepeat, {x});
  const int at = call.axis(axis);
  if (times < 0) call.fail_usage(fmt::format("elements cannot stand {} times", times));
  return repeat_runs(call, x, product(call.shape(0), at + 1, call.shape(0).rank()), times, at);
}

Var roll(const Operand& x, const IntList& shifts, const IntList& axes) {
  static constexpr Row kRoll = composition("roll");
  const auto scope = x.tape().scope("roll", x.where());
  const Arguments call(kRoll, {x});
  if (shifts.size() != axes.size()) {
    call.fail_usage(fmt::format("{} shifts for {} axes", shifts.size(), axes.size()), "Give one per axis.");
  }
  for (const std::int64_t axis : axes) call.axis(axis);
  Var out = x;
  for (std::size_t k = 0; k < axes.size(); ++k) {
    const int at = call.axis(axes[k]);
    const std::int64_t n = out.shape()[at];
    const std::int64_t shift = n == 0 ? 0 : (shifts[k] % n + n) % n;
    if (shift == 0) continue;
    out = concat({slice_axis(out, at, n - shift, n), slice_axis(out, at, 0, n - shift)}, at);
  }
  return out;
}

Var tril(const Operand& x, std::int64_t diagonal) {
  static constexpr Row kTril = composition("tril");
  return triangle(kTril, x, diagonal, less_equal);
}

Var triu(const Operand& x, std::int64_t diagonal) {
  static constexpr Row kTriu = composition("triu");
  return triangle(kTriu, x, diagonal, greater_equal);
}

}  // namespace ebb
