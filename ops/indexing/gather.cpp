// Both kernels walk lanes: the elements that differ in the indexed axis alone. Lanes never meet, so they are shared out
// among threads and each adds in order. An index out of range is noted, not followed; the first one is reported once
// all threads are done, so that the message does not depend on them either.
#include <ebb/ops/indexing/gather.h>

#include <ebb/engine/threads/pool.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements worth a thread

// The index tensor as [outer, length, inner] around the axis, and where its positions lie in x.
struct Lanes {
  std::int64_t outer = 1, length = 1, inner = 1;
  std::int64_t limit = 0;  // of x along the axis
  std::int64_t step = 1;   // of x along the axis
  int axis;
  Shape index, x;

  Lanes(const Shape& index_shape, const Shape& x_shape, int at) : axis(at), index(index_shape), x(x_shape) {
    for (int i = 0; i < axis; ++i) outer *= index[i];
    length = index[axis];
    limit = x[axis];
    for (int i = axis + 1; i < index.rank(); ++i) {
      inner *= index[i];
      step *= x[i];
    }
  }

  // Where position `at` of the axes [begin, end) of index lies in x.
  std::int64_t offset(std::int64_t at, int begin, int end) const {
    std::int64_t stride = 1;
    for (int i = end; i < x.rank(); ++i) stride *= x[i];
    std::int64_t sum = 0;
    for (int i = end - 1; i >= begin; --i) {
      sum += at % index[i] * stride;
      at /= index[i];
      stride *= x[i];
    }
    return sum;
  }

  // True if the inner axes of index are those of x: positions there are offsets.
  bool dense() const {
    for (int i = axis + 1; i < index.rank(); ++i) {
      if (index[i] != x[i]) return false;
    }
    return true;
  }
};

class FirstBad {
 public:
  void note(std::int64_t position) {
    std::int64_t seen = position_.load(std::memory_order_relaxed);
    while (position < seen && !position_.compare_exchange_weak(seen, position, std::memory_order_relaxed)) {
    }
  }
  void report(const KernelCall& call, const Lanes& lanes, const std::int64_t* index) const {
    const std::int64_t position = position_.load(std::memory_order_relaxed);
    if (position == kNone) return;
    std::array<std::int64_t, kMaxRank> at{};
    std::int64_t rest = position;
    for (int i = lanes.index.rank() - 1; i >= 0; --i) {
      at[static_cast<std::size_t>(i)] = rest % lanes.index[i];
      rest /= lanes.index[i];
    }
    const Shape shape(std::span<const std::int64_t>(at.data(), static_cast<std::size_t>(lanes.index.rank())));
    call.fail(fmt::format("index {} at {} is outside of axis {}, which has {} element{}", index[position],
                          to_string(shape), lanes.axis, lanes.limit, lanes.limit == 1 ? "" : "s"),
              index[position] < 0 ? "Indices count from 0 and do not wrap."
                                  : fmt::format("Indices run from 0 to {}.", lanes.limit - 1));
  }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> position_{kNone};
};

// Calls visit(position in index, offset in x, place on the axis) for every element; those of one lane in order, on one
// thread. Inner positions are cut into chunks, so that a table of few rows is shared out by columns.
template <class Visit>
void for_each(const Lanes& lanes, const KernelCall& call, Visit visit) {
  const std::int64_t* const index = call.data<std::int64_t>(1);
  const std::int64_t total = lanes.outer * lanes.length * lanes.inner;
  if (total == 0) return;
  const bool dense = lanes.dense();
  const std::int64_t chunks = std::clamp<std::int64_t>(std::min(total / kGrain, lanes.inner / 16), 1, 64);
  const std::int64_t units = lanes.outer * chunks;
  const std::int64_t group = std::max<std::int64_t>(1, kGrain * units / total);
  FirstBad bad;
  parallel_for((units + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin * group; u < std::min(units, end * group); ++u) {
      const std::int64_t outer = u / chunks;
      const std::int64_t base = lanes.offset(outer, 0, lanes.axis);
      const std::int64_t first = lanes.inner * (u % chunks) / chunks;
      const std::int64_t last = lanes.inner * (u % chunks + 1) / chunks;
      for (std::int64_t k = 0; k < lanes.length; ++k) {
        const std::int64_t row = (outer * lanes.length + k) * lanes.inner;
        for (std::int64_t i = first; i < last; ++i) {
          const std::int64_t to = index[row + i];
          if (to < 0 || to >= lanes.limit) {
            bad.note(row + i);
            continue;
          }
          const std::int64_t inside = dense ? i : lanes.offset(i, lanes.axis + 1, lanes.index.rank());
          visit(row + i, base + inside + to * lanes.step);
        }
      }
    }
  });
  bad.report(call, lanes, index);
}

void check_index(const Call& call) {
  const Shape& x = call.shape(0);
  const Shape& index = call.shape(1);
  call.require_dtype(1, DType::i64);
  if (x.rank() != index.rank()) {
    call.fail_shape(fmt::format("index has {} axes but x has {}", index.rank(), x.rank()),
                    "Give the index x's number of axes with reshape.");
  }
  const int axis = call.axis(call.attrs().integer("axis"));
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis && index[i] > x[i]) {
      call.fail_shape(fmt::format("index.shape[{}] is {} but x.shape[{}] is {}", i, index[i], i, x[i]),
                      "Only along the axis may the index be longer than x.");
    }
  }
}

template <class F>
void with_size(DType dtype, F&& f) {  // moving elements needs their size only
  switch (size_of(dtype)) {
    case 1:
      return f(std::type_identity<std::uint8_t>{});
    case 4:
      return f(std::type_identity<std::uint32_t>{});
    default:
      return f(std::type_identity<std::uint64_t>{});
  }
}

