// Mean and squared deviations in one pass, once per instruction set.
//
// A block of elements is summed relative to its first one, s = sum(x - k) and q = sum((x - k)^2), in the dtype; the
// block joins the cell in double by Chan's formula. The shift is a member of the block, so nothing cancels that is not
// already there in the data, and the mean comes out with more digits than the dtype holds: it is given as a high and a
// low part.
#include <ebb/engine/lanes/pack.h>
#include <ebb/engine/row/row.h>
#include <ebb/ops/reduction/moments_ops.h>

#include <array>

namespace ebb::EBB_ISA {
namespace {

template <class T>
struct Moments {
  static constexpr std::int64_t kW = kWidth<T>;
  static constexpr std::int64_t kPartials = 16;  // whatever the pack's width
  static constexpr std::int64_t kPacks = kPartials >= kW ? kPartials / kW : 1;
  static constexpr std::int64_t kBlock = 1024;  // elements of a run between two carries
  static constexpr std::int64_t kRows = 64;     // rows of a column block between two carries

  struct Cell {
    double count, mean, squares;
  };

  static void init(void* cells, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<Cell*>(cells)[i] = {0, 0, 0};
  }

  // `n` more elements of this mean and these squared deviations from it.
  static void join(Cell& cell, double n, double mean, double squares) {
    const double count = cell.count + n;
    const double delta = mean - cell.mean;
    const double weight = n / count;
    cell.mean += delta * weight;
    cell.squares += squares + delta * delta * (cell.count * weight);
    cell.count = count;
  }

  static double tree(const T* partial) {
    double sums[kPartials];
    for (std::int64_t j = 0; j < kPartials; ++j) sums[j] = static_cast<double>(partial[j]);
    for (std::int64_t half = kPartials / 2; half > 0; half /= 2) {
      for (std::int64_t j = 0; j < half; ++j) sums[j] += sums[j + half];
    }
    return sums[0];
  }
  static void carry_run(Cell& cell, std::int64_t taken, T shift, const T* sum, const T* square) {
    const double m = static_cast<double>(taken);
    const double s = tree(sum);
    join(cell, m, static_cast<double>(shift) + s / m, tree(square) - s * (s / m));
  }
  static void carry_runs(const void* const* accumulators, std::int64_t taken, std::int64_t n, std::int64_t cell_step,
                         void* cells) {
    const auto of = [&](std::size_t k) { return static_cast<const T*>(accumulators[k]); };
    for (std::int64_t i = 0; i < n; ++i) {
      carry_run(static_cast<Cell*>(cells)[i * cell_step], taken, of(0)[i * kPartials], of(1) + i * kPartials,
                of(2) + i * kPartials);
    }
  }

  static void run(const void* data, std::int64_t count, std::int64_t cell_stride, std::int64_t runs,
                  std::int64_t stride, std::int64_t n, void* cells) {
    for (std::int64_t c = 0; c < count; ++c) {
      run_cell(static_cast<const T*>(data) + c * cell_stride, runs, stride, n, static_cast<Cell*>(cells)[c]);
    }
  }

  static void run_cell(const T* x, std::int64_t runs, std::int64_t stride, std::int64_t n, Cell& cell) {
    Pack<T> sum[kPacks], square[kPacks];
    std::int64_t taken = 0;
    T shift{};
    const auto carry = [&] {
      alignas(64) T sums[kPartials], squares[kPartials];
      for (std::int64_t p = 0; p < kPacks; ++p) {
        sum[p].store_aligned(sums + p * kW);
        square[p].store_aligned(squares + p * kW);
      }
      carry_run(cell, taken, shift, sums, squares);
      taken = 0;
    };
    for (std::int64_t r = 0; r < runs; ++r, x += stride) {
      for (std::int64_t i = 0; i < n; i += kBlock) {
        const std::int64_t m = n - i < kBlock ? n - i : kBlock;
        if (taken + m > kBlock) carry();
        if (taken == 0) {
          shift = x[i];
          for (std::int64_t p = 0; p < kPacks; ++p) sum[p] = square[p] = Pack<T>(T(0));
        }
        take(x + i, m, shift, sum, square);
        taken += m;
      }
    }
    if (taken > 0) carry();
  }

  // As in reduce.h, the last elements are the run's last kPartials again with those that were taken masked out, here by
  // the shift, which adds nothing.
  static void take(const T* x, std::int64_t m, T shift, Pack<T>* sum, Pack<T>* square) {
    const Pack<T> k(shift);
    std::int64_t i = 0;
    for (; i + kPartials <= m; i += kPartials) {
      for (std::int64_t p = 0; p < kPacks; ++p) {
        lane::Deviations::step(k, sum[p], square[p], Pack<T>::load_unaligned(x + i + p * kW));
      }
    }
    if (i == m) return;
    const std::int64_t first = m < kPartials ? 0 : m - kPartials;
    alignas(64) T padded[kPartials];
    for (std::int64_t j = 0; j < kPartials; ++j) padded[j] = first + j < i || first + j >= m ? shift : x[first + j];
    for (std::int64_t p = 0; p < kPacks; ++p) {
      lane::Deviations::step(k, sum[p], square[p], Pack<T>::load_aligned(padded + p * kW));
    }
  }

