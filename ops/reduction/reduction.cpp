#include <ebb/ops/reduction/reduction.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/engine/lanes/fold.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/indexing/iota.h>
#include <ebb/ops/reduction/arg.h>
#include <ebb/ops/reduction/rules.h>
#include <ebb/ops/reduction/steps.h>
#include <ebb/ops/scan/scan.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace ebb {

namespace base {
extern const std::array<ReducerTable, 4> kReducers;
}
namespace avx2 {
extern const std::array<ReducerTable, 4> kReducers;
}
namespace avx512 {
extern const std::array<ReducerTable, 4> kReducers;
}

namespace {

constexpr PerIsa<ReducerTable> reducers(std::size_t i) {
  return per_isa(base::kReducers, avx2::kReducers, avx512::kReducers, i);
}

std::vector<Example> examples_with(std::initializer_list<Attr> more) {
  const auto over = [&](Shape shape, IntList axes, bool keepdim) {
    std::vector<Attr> attrs{{"axes", axes}, {"keepdim", keepdim}};
    attrs.insert(attrs.end(), more);
    return Example{{{shape}}, attrs};
  };
  return {
      over({7}, {0}, false),
      over({3, 4}, {0}, false),
      over({3, 4}, {1}, true),
      over({2, 3, 4, 5}, {0, 2, 3}, true),
      over({2, 3, 4, 5}, {1, 3}, false),
  };
}
std::vector<Example> bool_examples() {
  std::vector<Example> out = reduction_examples();
  for (Example& example : out) example.inputs[0].dtype = DType::boolean;
  return out;
}

bool is_over_nothing(const Call& call, const Shape& out) { return call.shape(0).numel() == 0 && out.numel() > 0; }

const Row kMean{
    .name = "mean",
    .kind = Kind::reduction,
    .type = floating_reduction_type,
    .vjp = mean_vjp,
    .reducer = reducers(0),
    .fold = fold_of<EBB_ISA::Mean>,
    .ulp = 64,
    .facts = {.linear = 1},
    .examples = reduction_examples,
};

// The product of the other elements along one axis: of those before and of those after.
Var others(const Var& x, int axis) {
  constexpr ScanOptions kReverse{.reverse = true};
  return shift(cumprod(x, axis), axis, 1) * shift(cumprod(x, axis, kReverse), axis, 1, kReverse);
}

const Row kProd{
    .name = "prod",
    .kind = Kind::reduction,
    .type = reduction_type,
    .vjp =
        [](const Vjp& g) {
          // Axis by axis: the others along the last axis, times the products of the other lines, and so on.
          const IntList& axes = g.attrs.list("axes");
          Var dx = with_reduced_axes(g, g.ct);
          Var line = g.in[0];
          for (std::size_t i = axes.size(); i-- > 0;) {
            const int axis = static_cast<int>(axes[i]);
            dx = dx * others(line, axis);
            if (i > 0) line = prod(line, axis, true);
          }
          return broadcast_to(dx, g.in[0].shape());
        },
    .reducer = reducers(3),
    .fold = fold_of<EBB_ISA::Product>,
    .ulp = 1,
    .examples = reduction_examples,
};

// --- extrema ---------------------------------------------------------------------------------------------------------

constexpr std::string_view kSplit = "split";
constexpr std::string_view kFirst = "first";

template <bool largest>
TensorType extremum_type(const Call& call) {
  const TensorType type = reduction_type(call);
  if (is_over_nothing(call, type.shape)) {
    call.fail_shape(largest ? "the largest of no elements does not exist"
                            : "the smallest of no elements does not exist");
  }
  return type;
}

template <bool largest>
TensorType place_type(const Call& call) {
  return {extremum_type<largest>(call).shape, DType::i64};
}

// The places of x's elements among its reduced axes; 1 along the others.
Var places(const Vjp& g, const IntList& axes) {
  Shape shape = g.in[0].shape();
  for (int i = 0; i < shape.rank(); ++i) {
    if (!axes.contains(i)) shape[i] = 1;
  }
  return reshape(iota(g.tape, shape.numel()), shape);
}

template <bool largest>
Var extremum_rule(const Vjp& g) {
  const Var x = g.in[0];
  const IntList& axes = g.attrs.list("axes");
  const Var ct = with_reduced_axes(g, g.ct);
  if (g.attrs.word("ties") == kFirst) {
    const Var place = (largest ? argmax : argmin)(x, Axes(axes), true);
    return where(equal(places(g, axes), place), ct, 0.0);
  }
  const Var here = cast(equal(x, with_reduced_axes(g, g.out)), g.ct.dtype());
  return here * (ct / sum(here, Axes(axes), true));
}

const Row kMax{
    .name = "max",
    .kind = Kind::reduction,
    .type = extremum_type<true>,
    .vjp = extremum_rule<true>,
    .reducer = reducers(1),
    .fold = fold_of<EBB_ISA::Extremum<true>>,
    .ulp = 0,
    .examples =
        [] {
          return examples_with({{"ties", kSplit}});
        },
};

const Row kMin{
    .name = "min",
    .kind = Kind::reduction,
    .type = extremum_type<false>,
    .vjp = extremum_rule<false>,
    .reducer = reducers(2),
    .fold = fold_of<EBB_ISA::Extremum<false>>,
    .ulp = 0,
    .examples =
        [] {
          return examples_with({{"ties", kFirst}});
        },
};

const Row kArgmax{
    .name = "argmax",
    .kind = Kind::reduction,
    .type = place_type<true>,
    .vjp = kNoGrad("a place is constant but for jumps"),
    .kernel = [](KernelCall& call) { run_arg(call, true, kMax); },
    .ulp = 0,
    .examples = reduction_examples,
};

const Row kArgmin{
    .name = "argmin",
    .kind = Kind::reduction,
    .type = place_type<false>,
    .vjp = kNoGrad("a place is constant but for jumps"),
    .kernel = [](KernelCall& call) { run_arg(call, false, kMin); },
    .ulp = 0,
    .examples = reduction_examples,
};

// --- bool ------------------------------------------------------------------------------------------------------------

// Runs are searched for the byte that decides; a bool is 0 or 1.
template <bool decides>
struct Quantifier {
  static void init(void* cells, std::int64_t n) {
    std::fill_n(static_cast<std::int64_t*>(cells), n, std::int64_t{!decides});
  }
  static bool has(const char* x, std::int64_t n) {
    if (n > 16) return std::memchr(x, decides, static_cast<std::size_t>(n)) != nullptr;
    bool found = !decides;
    for (std::int64_t i = 0; i < n; ++i) found = decides ? found | (x[i] != 0) : found & (x[i] != 0);
    return found == decides;
  }
  static void run(const void* x, std::int64_t count, std::int64_t cell_stride, std::int64_t runs, std::int64_t stride,
                  std::int64_t n, void* cells) {
    const char* of_cell = static_cast<const char*>(x);
    auto* decided = static_cast<std::int64_t*>(cells);
    for (std::int64_t c = 0; c < count; ++c, of_cell += cell_stride, ++decided) {
      for (std::int64_t r = 0; r < runs && *decided != decides; ++r) {
        if (has(of_cell + r * stride, n)) *decided = decides;
      }
    }
  }
  static void columns(const void* x, std::int64_t rows, std::int64_t stride, std::int64_t n, void* cells) {
    auto* const cell = static_cast<std::int64_t*>(cells);
    std::array<unsigned char, 512> tile;
    for (std::int64_t first = 0; first < n; first += static_cast<std::int64_t>(tile.size())) {
      const std::int64_t m = std::min<std::int64_t>(n - first, tile.size());
      tile.fill(!decides);
      for (std::int64_t r = 0; r < rows; ++r) {
        const unsigned char* const row = static_cast<const unsigned char*>(x) + r * stride + first;
        for (std::int64_t c = 0; c < m; ++c) {
          unsigned char& t = tile[static_cast<std::size_t>(c)];
          t = static_cast<unsigned char>(decides ? t | row[c] : t & row[c]);
        }
      }
      for (std::int64_t c = 0; c < m; ++c) {
        if (tile[static_cast<std::size_t>(c)] == decides) cell[first + c] = decides;
      }
    }
  }
  static void merge(void* cells, const void* others, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) {
      if (static_cast<const std::int64_t*>(others)[i] == decides) static_cast<std::int64_t*>(cells)[i] = decides;
    }
  }
  static void finish(const void* cells, std::int64_t n, std::int64_t, void* out) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<bool*>(out)[i] = static_cast<const std::int64_t*>(cells)[i] != 0;
  }
  static constexpr Reducer kReducer{init, run, columns, merge, finish};
  static constexpr ReducerTable kTable{{nullptr, nullptr, nullptr, &kReducer}};
  static constexpr PerIsa<ReducerTable> kTables{&kTable, &kTable, &kTable};
};

