#include <ebb/ops/loss/cross_entropy.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/floating.h>
#include <ebb/ops/indexing/indexing.h>
#include <ebb/ops/reduction/reduction.h>
#include <ebb/ops/rows.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 1 << 13;  // logits worth a thread
constexpr std::int64_t kAbreast =
    16;  // numbers that are folded side by side: one after another each waits for the last

// --- what both forms refuse
// --------------------------------------------------------------------------------------------

void check_types(const Call& call) {
  const Shape& logits = call.shape(0);
  const Shape& labels = call.shape(1);
  call.require_floating(0);
  if (call.dtype(1) != DType::i64) {
    call.fail_dtype(fmt::format("labels must be i64, not {}", name(call.dtype(1))),
                    "Convert them with cast(labels, DType::i64).");
  }
  if (logits.rank() != 2) {
    call.fail_shape(fmt::format("logits must be [N, C], not {}", to_string(logits)),
                    logits.rank() > 2 ? "Bring the classes last and reshape to two axes." : "");
  }
  if (labels != Shape{logits[0]}) {
    call.fail_shape(fmt::format("labels must be [{}], one per row of logits, not {}", logits[0], to_string(labels)),
                    labels.numel() == logits[0] ? "Drop the other axes with reshape(labels, {-1})." : "");
  }
}

void check_label(const Call& call, std::int64_t label, std::int64_t row, std::int64_t classes) {
  if (label >= 0 && label < classes) return;
  call.fail_usage(fmt::format("label {} of row {} is outside of {} classes", label, row, classes),
                  fmt::format("Labels run from 0 to {}.", classes - 1));
}

// Returns the largest logit of a row that is not NaN.
template <class T>
T check_row(const Call& call, const T* x, std::int64_t row, std::int64_t classes) {
  constexpr T kInf = std::numeric_limits<T>::infinity();
  std::array<T, kAbreast> abreast;
  abreast.fill(-kInf);
  std::int64_t c = 0;
  for (; c + kAbreast <= classes; c += kAbreast) {
    for (std::size_t k = 0; k < abreast.size(); ++k)
      abreast[k] = x[c + static_cast<std::int64_t>(k)] > abreast[k] ? x[c + static_cast<std::int64_t>(k)] : abreast[k];
  }
  T largest = *std::ranges::max_element(abreast);
  for (; c < classes; ++c) largest = x[c] > largest ? x[c] : largest;
  if (largest == kInf) {
    call.fail_usage(fmt::format("row {} of logits holds +inf: its loss is undefined", row));
  }
  if (largest == -kInf && std::none_of(x, x + classes, [](T v) { return std::isnan(v); })) {
    call.fail_usage(fmt::format("row {} of logits is -inf everywhere: no class is possible", row));
  }
  return largest;
}

void check_values(const Call& call, const Tensor& logits, const Tensor& labels) {
  const std::int64_t classes = logits.shape()[1];
  for (std::int64_t i = 0; i < logits.shape()[0]; ++i) {
    check_label(call, labels.data<std::int64_t>()[static_cast<std::size_t>(i)], i, classes);
    if (logits.dtype() == DType::f32) {
      check_row(call, logits.data<float>().data() + i * classes, i, classes);
    } else {
      check_row(call, logits.data<double>().data() + i * classes, i, classes);
    }
  }
}

// --- the fused rows
// ----------------------------------------------------------------------------------------------------

// out = e^(x - largest) for so many rows, with the lanes of those ops, which do not work in place.
template <class T>
void exponentials(const T* x, const T* largest, std::int64_t rows, std::int64_t classes, T* exponents, T* out) {
  static const Lane minus = lane_of(*find_row("sub"), dtype_of<T>), exp = lane_of(*find_row("exp"), dtype_of<T>);
  constexpr std::int64_t kSize = sizeof(T);
  LaneCall call;
  call.in = {x, largest};
  call.row_step = {classes * kSize, kSize};
  call.out = exponents;
  call.out_step = classes * kSize;
  call.rows = rows;
  call.n = classes;
  call.steps = 1;  // along a row the first input alone
  minus(call);
  LaneCall whole;
  whole.in = {exponents};
  whole.out = out;
  whole.n = rows * classes;
  whole.steps = 1;
  exp(whole);
}

// Calls visit(row, logits, label, largest, e^(logits - largest)) for every row. Rows are checked in order before any
// work is shared out, so the first bad one is reported whatever the number of threads.
template <class T, class Visit>
void for_each_row(const KernelCall& call, Visit visit) {
  const std::int64_t n = call.in[0]->shape()[0];
  const std::int64_t classes = call.in[0]->shape()[1];
  const T* const logits = call.data<T>(0);
  const std::int64_t* const labels = call.data<std::int64_t>(1);
  CachedVector<T> largest(static_cast<std::size_t>(n));
  for (std::int64_t i = 0; i < n; ++i) {
    check_label(call.call, labels[i], i, classes);
    largest[static_cast<std::size_t>(i)] = check_row(call.call, logits + i * classes, i, classes);
  }
  const std::int64_t group = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(classes, 1));
  parallel_for((n + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    const std::size_t size = static_cast<std::size_t>(std::min(n, group) * classes);
    CachedVector<T> exponents(size), powers(size);
    for (std::int64_t first = begin * group; first < std::min(n, end * group); first += group) {
      const std::int64_t rows = std::min(group, n - first);
      exponentials(logits + first * classes, largest.data() + first, rows, classes, exponents.data(), powers.data());
      for (std::int64_t i = first; i < first + rows; ++i) {
        visit(i, logits + i * classes, labels[i], largest[static_cast<std::size_t>(i)],
              powers.data() + (i - first) * classes);
      }
    }
  });
}

