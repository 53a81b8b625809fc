// Reduction loops over packs, made from a reduction's steps. Included only by files compiled once per instruction set.
//
// A run keeps kPartials partial results whatever the pack width, in the dtype, for kBlock elements at a time; blocks
// are carried in double. So a sum has the same bits on every instruction set, and its error does not grow with its
// length.
#pragma once

#include <ebb/engine/lanes/pack.h>
#include <ebb/engine/tape/row.h>

#include <array>
#include <type_traits>

namespace ebb::EBB_ISA {

inline constexpr std::int64_t kPartials = 16;
inline constexpr std::int64_t kBlock = 1024;  // elements of a run between two carries
inline constexpr std::int64_t kRows = 16;     // rows of a column block between two carries

/// The sum; other reductions that add derive from it.
struct Sum {
  template <class T>
  static constexpr T init() {
    return T(0);
  }
  template <class A>
  static A step(const A& acc, const A& x) {
    return acc + x;
  }
  template <class C>
  static C merge(C a, C b) {
    return a + b;
  }
  template <class C>
  static C finish(C cell, std::int64_t) {
    return cell;
  }
};

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
    Cell* const cell = static_cast<Cell*>(cells);
    std::int64_t c = 0;
    // Several at a time where they are short: one alone waits for the sum before it at every step.
    for (; c + kCells <= count; c += kCells)
      run_cells<kCells>(x + c * cell_stride, cell_stride, runs, stride, n, cell + c);
    for (; c < count; ++c) run_cells<1>(x + c * cell_stride, 0, runs, stride, n, cell + c);
  }

  static constexpr int kCells = 4;

  template <int kCount>
  [[gnu::always_inline]] static void run_cells(const T* x, std::int64_t cell_stride, std::int64_t runs,
                                               std::int64_t stride, std::int64_t n, Cell* cell) {
    Pack<T> acc[kCount][kPacks];
    const auto carry_all = [&] {
      for (int c = 0; c < kCount; ++c) carry(acc[c], cell[c]);
    };
    std::int64_t taken = 0;  // since the last carry
    for (std::int64_t r = 0; r < runs; ++r, x += stride) {
      for (std::int64_t i = 0; i < n; i += kBlock) {
        const std::int64_t m = n - i < kBlock ? n - i : kBlock;
        if (taken + m > kBlock) {
          carry_all();
          taken = 0;
        }
        if (taken == 0) {
          for (auto& of_cell : acc) {
            for (Pack<T>& a : of_cell) a = Pack<T>(R::template init<T>());
          }
        }
        take<kCount>(x + i, cell_stride, m, acc);
        taken += m;
      }
    }
    if (taken > 0) carry_all();
  }

  // m elements of each cell.
  template <int kCount>
  [[gnu::always_inline]] static void take(const T* x, std::int64_t cell_stride, std::int64_t m,
                                          Pack<T> (*acc)[kPacks]) {
    std::int64_t k = 0;
    for (; k + kPartials <= m; k += kPartials) {
      for (int c = 0; c < kCount; ++c) {
        const T* const from = x + c * cell_stride + k;
        for (std::int64_t p = 0; p < kPacks; ++p)
          acc[c][p] = R::step(acc[c][p], Pack<T>::load_unaligned(from + p * kW));
      }
    }
    if (k == m) return;
    for (int c = 0; c < kCount; ++c) take_rest(x + c * cell_stride, m, m - k, acc[c]);
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
  static void carry(const Pack<T>* acc, Cell& total) {
    alignas(64) T partial[kPartials];
    for (std::int64_t p = 0; p < kPacks; ++p) acc[p].store_aligned(partial + p * kW);
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
    for (std::int64_t i = 0; i < kTile * kW; ++i) carry[i] = R::merge(carry[i], static_cast<Cell>(lane[i]));
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

  static constexpr Reducer kReducer{init, run, columns, merge, finish};
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