TensorType quantifier_type(const Call& call) {
  call.require_dtype(0, DType::boolean);
  return {reduced_shape(call.shape(0), call.attrs().list("axes"), call.attrs().flag("keepdim")), DType::boolean};
}

const Row kAny{
    .name = "any",
    .kind = Kind::reduction,
    .type = quantifier_type,
    .vjp = kNoGrad("a bool has no slope"),
    .reducer = Quantifier<true>::kTables,
    .ulp = 0,
    .examples = bool_examples,
};

const Row kAll{
    .name = "all",
    .kind = Kind::reduction,
    .type = quantifier_type,
    .vjp = kNoGrad("a bool has no slope"),
    .reducer = Quantifier<false>::kTables,
    .ulp = 0,
    .examples = bool_examples,
};

Var extremum(const Row& row, const Operand& x, const Axes& axes, bool keepdim, Ties ties) {
  const Attr attr{"ties", ties == Ties::first ? kFirst : kSplit};
  return reduce(row, x, axes, keepdim, std::span(&attr, 1));
}

// sqrt(x) for x >= 0, with the slope 0 at 0. NaN stays NaN.
Var root(const Var& x) {
  const Var positive = greater(x, 0.0);
  return where(positive, sqrt(where(positive, x, 1.0)), detach(x));
}

