// The fused kernel on the tape: four private rows over the hand-written loops, which only batch_norm records.
//
// The moments are an input of the other rows for their value alone: how the output depends on x through them is counted
// in the rule of x, as in every hand-written backward. Second derivatives and above are local pullbacks of the nine
// steps, recorded where they are needed, so that every order is right.
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/ops/batch_norm/fused_kernels.h>
#include <ebb/ops/batch_norm/staged.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/floating.h>
#include <ebb/ops/indexing/slice.h>
#include <ebb/ops/reduction/reduction.h>

#include <array>
#include <cmath>

namespace ebb {

namespace {

using batch_norm_detail::Statistics;

constexpr VjpRule kCounted = kNoGrad("counted in the rule of x");

// The fused rows' attributes.
struct Attributes {
  int channel_axis;
  double eps;

  explicit Attributes(const Attrs& attrs)
      : channel_axis(static_cast<int>(attrs.integer("channel_axis"))), eps(attrs.real("eps")) {}
  BatchNormOptions options() const { return {eps, channel_axis, BatchNormKernel::staged, SingleValue::allow}; }
};

fused::Extent extent_of(const Shape& x, int channel_axis) {
  fused::Extent extent{1, x[channel_axis], 1};
  for (int i = 0; i < channel_axis; ++i) extent.outer *= x[i];
  for (int i = channel_axis + 1; i < x.rank(); ++i) extent.inner *= x[i];
  return extent;
}

// 1 / sqrt(variance + eps), and 0 by rule where there is no deviation.
double inverse_deviation(double variance, double eps) {
  const double deviation = std::sqrt(variance + eps);
  return deviation == 0 ? 0 : 1 / deviation;
}

// A parameter's elements, or null where it is absent: then it is a literal.
template <class T>
const T* parameter(const KernelCall& call, std::size_t i) {
  return call.in[i]->rank() == 0 ? nullptr : call.data<T>(i);
}

// A cotangent as the kernels read it: one element for all, or every element.
struct Cotangent {
  Tensor whole;
  bool scalar;

  Cotangent(const Tensor& ct, const Shape& shape) : whole(ct), scalar(ct.numel() == 1) {
    if (scalar || ct.shape() == shape) return;
    whole = Tensor::abstract(shape, ct.dtype());
    run_broadcast({ct.raw(), &ct.shape()}, whole);
  }
  template <class T>
  const T* data() const {
    return reinterpret_cast<const T*>(whole.raw());
  }
};

TensorType per_channel_type(const Call& call) {
  const Attributes a(call.attrs());
  return {{2, call.shape(0)[a.channel_axis]}, DType::f64};
}
TensorType type_of_x(const Call& call) { return {call.shape(0), call.dtype(0)}; }

void moments_kernel(KernelCall& call) {
  const Attributes a(call.attrs);
  double* const m = call.allocate<double>();
  with_floating(call.in[0]->dtype(), [&]<class T>(std::type_identity<T>) {
    fused::bn_moments(call.data<T>(0), extent_of(call.in[0]->shape(), a.channel_axis), m);
  });
}

void apply_kernel(KernelCall& call) {
  const Attributes a(call.attrs);
  with_floating(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    T* const out = call.allocate<T>();
    fused::bn_apply(call.data<T>(0), call.data<double>(1), parameter<T>(call, 2), parameter<T>(call, 3), a.eps,
                    extent_of(call.in[0]->shape(), a.channel_axis), out);
  });
}

void sums_kernel(KernelCall& call) {
  const Attributes a(call.attrs);
  double* const sums = call.allocate<double>();
  const fused::Extent extent = extent_of(call.in[0]->shape(), a.channel_axis);
  const double* const m = call.data<double>(1);
  with_floating(call.in[0]->dtype(), [&]<class T>(std::type_identity<T>) {
    const Cotangent ct(*call.in[2], call.in[0]->shape());
    fused::bn_sums(call.data<T>(0), m, ct.data<T>(), extent, sums, ct.scalar);
  });
  // From sum(ct (x - mean)) to sum(ct xhat), which is dgamma.
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    sums[extent.channels + c] *= inverse_deviation(m[extent.channels + c], a.eps);
  }
}

void dx_kernel(KernelCall& call) {
  const Attributes a(call.attrs);
  const fused::Extent extent = extent_of(call.in[0]->shape(), a.channel_axis);
  const double* const m = call.data<double>(1);
  CachedVector<double> sums(call.data<double>(3), call.data<double>(3) + 2 * extent.channels);
  for (std::int64_t c = 0; c < extent.channels; ++c) {
    sums[static_cast<std::size_t>(extent.channels + c)] *= std::sqrt(m[extent.channels + c] + a.eps);
  }
  with_floating(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    const Cotangent ct(*call.in[4], call.in[0]->shape());
    T* const dx = call.allocate<T>();
    // One value per channel does not vary: 0 by rule, and not what rounding leaves of ct - sum(ct).
    if (extent.per_channel() == 1) return void(std::fill_n(dx, extent.elements(), T(0)));
    fused::bn_dx(call.data<T>(0), m, parameter<T>(call, 2), sums.data(), ct.data<T>(), a.eps, extent, dx, ct.scalar);
  });
}

std::optional<Var> optional_parameter(const Var& v) { return v.rank() == 0 ? std::nullopt : std::optional<Var>(v); }

