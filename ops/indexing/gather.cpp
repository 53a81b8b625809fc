// Both kernels walk lanes: the elements that differ in the indexed axis alone. Lanes never meet, so they are shared out
// among threads and each adds in order. An index out of range is noted, not followed; the first one is reported once
// all threads are done, so that the message does not depend on them either.
//
// Operands may be broadcasts that nobody has written out: an index that is the same for a whole row moves the row at
// once, which is how index_select comes to be a composition without losing anything.
#include <ebb/ops/indexing/gather.h>

#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/composition.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements worth a thread

// The index tensor as [outer, length, inner] around the axis.
struct Lanes {
  int axis;
  Shape index;
  std::int64_t limit;  // of x along the axis
  std::int64_t outer = 1, length, inner = 1;

  Lanes(const Shape& index_shape, const Shape& x, int at)
      : axis(at), index(index_shape), limit(x[at]), length(index_shape[at]) {
    for (int i = 0; i < axis; ++i) outer *= index[i];
    for (int i = axis + 1; i < index.rank(); ++i) inner *= index[i];
  }
};

// Where an operand's elements lie. It has the shape `full`, of which it may hold a part that broadcasts to it; places
// are counted along the index's axes, which may be shorter.
class Layout {
 public:
  Layout(const Tensor& tensor, const Shape& full, const Lanes& lanes) : lanes_(lanes) {
    const Shape& held = tensor.shape();
    std::int64_t step = 1;
    bool dense = true;
    bool repeats = true;
    for (int i = full.rank() - 1, k = held.rank() - 1; i >= 0; --i, --k) {
      const std::int64_t size = k >= 0 ? held[k] : 1;
      strides_[static_cast<std::size_t>(i)] = size == 1 ? 0 : step;
      step *= size;
      if (i <= lanes.axis) continue;
      dense &= size == full[i] && lanes.index[i] == full[i];
      repeats &= size == 1;
    }
    inner_ = dense ? Inner::dense : repeats ? Inner::repeated : Inner::scattered;
  }

  std::int64_t outer(std::int64_t at) const { return offset(at, 0, lanes_.axis); }
  std::int64_t step() const { return strides_[static_cast<std::size_t>(lanes_.axis)]; }
  std::int64_t inner(std::int64_t at) const {
    return dense() ? at : repeated() ? 0 : offset(at, lanes_.axis + 1, lanes_.index.rank());
  }
  std::int64_t whole(std::int64_t at) const { return offset(at, 0, lanes_.index.rank()); }
  bool dense() const { return inner_ == Inner::dense; }
  bool repeated() const { return inner_ == Inner::repeated; }

 private:
  enum class Inner : std::uint8_t { dense, repeated, scattered };

  // Position `at` of the axes [begin, end) of the index.
  std::int64_t offset(std::int64_t at, int begin, int end) const {
    std::int64_t sum = 0;
    for (int i = end - 1; i > begin; --i) {
      sum += at % lanes_.index[i] * strides_[static_cast<std::size_t>(i)];
      at /= lanes_.index[i];
    }
    return end > begin ? sum + at * strides_[static_cast<std::size_t>(begin)] : sum;
  }

  const Lanes& lanes_;
  std::array<std::int64_t, kMaxRank> strides_{};
  Inner inner_;
};

class FirstBad {
 public:
  void note(std::int64_t position) {
    std::int64_t seen = position_.load(std::memory_order_relaxed);
    while (position < seen && !position_.compare_exchange_weak(seen, position, std::memory_order_relaxed)) {
    }
  }
  void report(const KernelCall& call, const Lanes& lanes, const Layout& layout) const {
    const std::int64_t position = position_.load(std::memory_order_relaxed);
    if (position == kNone) return;
    std::array<std::int64_t, kMaxRank> at{};
    std::int64_t rest = position;
    for (int i = lanes.index.rank() - 1; i >= 0; --i) {
      at[static_cast<std::size_t>(i)] = rest % lanes.index[i];
      rest /= lanes.index[i];
    }
    const Shape place(std::span<const std::int64_t>(at.data(), static_cast<std::size_t>(lanes.index.rank())));
    const std::int64_t index = call.data<std::int64_t>(1)[layout.whole(position)];
    call.fail(fmt::format("index {} at {} is outside of axis {}, which has {} element{}", index, to_string(place),
                          lanes.axis, lanes.limit, lanes.limit == 1 ? "" : "s"),
              index < 0 ? "Indices count from 0 and do not wrap."
                        : fmt::format("Indices run from 0 to {}.", lanes.limit - 1));
  }