// What a composition over axes is given, judged in its own name before anything is recorded: its axes, counted from
// the front.
Axes floating_axes(const Row& row, const Operand& x, const Axes& axes) {
  Arguments(row, {x}).require_floating(0);
  return Axes(resolved_axes(row, x, axes));
}

// The same for the softmax family, whose largest element has to exist.
Axes softmax_axes(const Row& row, const Operand& x, const Axes& axes) {
  const Arguments call(row, {x});
  call.require_floating(0);
  const IntList resolved = resolved_axes(row, x, axes);
  if (is_over_nothing(call, reduced_shape(call.shape(0), resolved, false))) {
    call.fail_shape(fmt::format("the {} of no elements does not exist", row.name));
  }
  return Axes(resolved);
}

// What the softmax family subtracts: the largest element. It cancels, so it is a constant to the derivative; an
// infinite one would turn into inf - inf.
Var shift_of(const Operand& x, const Axes& axes) {
  const double inf = std::numeric_limits<double>::infinity();
  const Var largest = detach(max(x, axes, true));
  return where(less(largest, inf), where(greater(largest, -inf), largest, 0.0), 0.0);
}

Var variance(const Row& row, const Operand& x, const Axes& axes, const VarianceOptions& options) {
  const Axes counted = floating_axes(row, x, axes);
  const Arguments call(row, {x});
  if (!std::isfinite(options.correction)) {
    call.fail_usage(fmt::format("the correction must be finite, it is {}", options.correction));
  }
  const Shape& shape = call.shape(0);
  const std::int64_t results = reduced_shape(shape, counted.resolve(shape.rank()), false).numel();
  const std::int64_t n = results == 0 ? 0 : shape.numel() / results;
  if (results > 0 && static_cast<double>(n) <= options.correction) {
    call.fail_shape(fmt::format("{} element{} per result with a correction of {} leave{} nothing to divide by", n,
                                n == 1 ? "" : "s", options.correction, n == 1 ? "s" : ""),
                    "Use {.correction = 0} for the biased variance.");
  }
  return sum(square(x - mean(x, counted, true)), counted, options.keepdim) /
         (static_cast<double>(n) - options.correction);
}