Lanes lanes_of(const KernelCall& call) {
  return Lanes(call.in[1]->shape(), call.in[0]->shape(), static_cast<int>(call.attrs.integer("axis")));
}

constexpr auto kIndexReason = "an index selects, it has no slope";

const Row kGather{
    .name = "gather",
    .arity = 2,
    .type =
        [](const Call& call) {
          check_index(call);
          return TensorType{call.shape(1), call.dtype(0)};
        },
    .vjp = {[](const Vjp& g) {
              const Var zeros = broadcast_to(g.tape.constant(0, g.ct.dtype()), g.in[0].shape());
              return scatter_add(zeros, g.in[1], g.ct, static_cast<int>(g.attrs.integer("axis")));
            },
            kNoGrad(kIndexReason)},
    .kernel =
        [](KernelCall& call) {
          with_size(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
            T* const out = call.allocate<T>();
            const T* const x = call.data<T>(0);
            for_each(lanes_of(call), call, [&](std::int64_t at, std::int64_t from) { out[at] = x[from]; });
          });
        },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          const auto axis = [](std::int64_t i) { return std::vector<Attr>{{"axis", i}}; };
          return std::vector<Example>{
              {{{{5}}, {{7}, DType::i64, 5}}, axis(0)},
              {{{{4, 3}}, {{2, 3}, DType::i64, 4}}, axis(0)},
              {{{{4, 3}}, {{4, 6}, DType::i64, 3}}, axis(1)},
              {{{{4, 3}}, {{6, 2}, DType::i64, 4}}, axis(0)},
              {{{{2, 3, 4}}, {{1, 5, 4}, DType::i64, 3}}, axis(1)},
              {{{{2, 3}}, {{2, 0}, DType::i64, 3}}, axis(1)},
              {{{{3, 40, 50}}, {{3, 90, 50}, DType::i64, 40}}, axis(1)},
          };
        },
};

const Row kScatterAdd{
    .name = "scatter_add",
    .arity = 3,
    .type =
        [](const Call& call) {
          check_index(call);
          if (call.dtype(0) != call.dtype(2)) {
            call.fail_dtype(fmt::format("x is {} but src is {}", name(call.dtype(0)), name(call.dtype(2))),
                            fmt::format("Convert one with cast(x, DType::{}).", name(call.dtype(0))));
          }
          if (call.dtype(0) == DType::boolean) {
            call.fail_dtype("does not take bool", "Convert it with cast(x, DType::i64).");
          }
          if (call.shape(1) != call.shape(2)) {
            call.fail_shape(
                fmt::format("index is {} but src is {}", to_string(call.shape(1)), to_string(call.shape(2))),
                "Each element of src needs its index.");
          }
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = {[](const Vjp& g) { return g.ct; }, kNoGrad(kIndexReason),
            [](const Vjp& g) { return gather(g.ct, g.in[1], static_cast<int>(g.attrs.integer("axis"))); }},
    .kernel =
        [](KernelCall& call) {
          call.out = call.in[0]->clone();
          with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
            if constexpr (!std::is_same_v<T, bool>) {
              T* const out = call.out.mutable_data<T>().data();
              const T* const src = call.data<T>(2);
              for_each(lanes_of(call), call, [&](std::int64_t at, std::int64_t to) { out[to] += src[at]; });
            }
          });
        },
    .ulp = 4,
    .facts = {.linear = 5},
    .examples =
        [] {
          const auto axis = [](std::int64_t i) { return std::vector<Attr>{{"axis", i}}; };
          return std::vector<Example>{
              {{{{5}}, {{7}, DType::i64, 5}, {{7}}}, axis(0)},
              {{{{4, 3}}, {{2, 3}, DType::i64, 4}, {{2, 3}}}, axis(0)},
              {{{{4, 3}}, {{3, 6}, DType::i64, 3}, {{3, 6}}}, axis(1)},
              {{{{2, 3, 4}}, {{1, 5, 2}, DType::i64, 3}, {{1, 5, 2}}}, axis(1)},
              {{{{2, 3}}, {{2, 0}, DType::i64, 3}, {{2, 0}}}, axis(1)},
              {{{{40, 700}}, {{90, 700}, DType::i64, 40}, {{90, 700}}}, axis(0)},
          };
        },
};

// The axis counted from the front, or the row's error.
std::int64_t resolved(const Row& row, std::span<const Operand> in, int axis) {
  std::array<NodeId, 3> ids{};
  for (std::size_t i = 0; i < in.size(); ++i) ids[i] = in[i].var().id();
  return Call(in[0].tape(), row, std::span(ids).first(in.size()), {}, in[0].where()).axis(axis);
}

}  // namespace

Var gather(const Operand& x, const Operand& index, int axis) {
  const std::array in{x, index};
  return x.tape().record(kGather, {x, index}, {{"axis", resolved(kGather, in, axis)}});
}

Var scatter_add(const Operand& x, const Operand& index, const Operand& src, int axis) {
  const std::array in{x, index, src};
  return x.tape().record(kScatterAdd, {x, index, src}, {{"axis", resolved(kScatterAdd, in, axis)}});
}

Var one_hot(const Operand& labels, std::int64_t classes, DType dtype) {
  Tape& tape = labels.tape();
  const auto scope = tape.scope("one_hot", labels.where());
  const std::int64_t n = labels.var().numel();
  const Var zeros = broadcast_to(tape.constant(0, dtype), Shape{n, classes});
  const Var ones = broadcast_to(tape.constant(1, dtype), Shape{n, 1});
  return scatter_add(zeros, reshape(labels, {n, 1}), ones, 1);
}

std::span<const Row* const> gather_rows() {
  static const std::array<const Row*, 2> rows{&kGather, &kScatterAdd};
  return rows;
}

}  // namespace ebb
