// Elements become unsigned keys in the order wanted, so that one stable sort by counting digits serves every dtype and
// both directions. Where few of many places are asked for, those are selected first. Lanes never meet: they are shared
// out among threads.
#include <ebb/ops/sorting/sorting.h>

#include <ebb/engine/threads/pool.h>
#include <ebb/ops/composition.h>
#include <ebb/ops/indexing/gather.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <limits>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 1 << 14;  // elements worth a thread
constexpr std::int64_t kTogether = 16;    // lanes side by side that are read together
constexpr std::int64_t kCounted = 128;    // elements from which on counting digits pays
// One place in so many, or fewer, is selected: where else all would be compared, and where digits would be counted.
constexpr std::int64_t kOfCompared = 4;
constexpr std::int64_t kOfCounted = 32;

template <class T>
using KeyOf = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

// NaN has the largest key, whichever the direction; 0 and -0 have the same.
template <class T>
KeyOf<T> key_of(T x, bool descending) {
  using Key = KeyOf<T>;
  constexpr Key kSign = Key{1} << (8 * sizeof(Key) - 1);
  Key key;
  if constexpr (std::is_floating_point_v<T>) {
    if (x != x) return std::numeric_limits<Key>::max();
    key = std::bit_cast<Key>(x == 0 ? T(0) : x);
    key = (key & kSign) != 0 ? ~key : key | kSign;
  } else {
    key = static_cast<Key>(x) ^ kSign;
  }
  return descending ? static_cast<Key>(~key) : key;
}

template <class Key>
struct Item {
  Key key;
  Key index;  // as wide as the key
};

// Puts the first `wanted` of n items by key in order; `spare` has room for all.
template <class Key>
void sort_items(Item<Key>* items, Item<Key>* spare, std::int64_t n, std::int64_t wanted) {
  const auto before = [](const Item<Key>& a, const Item<Key>& b) {
    return a.key != b.key ? a.key < b.key : a.index < b.index;
  };
  if (wanted <= n / (n < kCounted ? kOfCompared : kOfCounted))
    return std::partial_sort(items, items + wanted, items + n, before);
  if (n < kCounted) return std::sort(items, items + n, before);
  constexpr std::size_t kDigits = sizeof(Key);
  std::array<std::array<std::int64_t, 256>, kDigits> counts{};
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::size_t d = 0; d < kDigits; ++d) ++counts[d][items[i].key >> (8 * d) & 255];
  }
  Item<Key>* from = items;
  Item<Key>* to = spare;
  for (std::size_t d = 0; d < kDigits; ++d) {
    auto& count = counts[d];
    if (count[from[0].key >> (8 * d) & 255] == n) continue;  // all have this digit
    std::int64_t start = 0;
    for (std::int64_t& c : count) start += std::exchange(c, start);
    for (std::int64_t i = 0; i < n; ++i) to[count[from[i].key >> (8 * d) & 255]++] = from[i];
    std::swap(from, to);
  }
  if (from != items) std::copy_n(from, n, items);
}

template <class T>
void run_argsort(KernelCall& call) {
  using Key = KeyOf<T>;
  const Shape& shape = call.out.shape();
  const T* const x = call.data<T>(0);
  std::int64_t* const out = call.allocate<std::int64_t>();
  if (shape.numel() == 0) return;
  const bool descending = call.attrs.flag("descending");
  const int axis = static_cast<int>(call.attrs.integer("axis"));
  const std::int64_t n = call.in[0]->shape()[axis];
  const std::int64_t count = shape[axis];
  std::int64_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const std::int64_t tiles = (inner + kTogether - 1) / kTogether;
  const std::int64_t tasks = shape.numel() / count / inner * tiles;
  const std::int64_t grain = std::max<std::int64_t>(1, kGrain / (n * std::min(inner, kTogether)));
  parallel_for((tasks + grain - 1) / grain, [&](std::int64_t begin, std::int64_t end) {
    CachedVector<Item<Key>> buffer(static_cast<std::size_t>(n * (std::min(inner, kTogether) + 1)));
    Item<Key>* const spare = buffer.data() + n * std::min(inner, kTogether);
    for (std::int64_t task = begin * grain; task < std::min(tasks, end * grain); ++task) {
      const std::int64_t first = task % tiles * kTogether;
      const std::int64_t lanes = std::min(kTogether, inner - first);
      const T* const from = x + task / tiles * n * inner + first;
      std::int64_t* const to = out + task / tiles * count * inner + first;
      for (std::int64_t i = 0; i < n; ++i) {
        for (std::int64_t l = 0; l < lanes; ++l) {
          buffer[static_cast<std::size_t>(l * n + i)] = {key_of(from[i * inner + l], descending), static_cast<Key>(i)};
        }
      }
      for (std::int64_t l = 0; l < lanes; ++l) sort_items(buffer.data() + l * n, spare, n, count);
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t l = 0; l < lanes; ++l) {
          to[i * inner + l] = static_cast<std::int64_t>(buffer[static_cast<std::size_t>(l * n + i)].index);
        }
      }
    }
  });
}

