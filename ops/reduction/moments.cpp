#include <ebb/ops/reduction/moments.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/reduction/moments_ops.h>
#include <ebb/ops/reduction/reduction.h>
#include <ebb/ops/reduction/rules.h>

namespace ebb {

namespace base {
extern const std::array<ReducerTable, 3> kMomentReducers;
}
namespace avx2 {
extern const std::array<ReducerTable, 3> kMomentReducers;
}
namespace avx512 {
extern const std::array<ReducerTable, 3> kMomentReducers;
}

namespace {

constexpr PerIsa<ReducerTable> reducers(std::size_t i) {
  return per_isa(base::kMomentReducers, avx2::kMomentReducers, avx512::kMomentReducers, i);
}

// The shift, which is the first element; the sum of what lies above it; and of its squares.
constexpr Accumulators kAccumulators{
    3, [](std::size_t k, const lane::Symbol& x) { return k == 0 ? x : lane::lit(x, 0); },
    [](std::size_t k, std::span<const lane::Symbol> accumulators, const lane::Symbol& x) {
      lane::Symbol sum = accumulators[1], square = accumulators[2];
      lane::Deviations::step(accumulators[0], sum, square, x);
      return k == 0 ? accumulators[0] : k == 1 ? sum : square;
    }};

}  // namespace

const Row kMeanHigh{
    .name = "mean_high",
    .kind = Kind::reduction,
    .type = floating_reduction_type,
    .vjp = mean_vjp,
    .reducer = reducers(0),
    .accumulators = kAccumulators,
    .ulp = 64,
    .facts = {.linear = 1},
    .examples = reduction_examples,
};

const Row kMeanLow{
    .name = "mean_low",
    .kind = Kind::reduction,
    .type = floating_reduction_type,
    .vjp = VjpRule::stop(),
    .reducer = reducers(1),
    .accumulators = kAccumulators,
    .ulp = 64,
    .facts = {.linear = 1},  // it is 0 but for rounding
    .examples = reduction_examples,
};

const Row kSquaredDeviations{
    .name = "squared_deviations",
    .kind = Kind::reduction,
    .type = floating_reduction_type,
    .vjp =
        [](const Vjp& g) {
          const Axes axes(g.attrs.list("axes"));
          return 2.0 * with_reduced_axes(g, g.ct) * (g.in[0] - mean(g.in[0], axes, true));
        },
    .reducer = reducers(2),
    .accumulators = kAccumulators,
    .ulp = 64,
    .examples = reduction_examples,
};

Var mean_high(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kMeanHigh, x, axes, keepdim); }
Var mean_low(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kMeanLow, x, axes, keepdim); }
Var squared_deviations(const Operand& x, const Axes& axes, bool keepdim) {
  return reduce(kSquaredDeviations, x, axes, keepdim);
}

std::span<const Row* const> moment_rows() {
  static const std::array<const Row*, 3> rows{&kMeanHigh, &kMeanLow, &kSquaredDeviations};
  return rows;
}

}  // namespace ebb
