#include <ebb/ops/indexing/slice.h>

#include <ebb/engine/tensor/strided.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/indexing/permute.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace ebb {
namespace {

IntList filled(int rank, std::int64_t value) {
  IntList out;
  for (int i = 0; i < rank; ++i) out.push_back(value);
  return out;
}

std::size_t at(int axis) { return static_cast<std::size_t>(axis); }

void check_lengths(const Call& call, std::initializer_list<std::string_view> lists) {
  const int rank = call.shape(0).rank();
  for (const std::string_view list : lists) {
    const std::size_t size = call.attrs().list(list).size();
    if (size != at(rank)) {
      call.fail_shape(fmt::format("{} {} for {} axes", size, list, rank), "Give one per axis.");
    }
  }
}

void check_not_negative(const Call& call, int axis, std::initializer_list<std::string_view> lists) {
  for (const std::string_view list : lists) {
    const std::int64_t n = call.attrs().list(list)[at(axis)];
    if (n < 0) call.fail_shape(fmt::format("{} of axis {} is {}", list, axis, n), "Cut with slice; a pad only adds.");
  }
}

// What x's dtype cannot hold would be cut to another number without a word.
void check_value(const Call& call) {
  const double value = call.attrs().real("value");
  const bool fits = call.dtype(0) == DType::boolean ? value == 0 || value == 1
                    : call.dtype(0) == DType::i64   ? std::trunc(value) == value && std::fabs(value) < 0x1p63
                                                    : true;
  if (!fits) call.fail_dtype(fmt::format("the value {} is no {}", value, name(call.dtype(0))));
}

TensorType slice_type(const Call& call) {
  check_lengths(call, {"starts", "stops", "steps"});
  const Attrs& attrs = call.attrs();
  Shape out = call.shape(0);
  for (int i = 0; i < out.rank(); ++i) {
    const std::int64_t step = attrs.list("steps")[at(i)];
    if (step < 1) {
      call.fail_shape(fmt::format("steps must be 1 or more, that of axis {} is {}", i, step));
    }
    const std::int64_t length = attrs.list("stops")[at(i)] - attrs.list("starts")[at(i)];
    out[i] = length <= 0 ? 0 : (length + step - 1) / step;
  }
  return {out, call.dtype(0)};
}

const Row kSlice{
    .name = "slice",
    .kind = Kind::movement,
    .type = slice_type,
    .vjp =
        [](const Vjp& g) {
          const Shape& x = g.in[0].shape();
          const IntList& starts = g.attrs.list("starts");
          const IntList& steps = g.attrs.list("steps");
          IntList high, interior;
          for (int i = 0; i < x.rank(); ++i) {
            const std::int64_t n = g.out.shape()[i];
            high.push_back(x[i] - starts[at(i)] - (n == 0 ? 0 : (n - 1) * steps[at(i)] + 1));
            interior.push_back(steps[at(i)] - 1);
          }
          return pad(g.ct, starts, high, {.value = 0, .interior = interior});
        },
    .kernel =
        [](KernelCall& call) {
          const Shape& shape = call.in[0]->shape();
          std::byte* const out = call.allocate<std::byte>();
          if (call.out.numel() == 0) return;
          Strides from = strides_of(shape);
          std::int64_t first = 0;
          for (int i = 0; i < shape.rank(); ++i) {
            first += call.attrs.list("starts")[at(i)] * from[at(i)];
            from[at(i)] *= call.attrs.list("steps")[at(i)];
          }
          const auto size = static_cast<std::int64_t>(size_of(call.out.dtype()));
          copy_strided(call.out.shape(), call.out.dtype(), call.data<std::byte>(0) + first * size, from, out,
                       strides_of(call.out.shape()));
        },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          const auto box = [](IntList starts, IntList stops, IntList steps) {
            return std::vector<Attr>{{"starts", starts}, {"stops", stops}, {"steps", steps}};
          };
          return std::vector<Example>{
              {{{{7}}}, box({1}, {6}, {2})},
              {{{{4, 5}}}, box({1, 0}, {3, 5}, {1, 3})},
              {{{{2, 3, 4}}}, box({0, 2, 1}, {2, 3, 4}, {1, 1, 2})},
              {{{{3, 4}}}, box({2, 0}, {2, 4}, {1, 1})},
              {{{{}}}, box({}, {}, {})},
              {{{{70, 90}}}, box({3, 5}, {69, 90}, {2, 1})},
          };
        },
};

