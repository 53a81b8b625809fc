#include <ebb/ops/elementwise/elementwise.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/ops/elementwise/elementwise_ops.h>
#include <ebb/ops/elementwise/math_ops.h>
#include <fmt/format.h>

#include <cmath>
#include <stdexcept>
#include <vector>

namespace ebb {

inline constexpr std::size_t kElementwiseCount = std::tuple_size_v<decltype(kElementwiseOps)>;
inline constexpr std::size_t kMathCount = std::tuple_size_v<decltype(kMathOps)>;
namespace base {
extern const std::array<LaneTable, kElementwiseCount> kElementwiseLanes;
extern const std::array<LaneTable, kMathCount> kMathLanes;
}  // namespace base
namespace avx2 {
extern const std::array<LaneTable, kElementwiseCount> kElementwiseLanes;
extern const std::array<LaneTable, kMathCount> kMathLanes;
}  // namespace avx2
namespace avx512 {
extern const std::array<LaneTable, kElementwiseCount> kElementwiseLanes;
extern const std::array<LaneTable, kMathCount> kMathLanes;
}  // namespace avx512

namespace {

constexpr std::array kRows = make_rows<kElementwiseOps>(
    [](std::size_t i) {
      return per_isa(base::kElementwiseLanes, avx2::kElementwiseLanes, avx512::kElementwiseLanes, i);
    },
    std::make_index_sequence<kElementwiseCount>());
constexpr std::array kMathRows = make_rows<kMathOps>(
    [](std::size_t i) { return per_isa(base::kMathLanes, avx2::kMathLanes, avx512::kMathLanes, i); },
    std::make_index_sequence<kMathCount>());

const Row kCast{
    .name = "cast",
    .kind = Kind::elementwise,
    .type =
        [](const Call& call) {
          return TensorType{call.shape(0), DType(call.attrs().integer("dtype"))};
        },
    .vjp = [](const Vjp& g) { return cast(g.ct, g.in[0].dtype()); },
    .kernel = [](KernelCall& call) { call.out = call.in[0]->to(call.out.dtype()); },
    .examples =
        [] {
          const auto to = [](DType dtype) { return Attr{"dtype", static_cast<std::int64_t>(dtype)}; };
          return std::vector<Example>{{{{{3, 4}}}, {to(DType::f64)}}, {{{{3, 4}}}, {to(DType::i64)}}};
        },
};

// Throws UsageError as a row's type rule would, for options that no row sees.
[[noreturn]] void fail(const Operand& x, std::string_view op, const std::string& what) {
  const Row composition{.name = op, .vjp = kNoGrad("a composition has the derivatives of its ops")};
  const std::array ids{x.var().id()};
  Call(x.tape(), composition, ids, {}, x.where()).fail_usage(what);
}

}  // namespace

const Row& detail::elementwise_row(std::string_view name) {
  for (const Row* row : elementwise_rows()) {
    if (row->name == name) return *row;
  }
  throw std::logic_error("no elementwise row has this name: " + std::string(name));
}

Var softplus(const Operand& x, const SoftplusOptions& options) {
  if (!(options.beta > 0) || std::isinf(options.beta)) {
    fail(x, "softplus", fmt::format("beta must be positive and finite, not {}", options.beta));
  }
  if (std::isnan(options.threshold)) fail(x, "softplus", "the threshold is no number");
  const auto scope = x.tape().scope("softplus", x.where());
  const bool plain = options.beta == 1;
  const Var scaled = plain ? x.var() : x * options.beta;
  const Var y = detail::elementwise<"softplus">(scaled);
  return where(scaled > options.threshold, x, plain ? y : y / options.beta);
}

Var gelu(const Operand& x, Gelu approximate) {
  if (approximate == Gelu::none) return detail::elementwise<"gelu">(x);
  const auto scope = x.tape().scope("gelu", x.where());
  // 1 + tanh(u) = 2 sigmoid(2u), which does not cancel where x is negative. Far out the cube would be infinite.
  const double scale = 1.5957691216057308;  // 2 sqrt(2 / pi)
  const Var near = clamp_max(clamp_min(x, -1e4), 1e4);
  return x * sigmoid(near * (scale + 0.044715 * scale * square(near)));
}

Var clamp(const Operand& x, const ClampOptions& bounds) {
  if (!bounds.min && !bounds.max) fail(x, "clamp", "there is neither a min nor a max");
  if (std::isnan(bounds.min.value_or(0)) || std::isnan(bounds.max.value_or(0)))
    fail(x, "clamp", "a bound is no number");
  if (bounds.min && bounds.max && !(*bounds.min <= *bounds.max)) {
    fail(x, "clamp", fmt::format("max {} is not at least min {}", *bounds.max, *bounds.min));
  }
  const auto scope = x.tape().scope("clamp", x.where());
  const Var y = bounds.min ? clamp_min(x, *bounds.min) : x.var();
  return bounds.max ? clamp_max(y, *bounds.max) : y;
}

Var pow(const Operand& x, const Operand& y) {
  if (y.is_literal() && y.literal() == 2) return square(x);
  if (y.is_literal() && y.literal() == -1) return reciprocal(x);
  return detail::elementwise<"pow">(x, y);
}

Var cast(const Operand& x, DType dtype) {
  if (x.var().dtype() == dtype) return x;
  return x.tape().record(kCast, {x}, {{"dtype", static_cast<std::int64_t>(dtype)}});
}

std::span<const Row* const> elementwise_rows() {
  static const auto rows = [] {
    std::vector<const Row*> out;
    out.reserve(std::size(kRows) + std::size(kMathRows) + 1);
    for (const Row& row : kRows) out.push_back(&row);
    for (const Row& row : kMathRows) out.push_back(&row);
    out.push_back(&kCast);
    return out;
  }();
  return rows;
}

}  // namespace ebb