Var without_axes(const Var& x, const Axes& axes) {
  return reshape(x, reduced_shape(x.shape(), axes.resolve(x.rank()), false));
}

}  // namespace

TensorType floating_reduction_type(const Call& call) {
  call.require_floating(0);
  return reduction_type(call);
}

Var mean_vjp(const Vjp& g) {
  const double n = static_cast<double>(g.in[0].numel()) / static_cast<double>(g.out.numel());
  return broadcast_to(with_reduced_axes(g, g.ct / n), g.in[0].shape());
}

std::vector<Example> reduction_examples() { return examples_with({}); }

Var mean(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kMean, x, axes, keepdim); }
Var prod(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kProd, x, axes, keepdim); }
Var max(const Operand& x, const Axes& axes, bool keepdim, Ties ties) { return extremum(kMax, x, axes, keepdim, ties); }
Var min(const Operand& x, const Axes& axes, bool keepdim, Ties ties) { return extremum(kMin, x, axes, keepdim, ties); }
Var argmax(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kArgmax, x, axes, keepdim); }
Var argmin(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kArgmin, x, axes, keepdim); }
Var any(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kAny, x, axes, keepdim); }
Var all(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kAll, x, axes, keepdim); }

Var var(const Operand& x, const Axes& axes, const VarianceOptions& options) {
  static constexpr Row kVar = composition("var");
  const auto scope = x.tape().scope("var", x.where());
  return variance(kVar, x, axes, options);
}

Var std(const Operand& x, const Axes& axes, const VarianceOptions& options) {
  static constexpr Row kStd = composition("std");
  const auto scope = x.tape().scope("std", x.where());
  const Var squared = [&] {
    const auto inner = x.tape().scope("var", x.where());
    return variance(kStd, x, axes, options);
  }();
  return root(squared);
}

Var norm(const Operand& x, const Axes& axes, bool keepdim) {
  static constexpr Row kNorm = composition("norm");
  const auto scope = x.tape().scope("norm", x.where());
  const Axes counted = floating_axes(kNorm, x, axes);
  return root(sum(square(x), counted, keepdim));
}

Var logsumexp(const Operand& x, const Axes& axes, bool keepdim) {
  static constexpr Row kLogsumexp = composition("logsumexp");
  const auto scope = x.tape().scope("logsumexp", x.where());
  const Axes counted = softmax_axes(kLogsumexp, x, axes);
  const Var shift = shift_of(x, counted);
  const Var result = log(sum(exp(x - shift), counted, true)) + shift;
  return keepdim ? result : without_axes(result, counted);
}

Var log_softmax(const Operand& x, const Axes& axes) {
  static constexpr Row kLogSoftmax = composition("log_softmax");
  const auto scope = x.tape().scope("log_softmax", x.where());
  const Axes counted = softmax_axes(kLogSoftmax, x, axes);
  const Var shifted = x - shift_of(x, counted);
  return shifted - log(sum(exp(shifted), counted, true));
}

Var softmax(const Operand& x, const Axes& axes) {
  static constexpr Row kSoftmax = composition("softmax");
  const auto scope = x.tape().scope("softmax", x.where());
  const Axes counted = softmax_axes(kSoftmax, x, axes);
  const Var weights = exp(x - shift_of(x, counted));
  return weights / sum(weights, counted, true);
}

std::span<const Row* const> reduction_rows() {
  static const std::array<const Row*, 8> rows{&kMean, &kProd, &kMax, &kMin, &kArgmax, &kArgmin, &kAny, &kAll};
  return rows;
}

}  // namespace ebb