void check_sortable(const Call& call) {
  if (call.dtype(0) == DType::boolean) call.fail_dtype("does not take bool", "Convert it with cast(x, DType::i64).");
}

const Row kArgsort{
    .name = "argsort",
    .type =
        [](const Call& call) {
          const int axis = call.axis(call.attrs().integer("axis"));
          check_sortable(call);
          if (call.dtype(0) == DType::f32 && call.shape(0)[axis] > std::int64_t{0xffffffff}) {
            call.fail_shape("f32 lanes of 2^32 elements and more cannot be sorted",
                            "Convert x with cast(x, DType::f64).");
          }
          Shape out = call.shape(0);
          out[axis] = call.attrs().integer("first");
          return TensorType{out, DType::i64};
        },
    .vjp = kNoGrad("a place is constant but for jumps"),
    .kernel =
        [](KernelCall& call) {
          with_type(call.in[0]->dtype(), [&]<class T>(std::type_identity<T>) {
            if constexpr (!std::is_same_v<T, bool>) run_argsort<T>(call);
          });
        },
    .ulp = 0,
    .examples =
        [] {
          const auto first = [](Shape shape, DType dtype, std::int64_t axis, bool descending, std::int64_t count) {
            return Example{{{shape, dtype, 50}}, {{"axis", axis}, {"descending", descending}, {"first", count}}};
          };
          const auto along = [&](Shape shape, DType dtype, std::int64_t axis, bool descending) {
            return first(shape, dtype, axis, descending, shape[static_cast<int>(axis)]);
          };
          return std::vector<Example>{
              along({7}, DType::f64, 0, false),         along({3, 5}, DType::f64, 1, true),
              along({5, 3}, DType::f64, 0, false),      along({2, 40, 19}, DType::f64, 1, true),
              along({0, 3}, DType::f64, 0, false),      along({3, 0}, DType::f64, 0, false),
              along({3, 1000}, DType::f64, 1, false),   along({300, 3}, DType::i64, 0, true),
              along({2, 100}, DType::i64, 1, false),    along({20000}, DType::f64, 0, true),
              first({3, 1000}, DType::f64, 1, true, 4), first({300, 3}, DType::i64, 0, false, 30),
              first({3, 9}, DType::f64, 1, false, 4),   first({2, 40, 19}, DType::f64, 1, true, 3),
              first({2, 5}, DType::f64, 1, false, 0),
          };
        },
};

// The first `count` places along an axis counted from the front.
Var first_places(const Operand& x, int axis, bool descending, std::int64_t count) {
  return x.tape().record(kArgsort, {x}, {{"axis", std::int64_t{axis}}, {"descending", descending}, {"first", count}});
}

}  // namespace

Var argsort(const Operand& x, int axis, const SortOptions& options) {
  const int at = Arguments(kArgsort, {x}).axis(axis);
  return first_places(x, at, options.descending, x.var().shape()[at]);
}

Var sort(const Operand& x, int axis, const SortOptions& options) {
  static constexpr Row kSort = composition("sort");
  const auto scope = x.tape().scope("sort", x.where());
  const Arguments call(kSort, {x});
  const int at = call.axis(axis);
  check_sortable(call);
  return gather(x, argsort(x, at, options), at);
}

TopK top_k(const Operand& x, std::int64_t k, int axis, const TopKOptions& options) {
  const auto scope = x.tape().scope("top_k", x.where());
  static constexpr Row kTopK = composition("top_k");
  const Arguments call(kTopK, {x});
  const int at = call.axis(axis);
  check_sortable(call);
  const std::int64_t n = call.shape(0)[at];
  if (k < 0 || k > n) {
    call.fail_shape(fmt::format("k is {} but axis {} has {} element{}", k, axis, n, n == 1 ? "" : "s"));
  }
  const Var indices = first_places(x, at, options.largest, k);
  return {gather(x, indices, at), indices};
}

std::span<const Row* const> sorting_rows() {
  static const std::array<const Row*, 1> rows{&kArgsort};
  return rows;
}

}  // namespace ebb
