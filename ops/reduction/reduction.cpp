#include <ebb/ops/reduction/reduction.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <fmt/format.h>

#include <limits>

namespace ebb {

namespace base {
extern const std::array<ReducerTable, 2> kReducers;
}
namespace avx2 {
extern const std::array<ReducerTable, 2> kReducers;
}
namespace avx512 {
extern const std::array<ReducerTable, 2> kReducers;
}

namespace {

constexpr PerIsa<ReducerTable> reducers(std::size_t i) {
  return per_isa(base::kReducers, avx2::kReducers, avx512::kReducers, i);
}

std::vector<Example> examples() {
  return {
      {{{{7}}}, {{"axes", IntList{0}}, {"keepdim", false}}},
      {{{{3, 4}}}, {{"axes", IntList{0}}, {"keepdim", false}}},
      {{{{3, 4}}}, {{"axes", IntList{1}}, {"keepdim", true}}},
      {{{{2, 3, 4, 5}}}, {{"axes", IntList{0, 2, 3}}, {"keepdim", true}}},
      {{{{2, 3, 4, 5}}}, {{"axes", IntList{1, 3}}, {"keepdim", false}}},
  };
}

const Row kMean{
    .name = "mean",
    .kind = Kind::reduction,
    .type =
        [](const Call& call) {
          call.require_floating(0);
          return reduction_type(call);
        },
    .vjp =
        [](const Vjp& g) {
          const double n = static_cast<double>(g.in[0].numel()) / static_cast<double>(g.out.numel());
          return broadcast_to(with_reduced_axes(g, g.ct / n), g.in[0].shape());
        },
    .reducer = reducers(0),
    .ulp = 64,
    .facts = {.linear = 1},
    .examples = examples,
};

const Row kMax{
    .name = "max",
    .kind = Kind::reduction,
    .type =
        [](const Call& call) {
          const TensorType type = reduction_type(call);
          if (call.shape(0).numel() == 0 && type.shape.numel() > 0) {
            call.fail_shape("the largest of no elements does not exist");
          }
          return type;
        },
    .vjp =
        [](const Vjp& g) {
          const Var x = g.in[0];
          const Var here = cast(equal(x, with_reduced_axes(g, g.out)), g.ct.dtype());
          const Var share = with_reduced_axes(g, g.ct) / sum(here, Axes(g.attrs.list("axes")), true);
          return here * share;
        },
    .reducer = reducers(1),
    .ulp = 0,
    .examples = examples,
};

}  // namespace

Var mean(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kMean, x, axes, keepdim); }
Var max(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kMax, x, axes, keepdim); }

Var logsumexp(const Operand& x, const Axes& axes, bool keepdim) {
  const auto scope = x.tape().scope("logsumexp", x.where());
  const double inf = std::numeric_limits<double>::infinity();
  // The shift cancels, so it is a constant to the derivative; an infinite one would turn into inf - inf.
  const Var largest = detach(max(x, axes, true));
  const Var shift = where(less(largest, inf), where(greater(largest, -inf), largest, 0.0), 0.0);
  const Var result = log(sum(exp(x - shift), axes, true)) + shift;
  if (keepdim) return result;
  return reshape(result, reduced_shape(x.var().shape(), axes.resolve(x.var().rank()), false));
}

Var log_softmax(const Operand& x, int axis) {
  const auto scope = x.tape().scope("log_softmax", x.where());
  return x - logsumexp(x, axis, true);
}

Var softmax(const Operand& x, int axis) {
  const auto scope = x.tape().scope("softmax", x.where());
  return exp(log_softmax(x, axis));
}

std::span<const Row* const> reduction_rows() {
  static const std::array<const Row*, 2> rows{&kMean, &kMax};
  return rows;
}

}  // namespace ebb
