#include <ebb/engine/tensor/strided.h>

#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace ebb {
namespace {

constexpr std::int64_t kTile = 32;        // a tile is kTile rows, and as many columns where columns are not contiguous
constexpr std::int64_t kGrain = 1 << 15;  // elements worth a thread

struct Walk {
  std::int64_t size, from, to;
};

// The axes that matter, outermost first: at least two, the last with the shortest steps in `to`, the last but one with
// the shortest in `from` of the others.
struct Plan {
  std::array<Walk, kMaxRank + 2> axes{};
  std::size_t count = 0;

  Plan(const Shape& sizes, const Strides& from, const Strides& to) {
    for (int i = 0; i < sizes.rank(); ++i) {
      const auto k = static_cast<std::size_t>(i);
      if (sizes[i] != 1) axes[count++] = {sizes[i], from[k], to[k]};
    }
    for (std::size_t i = 1; i < count; ++i) {  // a stable sort; the library's takes memory from the heap
      for (std::size_t k = i; k > 0 && axes[k - 1].to < axes[k].to; --k) std::swap(axes[k - 1], axes[k]);
    }
    std::size_t kept = 0;
    for (std::size_t i = 0; i < count; ++i) {
      Walk& last = axes[kept == 0 ? 0 : kept - 1];
      if (kept > 0 && last.from == axes[i].from * axes[i].size && last.to == axes[i].to * axes[i].size) {
        last = {last.size * axes[i].size, axes[i].from, axes[i].to};
      } else {
        axes[kept++] = axes[i];
      }
    }
    count = kept;
    while (count < 2) {
      std::move_backward(axes.begin(), axes.begin() + count, axes.begin() + count + 1);
      axes[0] = {1, 0, 0};
      ++count;
    }
    const auto shortest = std::min_element(axes.begin(), axes.begin() + count - 1, [](const Walk& a, const Walk& b) {
      return std::abs(a.from) < std::abs(b.from);
    });
    if (std::abs(shortest->from) < std::abs(axes[count - 1].from)) std::swap(*shortest, axes[count - 2]);
  }
};

// Four rows of four elements of four bytes: from[c][r] goes to to[r][c].
void transpose_block(const std::uint32_t* from, std::int64_t from_step, std::uint32_t* to, std::int64_t to_step) {
  typedef std::uint32_t Four __attribute__((vector_size(16), aligned(4), may_alias));
  const auto row = [&](std::int64_t c) { return *reinterpret_cast<const Four*>(from + c * from_step); };
  const Four a = row(0), b = row(1), c = row(2), d = row(3);
  const Four ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  const auto put = [&](std::int64_t r, const Four& x) { *reinterpret_cast<Four*>(to + r * to_step) = x; };
  put(0, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
  put(1, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
  put(2, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
  put(3, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

template <class T>
void tile(const Walk& rows, const Walk& columns, std::int64_t n, const T* from, T* to) {
  if (columns.from == 1 && columns.to == 1) {
    for (std::int64_t r = 0; r < n; ++r) {
      std::memcpy(to + r * rows.to, from + r * rows.from, static_cast<std::size_t>(columns.size) * sizeof(T));
    }
    return;
  }
  for (std::int64_t c = 0; c < columns.size; c += kTile) {
    const std::int64_t end = std::min(columns.size, c + kTile);
    const auto copy = [&](std::int64_t r, std::int64_t begin) {
      const T* const a = from + r * rows.from;
      T* const b = to + r * rows.to;
      for (std::int64_t k = begin; k < end; ++k) b[k * columns.to] = a[k * columns.from];
    };
    std::int64_t r = 0;
    if constexpr (sizeof(T) == 4) {
      for (; rows.from == 1 && columns.to == 1 && r + 4 <= n; r += 4) {
        std::int64_t k = c;
        for (; k + 4 <= end; k += 4) {
          transpose_block(from + r + k * columns.from, columns.from, to + r * rows.to + k, rows.to);
        }
        for (std::int64_t i = 0; k < end && i < 4; ++i) copy(r + i, k);
      }
    }
    for (; r < n; ++r) copy(r, c);
  }
}

template <class T>
void run(const Plan& plan, const T* from, T* to) {
  const Walk& rows = plan.axes[plan.count - 2];
  const Walk& columns = plan.axes[plan.count - 1];
  const std::int64_t bands = (rows.size + kTile - 1) / kTile;
  std::int64_t units = bands;
  for (std::size_t i = 0; i + 2 < plan.count; ++i) units *= plan.axes[i].size;
  const std::int64_t work = std::min(rows.size, kTile) * columns.size;
  const std::int64_t group = std::max<std::int64_t>(1, kGrain / std::max<std::int64_t>(work, 1));
  parallel_for((units + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t u = begin * group; u < std::min(units, end * group); ++u) {
      const std::int64_t row = u % bands * kTile;
      std::int64_t source = row * rows.from;
      std::int64_t target = row * rows.to;
      std::int64_t rest = u / bands;
      for (std::size_t i = plan.count - 2; i-- > 0;) {
        const Walk& axis = plan.axes[i];
        source += rest % axis.size * axis.from;
        target += rest % axis.size * axis.to;
        rest /= axis.size;
      }
      tile(rows, columns, std::min(kTile, rows.size - row), from + source, to + target);
    }
  });
}

}  // namespace

Strides strides_of(const Shape& shape) {
  Strides strides{};
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[static_cast<std::size_t>(i)] = step;
    step *= shape[i];
  }
  return strides;
}

void copy_strided(const Shape& sizes, DType dtype, const std::byte* from, const Strides& from_strides, std::byte* to,
                  const Strides& to_strides) {
  if (sizes.numel() == 0) return;
  const Plan plan(sizes, from_strides, to_strides);
  const auto as = [&]<class T>(std::type_identity<T>) {
    run(plan, reinterpret_cast<const T*>(from), reinterpret_cast<T*>(to));
  };
  switch (size_of(dtype)) {  // moving elements needs their size only
    case 1:
      return as(std::type_identity<std::uint8_t>{});
    case 4:
      return as(std::type_identity<std::uint32_t>{});
    default:
      return as(std::type_identity<std::uint64_t>{});
  }
}

}  // namespace ebb