const Row kPad{
    .name = "pad",
    // Not a movement: elements outside of x are no element of it.
    .type =
        [](const Call& call) {
          check_lengths(call, {"low", "high", "interior"});
          Shape out = call.shape(0);
          for (int i = 0; i < out.rank(); ++i) {
            check_not_negative(call, i, {"low", "high", "interior"});
            const std::int64_t gaps = std::max<std::int64_t>(out[i] - 1, 0);
            out[i] = axis_size(call, gaps, call.attrs().list("interior")[at(i)], out[i]);
            out[i] = axis_size(call, out[i], 1, call.attrs().list("low")[at(i)]);
            out[i] = axis_size(call, out[i], 1, call.attrs().list("high")[at(i)]);
          }
          check_value(call);
          return TensorType{out, call.dtype(0)};
        },
    .vjp =
        [](const Vjp& g) {
          const IntList& low = g.attrs.list("low");
          IntList stops, steps;
          for (int i = 0; i < g.in[0].rank(); ++i) {
            const std::int64_t n = g.in[0].shape()[i];
            steps.push_back(g.attrs.list("interior")[at(i)] + 1);
            stops.push_back(low[at(i)] + (n == 0 ? 0 : (n - 1) * steps[at(i)] + 1));
          }
          return slice(g.ct, low, stops, steps);
        },
    .kernel =
        [](KernelCall& call) {
          call.out = Tensor::full(call.out.shape(), call.attrs.real("value"), call.out.dtype());
          const Shape& shape = call.in[0]->shape();
          if (shape.numel() == 0) return;
          Strides to = strides_of(call.out.shape());
          std::int64_t first = 0;
          for (int i = 0; i < shape.rank(); ++i) {
            first += call.attrs.list("low")[at(i)] * to[at(i)];
            to[at(i)] *= call.attrs.list("interior")[at(i)] + 1;
          }
          const auto size = static_cast<std::int64_t>(size_of(call.out.dtype()));
          copy_strided(shape, call.out.dtype(), call.data<std::byte>(0), strides_of(shape),
                       call.out.mutable_raw() + first * size, to);
        },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          const auto box = [](double value, IntList low, IntList high, IntList interior) {
            return std::vector<Attr>{{"value", value}, {"low", low}, {"high", high}, {"interior", interior}};
          };
          return std::vector<Example>{
              {{{{4}}}, box(0, {2}, {1}, {0})},
              {{{{3, 4}}}, box(1.5, {0, 1}, {2, 0}, {1, 2})},
              {{{{2, 0}}}, box(-1, {0, 1}, {0, 2}, {0, 3})},
              {{{{2, 3, 4}}}, box(0, {1, 0, 1}, {0, 1, 1}, {0, 0, 1})},
          };
        },
};

const Row kConcat{
    .name = "concat",
    .arity = -1,
    .type =
        [](const Call& call) {
          const DType dtype = call.common_dtype();
          const int axis = static_cast<int>(call.attrs().integer("axis"));
          Shape out = call.shape(0);
          for (std::size_t k = 1; k < call.arity(); ++k) {
            const Shape& shape = call.shape(k);
            bool fits = shape.rank() == out.rank();
            for (int i = 0; fits && i < out.rank(); ++i) fits = i == axis || shape[i] == out[i];
            if (!fits) {
              call.fail_shape(fmt::format("input {} is {}, input 0 is {}: they differ not only on axis {}", k,
                                          to_string(shape), to_string(call.shape(0)), axis));
            }
            out[axis] = axis_size(call, out[axis], 1, shape[axis]);
          }
          return TensorType{out, dtype};
        },
    .vjp =
        [](const Vjp& g) {
          const int axis = static_cast<int>(g.attrs.integer("axis"));
          std::int64_t start = 0;
          for (std::size_t k = 0; k < g.i; ++k) start += g.in[k].shape()[axis];
          return slice_axis(g.ct, axis, start, start + g.in[g.i].shape()[axis]);
        },
    .kernel =
        [](KernelCall& call) {
          std::byte* to = call.allocate<std::byte>();
          if (call.out.numel() == 0) return;
          const int axis = static_cast<int>(call.attrs.integer("axis"));
          const Strides strides = strides_of(call.out.shape());
          for (const Tensor* in : call.in) {
            copy_strided(in->shape(), in->dtype(), in->raw(), strides_of(in->shape()), to, strides);
            to += static_cast<std::size_t>(in->shape()[axis] * strides[at(axis)]) * size_of(in->dtype());
          }
        },
    .ulp = 0,
    .facts = {.linear = ~0u},
    .examples =
        [] {
          const auto axis = [](std::int64_t i) { return std::vector<Attr>{{"axis", i}}; };
          return std::vector<Example>{
              {{{{3}}}, axis(0)},
              {{{{2, 3}}, {{4, 3}}}, axis(0)},
              {{{{2, 3}}, {{2, 0}}, {{2, 5}}}, axis(1)},
          };
        },
};

