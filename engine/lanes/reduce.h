// Reduction loops over packs, made from a reduction's steps. Included only by files compiled once per instruction set.
//
// A run keeps kPartials partial results whatever the pack width, in the dtype, for kBlock elements at a time; blocks
// are carried in double. So a sum has the same bits on every instruction set, and its error does not grow with its
// length.
#pragma once

#include <ebb/engine/lanes/fold.h>
#include <ebb/engine/lanes/pack.h>
#include <ebb/engine/row/row.h>

#include <array>
#include <cstdint>
#include <type_traits>

namespace ebb::EBB_ISA {

inline constexpr std::int64_t kPartials = 16;
inline constexpr std::int64_t kBlock = 1024;  // elements of a run between two carries
inline constexpr std::int64_t kRows = 64;     // rows of a column block between two carries

/// R gives: `init` (a number), `step(acc, x)` on packs, `merge(a, b)` on cells, `finish(cell, count)`.
template <class R, class T>
struct Reduce {
  using Cell = std::conditional_t<std::is_floating_point_v<T>, double, std::int64_t>;
  static constexpr std::int64_t kW = kWidth<T>;
  static constexpr std::int64_t kPacks = kPartials >= kW ? kPartials / kW : 1;

  static void init(void* cells, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<Cell*>(cells)[i] = R::template init<Cell>();
  }

  static void run(const void* data, std::int64_t count, std::int64_t cell_stride, std::int64_t runs,
                  std::int64_t stride, std::int64_t n, void* cells) {
    const T* x = static_cast<const T*>(data);
    Cell* cell = static_cast<Cell*>(cells);
    if (n == 0) return;
    if (runs == 1 && n <= kBlock) {
      for (; count >= kBeside; count -= kBeside, x += kBeside * cell_stride, cell += kBeside) {
        beside(x, cell_stride, n, cell);
      }
    }
    const std::int64_t per_carry = n > kBlock ? 1 : kBlock / n;  // runs
    if (runs <= per_carry && n <= kBlock) return groups(x, count, cell_stride, runs, stride, n, cell, 1);
    for (std::int64_t c = 0; c < count; ++c, x += cell_stride, ++cell) {
      if (n <= kBlock) {
        const std::int64_t whole = runs / per_carry;
        groups(x, whole, per_carry * stride, per_carry, stride, n, cell, 0);
        if (runs % per_carry != 0) groups(x + whole * per_carry * stride, 1, 0, runs % per_carry, stride, n, cell, 0);
        continue;
      }
      for (std::int64_t r = 0; r < runs; ++r) {
        const T* const from = x + r * stride;
        const std::int64_t whole = n / kBlock;
        groups(from, whole, kBlock, 1, 0, kBlock, cell, 0);
        if (n % kBlock != 0) groups(from + whole * kBlock, 1, 0, 1, 0, n % kBlock, cell, 0);
      }
    }
  }

  // A run of at most kBlock elements for each of kBeside cells, with every step of the carries' tree a pack of cells.
  static constexpr std::int64_t kBeside = 8;
  static void beside(const T* x, std::int64_t apart, std::int64_t n, Cell* cells) {
    Cell tree[kPartials][kBeside];
    if (n < kPartials) {
      for (std::int64_t j = 0; j < n; ++j) {
        for (std::int64_t r = 0; r < kBeside; ++r) tree[j][r] = static_cast<Cell>(x[r * apart + j]);
      }
      for (std::int64_t j = n; j < kPartials; ++j) {
        for (std::int64_t r = 0; r < kBeside; ++r) tree[j][r] = static_cast<Cell>(R::template init<T>());
      }
    } else {
      alignas(64) T partial[kBeside][kPartials];
      for (std::int64_t r = 0; r < kBeside; ++r) {
        Pack<T> acc[kPacks];
        for (Pack<T>& a : acc) a = Pack<T>(R::template init<T>());
        const T* const from = x + r * apart;
        std::int64_t k = 0;
        for (; k + kPartials <= n; k += kPartials) {
          for (std::int64_t p = 0; p < kPacks; ++p)
            acc[p] = R::step(acc[p], Pack<T>::load_unaligned(from + k + p * kW));
        }
        if (k < n) take_rest(from, n, n - k, acc);
        for (std::int64_t p = 0; p < kPacks; ++p) acc[p].store_aligned(partial[r] + p * kW);
      }
      for (std::int64_t j = 0; j < kPartials; ++j) {
        for (std::int64_t r = 0; r < kBeside; ++r) tree[j][r] = static_cast<Cell>(partial[r][j]);
      }
    }
    for (std::int64_t half = kPartials / 2; half > 0; half /= 2) {
      for (std::int64_t j = 0; j < half; ++j) {
        for (std::int64_t r = 0; r < kBeside; ++r) tree[j][r] = R::merge(tree[j][r], tree[j + half][r]);
      }
    }
    for (std::int64_t r = 0; r < kBeside; ++r) cells[r] = R::merge(cells[r], tree[0][r]);
  }