template <class T>
double total(const T* x, std::int64_t n) {
  std::array<double, kAbreast> abreast{};
  std::int64_t i = 0;
  for (; i + kAbreast <= n; i += kAbreast) {
    for (std::size_t k = 0; k < abreast.size(); ++k)
      abreast[k] += static_cast<double>(x[i + static_cast<std::int64_t>(k)]);
  }
  double sum = std::accumulate(abreast.begin(), abreast.end(), 0.0);
  for (; i < n; ++i) sum += static_cast<double>(x[i]);
  return sum;
}

void loss_kernel(KernelCall& call) {
  with_floating(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    T* const out = call.allocate<T>();
    const std::int64_t classes = call.in[0]->shape()[1];
    for_each_row<T>(call, [&](std::int64_t i, const T* x, std::int64_t label, T largest, const T* powers) {
      out[i] = static_cast<T>(std::log(total(powers, classes)) +
                              (static_cast<double>(largest) - static_cast<double>(x[label])));
    });
  });
}

void grad_kernel(KernelCall& call) {
  with_floating(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    T* const out = call.allocate<T>();
    const T* const ct = call.data<T>(2);
    const std::int64_t classes = call.in[0]->shape()[1];
    for_each_row<T>(call, [&](std::int64_t i, const T*, std::int64_t label, T, const T* powers) {
      T* const dx = out + i * classes;
      // softmax - 1 is minus the others' share, summed without cancellation: a sure and right prediction keeps its
      // small gradient.
      const double others = total(powers, label) + total(powers + label + 1, classes - label - 1);
      const double scale = static_cast<double>(ct[i]) / (others + static_cast<double>(powers[label]));
      for (std::int64_t c = 0; c < classes; ++c) dx[c] = powers[c] * static_cast<T>(scale);
      dx[label] = static_cast<T>(-others * scale);
    });
  });
}

std::vector<Example> examples(bool with_cotangent) {
  std::vector<Example> out;
  for (const auto& [n, c] : {std::pair{5, 3}, {1, 1}, {0, 4}, {67, 150}}) {
    out.push_back({{{{n, c}}, {{n}, DType::i64, c}}, {}});
    if (with_cotangent) out.back().inputs.push_back({{n}});
  }
  return out;
}

constexpr auto kLabelReason = "a label selects, it has no slope";

// The gradient as a graph: what the gradient's own rules are derived from.
Var staged_grad(std::span<const Var> in) {
  const Var onehot = one_hot(in[1], in[0].shape()[1], in[0].dtype());
  return (softmax(in[0], 1) - onehot) * reshape(in[2], {in[0].shape()[0], 1});
}

Var grad_rule(const Vjp& g) { return local_pullback(g, staged_grad); }

const Row kCrossEntropyGrad{
    .name = "cross_entropy_grad",
    .arity = 3,
    .type =
        [](const Call& call) {
          check_types(call);
          if (call.shape(2) != call.shape(1) || call.dtype(2) != call.dtype(0)) {
            call.fail_shape("the cotangent must have the dtype of logits, and one element per row");
          }
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = {grad_rule, kNoGrad(kLabelReason), grad_rule},
    .kernel = grad_kernel,
    .ulp = 64,
    .facts = {.linear = 4},
    .examples = [] { return examples(true); },
};

const Row kCrossEntropy{
    .name = "cross_entropy",
    .arity = 2,
    .type =
        [](const Call& call) {
          check_types(call);
          return TensorType{call.shape(1), call.dtype(0)};
        },
    .vjp = {[](const Vjp& g) {
              return g.tape.record(kCrossEntropyGrad, {g.in[0], g.in[1], g.ct});
            },
            kNoGrad(kLabelReason)},
    .kernel = loss_kernel,
    .ulp = 64,
    .examples = [] { return examples(false); },
};

Var losses(const Operand& logits, const Operand& labels, const CrossEntropyOptions& options, const Call& call) {
  Tape& tape = logits.tape();
  const bool tracing = tape.mode() == Tape::Mode::trace;
  if (options.kernel == CrossEntropyKernel::fused && !tracing) return tape.record(kCrossEntropy, {logits, labels});
  const std::int64_t n = logits.var().shape()[0];
  if (!tracing) check_values(call, logits.var().value(), labels.var().value());
  return -reshape(gather(log_softmax(logits, 1), reshape(labels, {n, 1}), 1), {n});
}

}  // namespace

Var cross_entropy(const Operand& logits, const Operand& labels, const CrossEntropyOptions& options) {
  Tape& tape = logits.tape();
  const auto scope = tape.scope("cross_entropy", logits.where());
  const std::array ids{logits.var().id(), labels.var().id()};
  const Call call(tape, kCrossEntropy, ids, {}, logits.where());
  // Everything is judged before the first node, so that an error leaves the tape as it was.
  kCrossEntropy.type(call);
  if (options.reduction == Reduction::mean && labels.var().numel() == 0) {
    call.fail_shape("the mean over no rows does not exist", "Give at least one row, or use Reduction::sum.");
  }
  const Var each = losses(logits, labels, options, call);
  switch (options.reduction) {
    case Reduction::none:
      return each;
    case Reduction::sum:
      return sum(each);
    case Reduction::mean:
      break;
  }
  return mean(each);
}

std::span<const Row* const> loss_rows() {
  static const std::array<const Row*, 2> rows{&kCrossEntropy, &kCrossEntropyGrad};
  return rows;
}

}  // namespace ebb