// One axis at a time, so that corners come to repeat the edges of edges.
Var pad_from_inside(const Operand& x, const IntList& low, const IntList& high, const PadOptions& options) {
  const auto scope = x.tape().scope("pad", x.where());
  const Attr attrs[] = {{"low", low}, {"high", high}};
  const Arguments call(kPad, {x}, Attrs(attrs));
  const bool reflect = options.mode == PadMode::reflect;
  check_lengths(call, {"low", "high"});
  if (!options.interior.empty()) {
    call.fail_usage("only a constant can be put between elements", "Leave out interior, or mode.");
  }
  for (int i = 0; i < call.shape(0).rank(); ++i) {
    const std::int64_t n = call.shape(0)[i];
    const std::int64_t most = std::max(low[at(i)], high[at(i)]);
    if (most > 0 && n <= (reflect ? most : 0)) {
      call.fail_shape(fmt::format("axis {} has {} element{}, which cannot be {} {} times", i, n, n == 1 ? "" : "s",
                                  reflect ? "reflected" : "replicated", most),
                      reflect ? "An axis reflects one element fewer than it has." : "");
    }
    check_not_negative(call, i, {"low", "high"});
  }
  Var out = x;
  for (int i = 0; i < out.rank(); ++i) {
    const std::int64_t n = out.shape()[i];
    const auto outside = [&](std::int64_t start, std::int64_t stop, std::int64_t count) -> Var {
      const Var part = slice_axis(out, i, start, stop);
      if (reflect) return flip(part, {i});
      Shape shape = out.shape();
      shape[i] = count;
      return broadcast_to(part, shape);
    };
    std::array<Operand, 3> parts{out, out, out};
    std::size_t count = 0;
    const std::int64_t before = low[at(i)];
    const std::int64_t after = high[at(i)];
    if (before > 0) parts[count++] = reflect ? outside(1, before + 1, before) : outside(0, 1, before);
    parts[count++] = out;
    if (after > 0) parts[count++] = reflect ? outside(n - 1 - after, n - 1, after) : outside(n - 1, n, after);
    if (count > 1) out = concat(std::span(parts).first(count), i);
  }
  return out;
}

}  // namespace

Var slice(const Operand& x, const IntList& starts, const IntList& stops, const IntList& steps) {
  const Shape& shape = x.var().shape();
  IntList from = starts;
  IntList to = stops;
  // Lists of a wrong length are left as they are: the row says what is wrong.
  if (from.size() == at(shape.rank()) && to.size() == at(shape.rank())) {
    for (int i = 0; i < shape.rank(); ++i) {
      const auto clip = [n = shape[i]](std::int64_t k) { return std::clamp<std::int64_t>(k < 0 ? k + n : k, 0, n); };
      from[at(i)] = clip(from[at(i)]);
      to[at(i)] = std::max(clip(to[at(i)]), from[at(i)]);
    }
  }
  const IntList by = steps.empty() ? filled(shape.rank(), 1) : steps;
  return x.tape().record(kSlice, {x}, {{"starts", from}, {"stops", to}, {"steps", by}});
}

Var slice_axis(const Operand& x, int axis, std::int64_t start, std::int64_t stop, std::int64_t step) {
  const Shape shape = x.var().shape();
  const auto k = at(Arguments(kSlice, {x}).axis(axis));
  IntList starts = filled(shape.rank(), 0);
  IntList stops(shape);
  IntList steps = filled(shape.rank(), 1);
  starts[k] = start;
  stops[k] = stop;
  steps[k] = step;
  return slice(x, starts, stops, steps);
}

Var pad(const Operand& x, const IntList& low, const IntList& high, const PadOptions& options) {
  if (options.mode != PadMode::constant) return pad_from_inside(x, low, high, options);
  const IntList interior = options.interior.empty() ? filled(x.var().rank(), 0) : options.interior;
  return x.tape().record(kPad, {x}, {{"value", options.value}, {"low", low}, {"high", high}, {"interior", interior}});
}

Var concat(std::span<const Operand> inputs, int axis) {
  if (inputs.empty()) throw ShapeError("concat: there is nothing to concatenate. Give at least one Var.");
  const std::int64_t resolved = Arguments(kConcat, inputs.first(1)).axis(axis);
  const Attr attr{"axis", resolved};
  return inputs[0].tape().record(kConcat, inputs, std::span(&attr, 1));
}
Var concat(std::initializer_list<Operand> inputs, int axis) {
  return concat(std::span(inputs.begin(), inputs.size()), axis);
}

std::span<const Row* const> slice_rows() {
  static const std::array<const Row*, 3> rows{&kSlice, &kPad, &kConcat};
  return rows;
}

}  // namespace ebb