  // What lies between two carries, so many times: group g is carried into cell[g * cell_step], in order. Several are
  // summed side by side: one alone would wait for the addition before it at every step.
  static void groups(const T* x, std::int64_t count, std::int64_t apart, std::int64_t runs, std::int64_t stride,
                     std::int64_t n, Cell* cell, std::int64_t cell_step) {
    constexpr int kSide = kPacks < 4 ? static_cast<int>(4 / kPacks) : 1;
    std::int64_t g = 0;
    for (; g + kSide <= count; g += kSide) {
      side_by_side<kSide>(x + g * apart, apart, runs, stride, n, cell + g * cell_step, cell_step);
    }
    if constexpr (kSide == 4) {
      for (; g + 2 <= count; g += 2)
        side_by_side<2>(x + g * apart, apart, runs, stride, n, cell + g * cell_step, cell_step);
    }
    for (; g < count; ++g) side_by_side<1>(x + g * apart, 0, runs, stride, n, cell + g * cell_step, 0);
  }

  template <int kSide>
  [[gnu::always_inline]] static void side_by_side(const T* x, std::int64_t apart, std::int64_t runs,
                                                  std::int64_t stride, std::int64_t n, Cell* cell,
                                                  std::int64_t cell_step) {
    Pack<T> acc[kSide][kPacks];
    for (auto& of_group : acc) {
      for (Pack<T>& a : of_group) a = Pack<T>(R::template init<T>());
    }
    for (std::int64_t r = 0; r < runs; ++r, x += stride) {
      std::int64_t k = 0;
      for (; k + kPartials <= n; k += kPartials) {
        for (int g = 0; g < kSide; ++g) {
          const T* const from = x + g * apart + k;
          for (std::int64_t p = 0; p < kPacks; ++p) {
            acc[g][p] = R::step(acc[g][p], Pack<T>::load_unaligned(from + p * kW));
          }
        }
      }
      for (int g = 0; g < kSide && k < n; ++g) take_rest(x + g * apart, n, n - k, acc[g]);
    }
    for (int g = 0; g < kSide; ++g) {
      alignas(64) T partial[kPartials];
      for (std::int64_t p = 0; p < kPacks; ++p) acc[g][p].store_aligned(partial + p * kW);
      carry(partial, cell[g * cell_step]);
    }
  }

  // The last `rest` of m elements.
  [[gnu::always_inline]] static void take_rest(const T* x, std::int64_t m, std::int64_t rest, Pack<T>* acc) {
    if (m >= kPartials) {  // the last kPartials elements, those that were taken masked out
      const T* const last = x + m - kPartials;
      const Pack<T> first_new(static_cast<T>(kPartials - rest));
      for (std::int64_t p = 0; p < kPacks; ++p) {
        const auto is_new = Pack<T>::load_aligned(kCount.at + p * kW) >= first_new;
        acc[p] =
            R::step(acc[p], select(is_new, Pack<T>::load_unaligned(last + p * kW), Pack<T>(R::template init<T>())));
      }
    } else {
      alignas(64) T padded[kPartials];
      for (std::int64_t j = 0; j < kPartials; ++j) padded[j] = j < m ? x[j] : R::template init<T>();
      for (std::int64_t p = 0; p < kPacks; ++p) acc[p] = R::step(acc[p], Pack<T>::load_aligned(padded + p * kW));
    }
  }