 private:
  static constexpr std::int64_t kNone = std::numeric_limits<std::int64_t>::max();
  std::atomic<std::int64_t> position_{kNone};
};

enum class Order : std::uint8_t {
  any,     // elements of a lane may be visited by several threads
  inside,  // those of one lane in order, by one thread
};

// Visits every element of the index: `lane(outer)` gives a visitor(place along the axis, inner place, index, n), where
// n is how many inner places from this one on share the index. How the work is cut depends on the shape alone: by
// lanes, long ones by their inner places, and where the order is free along the axis too.
template <class Lane>
void for_each(const Lanes& lanes, const KernelCall& call, Order order, Lane lane) {
  using One = std::integral_constant<std::int64_t, 1>;
  const std::int64_t total = lanes.outer * lanes.length * lanes.inner;
  if (total == 0) return;
  const std::int64_t* const values = call.data<std::int64_t>(1);
  const Layout layout(*call.in[1], lanes.index, lanes);
  const bool free = order == Order::any;
  const std::int64_t wanted = total / kGrain / lanes.outer;
  const std::int64_t cuts = free ? std::clamp<std::int64_t>(wanted, 1, std::min<std::int64_t>(lanes.length, 64)) : 1;
  const std::int64_t chunks = std::clamp<std::int64_t>(std::min(wanted / cuts, lanes.inner / 16), 1, 64);
  const std::int64_t units = lanes.outer * cuts * chunks;
  const std::int64_t group = std::max<std::int64_t>(1, kGrain * units / total);
  FirstBad bad;
  const auto part = [&](std::int64_t outer, std::int64_t begin, std::int64_t end, std::int64_t first,
                        std::int64_t last) {
    const auto visit = lane(outer);
    const std::int64_t* const index = values + layout.outer(outer);
    for (std::int64_t k = begin; k < end; ++k) {
      const std::int64_t* const at = index + k * layout.step();
      const auto good = [&](std::int64_t to, std::int64_t i) {
        if (to >= 0 && to < lanes.limit) return true;
        bad.note((outer * lanes.length + k) * lanes.inner + i);
        return false;
      };
      if (layout.repeated()) {
        if (good(*at, first)) visit(k, first, *at, last - first);
        continue;
      }
      for (std::int64_t i = first; i < last; ++i) {
        const std::int64_t to = at[layout.inner(i)];
        if (good(to, i)) visit(k, i, to, One());
      }
    }
  };
  parallel_for((units + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin * group; u < std::min(units, end * group); ++u) {
      if (cuts * chunks == 1) {  // short lanes, to which the divisions would matter
        part(u, 0, lanes.length, 0, lanes.inner);
        continue;
      }
      const std::int64_t cut = u / chunks % cuts;
      part(u / (cuts * chunks), lanes.length * cut / cuts, lanes.length * (cut + 1) / cuts,
           lanes.inner * (u % chunks) / chunks, lanes.inner * (u % chunks + 1) / chunks);
    }
  });
  bad.report(call, lanes, layout);
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
  return Lanes(call.call.shape(1), call.call.shape(0), static_cast<int>(call.attrs.integer("axis")));
}

void gather_kernel(KernelCall& call) {
  const Lanes lanes = lanes_of(call);
  const Layout from(*call.in[0], call.call.shape(0), lanes);
  with_size(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    T* const out = call.allocate<T>();
    const T* const x = call.data<T>(0);
    for_each(lanes, call, Order::any, [&](std::int64_t outer) {
      return [&, a = x + from.outer(outer), b = out + outer * lanes.length * lanes.inner](
                 std::int64_t k, std::int64_t i, std::int64_t index, auto n) {
        T* const to = b + k * lanes.inner + i;
        const T* const row = a + index * from.step();
        if constexpr (std::is_same_v<decltype(n), std::int64_t>) {
          if (from.dense()) {
            std::copy_n(row + i, n, to);
            return;
          }
        }
        for (std::int64_t c = 0; c < n; ++c) to[c] = row[from.inner(i + c)];
      };
    });
  });
}

