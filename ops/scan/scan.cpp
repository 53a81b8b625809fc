#include <ebb/ops/scan/scan.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/slice.h>
#include <fmt/format.h>

namespace ebb {

namespace base {
extern const std::array<ScannerTable, 3> kScanners;
}
namespace avx2 {
extern const std::array<ScannerTable, 3> kScanners;
}
namespace avx512 {
extern const std::array<ScannerTable, 3> kScanners;
}

namespace {

constexpr PerIsa<ScannerTable> scanners(std::size_t i) {
  return per_isa(base::kScanners, avx2::kScanners, avx512::kScanners, i);
}

TensorType scan_type(const Call& call) {
  const DType dtype = call.common_dtype();
  if (dtype == DType::boolean) call.fail_dtype("does not take bool", "Convert it with cast(x, DType::i64).");
  if (call.arity() == 2 && call.shape(0) != call.shape(1)) {
    call.fail_shape(fmt::format("shapes {} and {} differ", to_string(call.shape(0)), to_string(call.shape(1))),
                    "Repeat one with broadcast_to.");
  }
  call.axis(call.attrs().integer("axis"));
  return {call.shape(0), dtype};
}

int axis_of(const Vjp& g) { return static_cast<int>(g.attrs.integer("axis")); }
ScanOptions same(const Vjp& g) { return {.reverse = g.attrs.flag("reverse")}; }
ScanOptions opposite(const Vjp& g) { return {.reverse = !g.attrs.flag("reverse")}; }

// What a cotangent becomes on its way back through the factors `a`.
Var carried_back(const Vjp& g, const Var& a) {
  return linear_recurrence(shift(a, axis_of(g), 0, opposite(g)), g.ct, axis_of(g), opposite(g));
}

template <int arity>
std::vector<Example> examples() {
  const auto along = [](Shape shape, std::int64_t axis, bool reverse) {
    return Example{std::vector<Example::Input>(arity, {shape}), {{"axis", axis}, {"reverse", reverse}}};
  };
  return {
      along({7}, 0, false),         along({5}, 0, true),         along({1}, 0, false),       along({3, 4}, 0, false),
      along({3, 4}, 0, true),       along({6, 3}, 1, false),     along({2, 3, 4}, 1, true),  along({9, 5}, 1, true),
      along({0, 3}, 0, false),      along({3, 0}, 0, true),      along({40, 300}, 0, false), along({33, 70}, 1, false),
      along({2, 17, 300}, 1, true), along({3, 70000}, 1, false), along({70001}, 0, true),
  };
}

const Row kCumsum{
    .name = "cumsum",
    .kind = Kind::scan,
    .type = scan_type,
    .vjp = [](const Vjp& g) { return cumsum(g.ct, axis_of(g), opposite(g)); },
    .scanner = scanners(0),
    .ulp = 1,
    .facts = {.linear = 1},
    .examples = examples<1>,
};

const Row kCumprod{
    .name = "cumprod",
    .kind = Kind::scan,
    .type = scan_type,
    .vjp = [](const Vjp& g) { return shift(g.out, axis_of(g), 1, same(g)) * carried_back(g, g.in[0]); },
    .scanner = scanners(1),
    .ulp = 1,
    .examples = examples<1>,
};

const Row kLinearRecurrence{
    .name = "linear_recurrence",
    .kind = Kind::scan,
    .arity = 2,
    .type = scan_type,
    .vjp = {[](const Vjp& g) { return carried_back(g, g.in[0]) * shift(g.out, axis_of(g), 0, same(g)); },
            [](const Vjp& g) { return carried_back(g, g.in[0]); }},
    .scanner = scanners(2),
    .ulp = 1,
    .facts = {.linear = 2},
    .examples = examples<2>,
};

// The attributes, with the axis counted from the front.
std::array<Attr, 2> attrs_of(const Row& row, const Operand& x, int axis, const ScanOptions& options) {
  const std::array ids{x.var().id()};
  return {Attr{"axis", Call(x.tape(), row, ids, {}, x.where()).axis(axis)}, Attr{"reverse", options.reverse}};
}

Var scan(const Row& row, const Operand& x, int axis, const ScanOptions& options) {
  return x.tape().record(row, std::span(&x, 1), attrs_of(row, x, axis, options));
}

}  // namespace

Var cumsum(const Operand& x, int axis, const ScanOptions& options) { return scan(kCumsum, x, axis, options); }
Var cumprod(const Operand& x, int axis, const ScanOptions& options) { return scan(kCumprod, x, axis, options); }

Var linear_recurrence(const Operand& a, const Operand& b, int axis, const ScanOptions& options) {
  Tape& tape = (a.is_literal() ? b : a).tape();
  const auto scope = tape.scope("linear_recurrence", a.where());
  const DType dtype = (a.is_literal() ? b : a).var().dtype();
  const Var x = a.is_literal() ? tape.constant(a.literal(), dtype) : a.var();
  const Var y = b.is_literal() ? tape.constant(b.literal(), dtype) : b.var();
  const Shape shape = broadcast(x.shape(), y.shape()).value_or(x.shape());  // the row tells those that do not
  const bool alike = broadcasts_to(y.shape(), shape);
  const std::array in{Operand(broadcast_to(x, shape), a.where()),
                      Operand(alike ? broadcast_to(y, shape) : y, a.where())};
  return tape.record(kLinearRecurrence, in, attrs_of(kLinearRecurrence, in[0], axis, options));
}

Var shift(const Operand& x, int axis, double fill, const ScanOptions& options) {
  const auto scope = x.tape().scope("shift", x.where());
  static constexpr Row kShift = composition("shift");
  const int rank = x.var().rank();
  const auto at = static_cast<std::size_t>(Arguments(kShift, {x}).axis(axis));
  IntList low, high, starts, stops;
  for (int i = 0; i < rank; ++i) {
    low.push_back(0);
    high.push_back(0);
    starts.push_back(0);
    stops.push_back(x.var().shape()[i]);
  }
  (options.reverse ? high : low)[at] = 1;
  if (options.reverse) {
    ++starts[at];
    ++stops[at];
  }
  return slice(pad(x, low, high, {.value = fill}), starts, stops);
}

std::span<const Row* const> scan_rows() {
  static const std::array<const Row*, 3> rows{&kCumsum, &kCumprod, &kLinearRecurrence};
  return rows;
}

}  // namespace ebb