  // A fixed tree, in the carry's type.
  static void carry(const T* partial, Cell& total) {
    Cell tree[kPartials];
    for (std::int64_t j = 0; j < kPartials; ++j) tree[j] = static_cast<Cell>(partial[j]);
    for (std::int64_t half = kPartials / 2; half > 0; half /= 2) {
      for (std::int64_t j = 0; j < half; ++j) tree[j] = R::merge(tree[j], tree[j + half]);
    }
    total = R::merge(total, tree[0]);
  }

  struct Count {
    alignas(64) T at[kPartials];
  };
  static constexpr Count kCount = [] {
    Count count{};
    for (std::int64_t j = 0; j < kPartials; ++j) count.at[j] = static_cast<T>(j);
    return count;
  }();

  /// Columns: cell c takes in x[r * stride + c] for every row r.
  static void columns(const void* data, std::int64_t rows, std::int64_t stride, std::int64_t n, void* cells) {
    const T* x = static_cast<const T*>(data);
    Cell* const cell = static_cast<Cell*>(cells);
    for (std::int64_t r = 0; r < rows; r += kRows) {
      const std::int64_t m = rows - r < kRows ? rows - r : kRows;
      std::int64_t c = 0;
      for (; c + 4 * kW <= n; c += 4 * kW) column_block<4>(x + r * stride + c, m, stride, cell + c);
      for (; c + kW <= n; c += kW) column_block<1>(x + r * stride + c, m, stride, cell + c);
      for (; c < n; ++c) {  // one by one, in the same order of rows
        alignas(64) T lane[kW];
        Pack<T> acc(R::template init<T>());
        for (std::int64_t k = 0; k < m; ++k) acc = R::step(acc, Pack<T>(x[(r + k) * stride + c]));
        acc.store_aligned(lane);
        cell[c] = R::merge(cell[c], static_cast<Cell>(lane[0]));
      }
    }
  }

  template <int kTile>
  static void column_block(const T* x, std::int64_t rows, std::int64_t stride, Cell* carry) {
    Pack<T> acc[kTile];
    for (Pack<T>& a : acc) a = Pack<T>(R::template init<T>());
    for (std::int64_t r = 0; r < rows; ++r) {
      for (int t = 0; t < kTile; ++t) acc[t] = R::step(acc[t], Pack<T>::load_unaligned(x + r * stride + t * kW));
    }
    alignas(64) T lane[kTile * kW];
    for (int t = 0; t < kTile; ++t) acc[t].store_aligned(lane + t * kW);
    carry_lanes(lane, kTile * kW, carry);
  }

  [[gnu::always_inline]] static void carry_lanes(const T* lane, std::int64_t n, Cell* cell) {
    for (std::int64_t i = 0; i < n; ++i) cell[i] = R::merge(cell[i], static_cast<Cell>(lane[i]));
  }
  static void carry_columns(const void* const* accumulators, std::int64_t, std::int64_t n, void* cells) {
    carry_lanes(static_cast<const T*>(accumulators[0]), n, static_cast<Cell*>(cells));
  }
  static void carry_runs(const void* const* accumulators, std::int64_t, std::int64_t n, std::int64_t cell_step,
                         void* cells) {
    const T* const partials = static_cast<const T*>(accumulators[0]);
    for (std::int64_t i = 0; i < n; ++i) carry(partials + i * kPartials, static_cast<Cell*>(cells)[i * cell_step]);
  }

  static void merge(void* cells, const void* others, std::int64_t n) {
    Cell* const a = static_cast<Cell*>(cells);
    const Cell* const b = static_cast<const Cell*>(others);
    for (std::int64_t i = 0; i < n; ++i) a[i] = R::merge(a[i], b[i]);
  }

  static void finish(const void* cells, std::int64_t n, std::int64_t count, void* out) {
    const Cell* const a = static_cast<const Cell*>(cells);
    for (std::int64_t i = 0; i < n; ++i) static_cast<T*>(out)[i] = static_cast<T>(R::finish(a[i], count));
  }

  static constexpr Reducer kReducer{init, run, columns, merge, finish, 1, carry_columns, carry_runs};
};

template <class R, bool integers>
constexpr ReducerTable reducer_table() {
  ReducerTable table;
  table.by_dtype[0] = &Reduce<R, float>::kReducer;
  table.by_dtype[1] = &Reduce<R, double>::kReducer;
  if constexpr (integers) table.by_dtype[2] = &Reduce<R, std::int64_t>::kReducer;
  return table;
}

}  // namespace ebb::EBB_ISA
