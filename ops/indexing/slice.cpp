#include <ebb/ops/indexing/slice.h>

#include <ebb/engine/tensor/strided.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
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
            for (const std::string_view list : {"low", "high", "interior"}) {
              const std::int64_t n = call.attrs().list(list)[at(i)];
              if (n < 0) {
                call.fail_shape(fmt::format("{} of axis {} is {}", list, i, n), "Cut with slice; a pad only adds.");
              }
            }
            const std::int64_t gaps = std::max<std::int64_t>(out[i] - 1, 0) * call.attrs().list("interior")[at(i)];
            out[i] += call.attrs().list("low")[at(i)] + call.attrs().list("high")[at(i)] + gaps;
          }
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
            out[axis] += shape[axis];
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
  const std::array ids{x.var().id()};
  const auto k = at(Call(x.tape(), kSlice, ids, {}, x.where()).axis(axis));
  IntList starts = filled(shape.rank(), 0);
  IntList stops(shape);
  IntList steps = filled(shape.rank(), 1);
  starts[k] = start;
  stops[k] = stop;
  steps[k] = step;
  return slice(x, starts, stops, steps);
}

Var pad(const Operand& x, const IntList& low, const IntList& high, const PadOptions& options) {
  const IntList interior = options.interior.empty() ? filled(x.var().rank(), 0) : options.interior;
  return x.tape().record(kPad, {x}, {{"value", options.value}, {"low", low}, {"high", high}, {"interior", interior}});
}

Var concat(std::span<const Operand> inputs, int axis) {
  if (inputs.empty()) throw ShapeError("concat: there is nothing to concatenate. Give at least one Var.");
  const std::array ids{inputs[0].var().id()};
  const std::int64_t resolved = Call(inputs[0].tape(), kConcat, ids, {}, inputs[0].where()).axis(axis);
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