void scatter_add_kernel(KernelCall& call) {
  const Lanes lanes = lanes_of(call);
  const Tensor& x = *call.in[0];
  if (x.shape() != call.out.shape()) {
    run_broadcast({x.raw(), &x.shape()}, call.out);
  } else if (std::byte* const to = call.out.result_raw(); to != x.raw()) {
    std::memcpy(to, x.raw(), x.bytes());
  }
  const Layout to(call.out, call.out.shape(), lanes);
  const Layout from(*call.in[2], call.call.shape(2), lanes);
  with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (!std::is_same_v<T, bool>) {
      T* const out = call.allocate<T>();
      const T* const src = call.data<T>(2);
      for_each(lanes, call, Order::inside, [&](std::int64_t outer) {
        return [&, a = src + from.outer(outer), b = out + to.outer(outer)](std::int64_t k, std::int64_t i,
                                                                           std::int64_t index, auto n) {
          T* const row = b + index * to.step();
          const T* const add = a + k * from.step();
          if constexpr (std::is_same_v<decltype(n), std::int64_t>) {
            if (to.dense() && from.dense()) {
              for (std::int64_t c = i; c < i + n; ++c) row[c] += add[c];
              return;
            }
          }
          for (std::int64_t c = i; c < i + n; ++c) row[to.inner(c)] += add[from.inner(c)];
        };
      });
    }
  });
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
    .kernel = gather_kernel,
    .reads_broadcast = true,
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
    .kernel = scatter_add_kernel,
    .reads_broadcast = true,
    .over_first = true,
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

}  // namespace

Var gather(const Operand& x, const Operand& index, int axis) {
  const int at = Arguments(kGather, {x, index}).axis(axis);
  return x.tape().record(kGather, {x, index}, {{"axis", std::int64_t{at}}});
}

Var scatter_add(const Operand& x, const Operand& index, const Operand& src, int axis) {
  const int at = Arguments(kScatterAdd, {x, index, src}).axis(axis);
  return x.tape().record(kScatterAdd, {x, index, src}, {{"axis", std::int64_t{at}}});
}

Var index_select(const Operand& x, const Operand& index, int axis) {
  const auto scope = x.tape().scope("index_select", x.where());
  static constexpr Row kIndexSelect = composition("index_select");
  const Arguments call(kIndexSelect, {x, index});
  call.require_dtype(1, DType::i64);
  const int at = call.axis(axis);
  const Shape from = x.var().shape();
  const Shape places = index.var().shape();
  if (from.rank() - 1 + places.rank() > kMaxRank) {
    call.fail_shape(fmt::format("the result would have more than {} axes", kMaxRank));
  }
  Shape list, rows, out;
  for (int i = 0; i < from.rank(); ++i) {
    list.push_back(i == at ? places.numel() : 1);
    rows.push_back(i == at ? places.numel() : from[i]);
    if (i != at) out.push_back(from[i]);
    if (i == at) {
      for (const std::int64_t size : places) out.push_back(size);
    }
  }
  // An index that is out of range is found when half of this is recorded.
  return detail::all_or_nothing(x.tape(),
                                [&] { return reshape(gather(x, broadcast_to(reshape(index, list), rows), at), out); });
}

Var one_hot(const Operand& labels, std::int64_t classes, DType dtype) {
  Tape& tape = labels.tape();
  const auto scope = tape.scope("one_hot", labels.where());
  static constexpr Row kOneHot = composition("one_hot");
  const Arguments call(kOneHot, {labels});
  call.require_dtype(0, DType::i64);
  if (classes < 0) call.fail_usage(fmt::format("the number of classes must not be negative, it is {}", classes));
  if (dtype == DType::boolean) {
    call.fail_dtype("does not give bool", "Compare instead: equal(unsqueeze(labels, -1), iota(tape, classes)).");
  }
  Shape out = call.shape(0);
  if (out.rank() == kMaxRank) call.fail_shape(fmt::format("the result would have more than {} axes", kMaxRank));
  const std::int64_t n = out.numel();
  axis_size(call, n, classes, 0);
  out.push_back(classes);
  // A label that is out of range is found when half of this is recorded.
  return detail::all_or_nothing(tape, [&] {
    const Var zeros = broadcast_to(tape.constant(0, dtype), Shape{n, classes});
    const Var ones = broadcast_to(tape.constant(1, dtype), Shape{n, 1});
    const Var rows = scatter_add(zeros, reshape(labels, {n, 1}), ones, 1);
    return out.rank() == 2 ? rows : reshape(rows, out);
  });
}

std::span<const Row* const> gather_rows() {
  static const std::array<const Row*, 2> rows{&kGather, &kScatterAdd};
  return rows;
}

}  // namespace ebb