  static void columns(const void* data, std::int64_t rows, std::int64_t stride, std::int64_t n, void* cells) {
    const T* x = static_cast<const T*>(data);
    for (std::int64_t r = 0; r < rows; r += kRows, x += kRows * stride) {
      const std::int64_t m = rows - r < kRows ? rows - r : kRows;
      std::int64_t c = 0;
      for (; c + 2 * kW <= n; c += 2 * kW) column_block<2>(x + c, m, stride, static_cast<Cell*>(cells) + c);
      for (; c + kW <= n; c += kW) column_block<1>(x + c, m, stride, static_cast<Cell*>(cells) + c);
      for (; c < n; ++c) {  // one by one, in the same order of rows
        const T shift = x[c];
        T s(0), q(0);
        for (std::int64_t k = 0; k < m; ++k) lane::Deviations::step(shift, s, q, x[k * stride + c]);
        take_lanes(m, &shift, &s, &q, 1, static_cast<Cell*>(cells) + c);
      }
    }
  }

  template <int kTile>
  static void column_block(const T* x, std::int64_t rows, std::int64_t stride, Cell* cells) {
    Pack<T> shift[kTile], sum[kTile], square[kTile];
    for (int t = 0; t < kTile; ++t) {
      shift[t] = Pack<T>::load_unaligned(x + t * kW);
      sum[t] = square[t] = Pack<T>(T(0));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      for (int t = 0; t < kTile; ++t) {
        lane::Deviations::step(shift[t], sum[t], square[t], Pack<T>::load_unaligned(x + r * stride + t * kW));
      }
    }
    alignas(64) T s[kTile * kW], q[kTile * kW];
    for (int t = 0; t < kTile; ++t) {
      sum[t].store_aligned(s + t * kW);
      square[t].store_aligned(q + t * kW);
    }
    take_lanes(rows, x, s, q, kTile * kW, cells);
  }

  // All cells have taken as many elements, so that Chan's weights are those of the first.
  static void take_lanes(std::int64_t rows, const T* shift, const T* sum, const T* square, std::int64_t n,
                         Cell* cells) {
    const double m = static_cast<double>(rows);
    const double inverse = 1 / m;
    const double before = cells[0].count;
    const double count = before + m;
    const double weight = m / count;
    const double cross = before * weight;
    for (std::int64_t i = 0; i < n; ++i) {
      const double s = static_cast<double>(sum[i]);
      const double off = s * inverse;
      const double delta = static_cast<double>(shift[i]) + off - cells[i].mean;
      const double squares = static_cast<double>(square[i]) - s * off;
      const double mean = cells[i].mean + delta * weight;
      const double all = cells[i].squares + (squares + delta * delta * cross);
      cells[i] = {count, mean, all};
    }
  }
  static void carry_columns(const void* const* accumulators, std::int64_t taken, std::int64_t n, void* cells) {
    const auto of = [&](std::size_t k) { return static_cast<const T*>(accumulators[k]); };
    take_lanes(taken, of(0), of(1), of(2), n, static_cast<Cell*>(cells));
  }

  static void merge(void* cells, const void* others, std::int64_t n) {
    Cell* const a = static_cast<Cell*>(cells);
    const Cell* const b = static_cast<const Cell*>(others);
    for (std::int64_t i = 0; i < n; ++i) {
      if (b[i].count > 0) join(a[i], b[i].count, b[i].mean, b[i].squares);
    }
  }

  static void finish_high(const void* cells, std::int64_t n, std::int64_t, void* out) {
    for (std::int64_t i = 0; i < n; ++i) {
      static_cast<T*>(out)[i] = static_cast<T>(static_cast<const Cell*>(cells)[i].mean);
    }
  }
  static void finish_low(const void* cells, std::int64_t n, std::int64_t, void* out) {
    for (std::int64_t i = 0; i < n; ++i) {
      const double mean = static_cast<const Cell*>(cells)[i].mean;
      static_cast<T*>(out)[i] = static_cast<T>(mean - static_cast<double>(static_cast<T>(mean)));
    }
  }
  static void finish_squares(const void* cells, std::int64_t n, std::int64_t, void* out) {
    for (std::int64_t i = 0; i < n; ++i) {
      static_cast<T*>(out)[i] = static_cast<T>(static_cast<const Cell*>(cells)[i].squares);
    }
  }

  static constexpr std::int64_t kWords = sizeof(Cell) / 8;
  static constexpr Reducer kHigh{init, run, columns, merge, finish_high, kWords, carry_columns, carry_runs};
  static constexpr Reducer kLow{init, run, columns, merge, finish_low, kWords, carry_columns, carry_runs};
  static constexpr Reducer kSquares{init, run, columns, merge, finish_squares, kWords, carry_columns, carry_runs};
};

}  // namespace

extern const std::array<ReducerTable, 3> kMomentReducers;
const std::array<ReducerTable, 3> kMomentReducers{
    ReducerTable{{&Moments<float>::kHigh, &Moments<double>::kHigh}},
    ReducerTable{{&Moments<float>::kLow, &Moments<double>::kLow}},
    ReducerTable{{&Moments<float>::kSquares, &Moments<double>::kSquares}},
};

}  // namespace ebb::EBB_ISA