// --- the same functions as recorded steps, for the rules of the rules
// -------------------------------------------------

Var staged_out(const Vjp& g, const Var& x, const std::optional<Var>& gamma) {
  return batch_norm_detail::nine_steps(x, gamma, std::nullopt, Attributes(g.attrs).options()).out;
}

// [2, C] from two rows [C].
Var stack_two(const Var& first, const Var& second) {
  const Shape row{1, first.numel()};
  return concat({reshape(cast(first, DType::f64), row), reshape(cast(second, DType::f64), row)}, 0);
}

Var staged_sums(const Vjp& g, const Var& x, const Var& ct) {
  const Statistics s(x.shape(), Attributes(g.attrs).channel_axis);
  const Var xhat = staged_out(g, x, std::nullopt);
  return stack_two(sum(ct, Axes(s.axes)), sum(ct * xhat, Axes(s.axes)));
}

Var staged_dx(const Vjp& g, const Var& x, const std::optional<Var>& gamma, const Var& ct) {
  const NodeId floor = g.tape.window();
  return pullback_above(staged_out(g, x, gamma), ct, x, floor);
}

// --- the rows
// ----------------------------------------------------------------------------------------------------------

extern const Row kMoments, kApply, kSums, kDx;

std::array<Attr, 2> attributes(const Attrs& attrs) {
  return {Attr{"channel_axis", attrs.integer("channel_axis")}, Attr{"eps", attrs.real("eps")}};
}

Var record_sums(const Vjp& g, const Var& ct) {
  return g.tape.record(kSums, std::array<Operand, 3>{g.in[0], g.in[1], ct}, attributes(g.attrs));
}

// Row i of sums, as the gradient of a parameter. That of the literal for an absent one is asked for too, by whoever
// asks for every node's: it is one number, for all channels.
Var row_of_sums(const Vjp& g, std::int64_t i) {
  const Var sums = record_sums(g, g.ct);
  Var row = slice(sums, {i, 0}, {i + 1, sums.shape()[1]});
  if (g.in[g.i].rank() == 0) row = sum(row);
  return cast(reshape(row, g.in[g.i].shape()), g.ct.dtype());
}

const Row kMoments{
    .name = "bn_moments",
    .kind = Kind::opaque,
    .type = per_channel_type,
    .vjp = kNoGrad("the statistics of a fused batchnorm are counted in the rule of x"),
    .kernel = moments_kernel,
};

const Row kApply{
    .name = "bn_apply",
    .kind = Kind::opaque,
    .arity = 4,
    .type = type_of_x,
    .vjp = {[](const Vjp& g) {
              return g.tape.record(kDx, std::array<Operand, 5>{g.in[0], g.in[1], g.in[2], record_sums(g, g.ct), g.ct},
                                   attributes(g.attrs));
            },
            kCounted, [](const Vjp& g) { return row_of_sums(g, 1); }, [](const Vjp& g) { return row_of_sums(g, 0); }},
    .kernel = apply_kernel,
    .ulp = 8,
};

const Row kSums{
    .name = "bn_sums",
    .kind = Kind::opaque,
    .arity = 3,
    .type = per_channel_type,
    .vjp = {[](const Vjp& g) {
              return local_pullback(g, [&](std::span<const Var> in) { return staged_sums(g, in[0], in[2]); });
            },
            kCounted,
            [](const Vjp& g) {
              return local_pullback(g, [&](std::span<const Var> in) { return staged_sums(g, in[0], in[2]); });
            }},
    .kernel = sums_kernel,
    .reads_broadcast = true,
    .ulp = 64,
};

Var dx_rule(const Vjp& g) {
  return local_pullback(g,
                        [&](std::span<const Var> in) { return staged_dx(g, in[0], optional_parameter(in[2]), in[4]); });
}

const Row kDx{
    .name = "bn_dx",
    .kind = Kind::opaque,
    .arity = 5,
    .type = type_of_x,
    .vjp = {dx_rule, kCounted, dx_rule, kCounted, dx_rule},
    .kernel = dx_kernel,
    .reads_broadcast = true,
    .ulp = 64,
};

}  // namespace

namespace batch_norm_detail {

Steps fused(const Operand& x, const std::optional<Var>& gamma, const std::optional<Var>& beta,
            const BatchNormOptions& options) {
  Tape& tape = x.tape();
  const Statistics s(x.var().shape(), options.channel_axis);
  const std::array<Attr, 2> attrs{Attr{"channel_axis", std::int64_t{s.channel_axis}}, Attr{"eps", options.eps}};
  const Var m = tape.record(kMoments, std::array<Operand, 1>{x}, attrs);
  // An absent parameter is a literal: nothing asks for its gradient, and the kernel leaves it out.
  const DType dtype = x.var().dtype();
  const Operand scale = gamma ? *gamma : tape.constant(1, dtype);
  const Operand shift = beta ? *beta : tape.constant(0, dtype);
  const Var out = tape.record(kApply, std::array<Operand, 4>{x, m, scale, shift}, attrs);
  tape.name(out, "out");
  return {out, Var(), Var(), m};
}

}  // namespace batch_norm_detail

std::span<const Row* const> batch_norm_rows() {
  static const std::array<const Row*, 4> rows{&kMoments, &kApply, &kSums, &kDx};
  return rows;
}

}  // namespace ebb
