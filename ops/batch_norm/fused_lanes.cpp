// The arithmetic of the fused batchnorm, compiled once per instruction set.
//
// Statistics take one pass: blocks of a few thousand elements are summed in T relative to a shift K
// (x - K, its square), and each block enters the f64 mean and sum of squares by Chan's formula. K
// is the mean of four elements in the first block (one alone may be an outlier) and the running
// mean after. The mean reaches the passes over x as hi + lo: hi is subtracted in T, lo goes into
// the per-channel constants, which makes results right to the last digits of T at any mean
// (BATCHNORM.md, T17-T19). Two layouts: columns (inner is 1; a lane is a channel) and runs (a lane
// is one element of a channel's run).
#include <ebb/ops/batch_norm/fused_lanes.h>
#include <ebb/ops/batch_norm/line.h>

namespace ebb::fused::EBB_ISA {
namespace {

using Index = std::int64_t;

// Rows or elements that are summed in T before the sums move to f64.
constexpr Index kBlockRows = 64;
constexpr Index kBlockElements = 4096;
// Channels that are worked on together: their accumulators stay in the first-level cache.
constexpr Index kColumns = 1024;
constexpr Index kRuns = 64;
// Arrays of column constants begin out of step with each other and with rows of 4 KiB: a load that
// follows a store at the same offset within a page waits for it.
constexpr Index kStagger = 80;

Index smaller_of(Index a, Index b) { return a < b ? a : b; }

/// Calls f(first, edge) for [begin, end) in lines of n; the last one may be partial.
template <int n, class F>
[[gnu::always_inline]] inline void lines(Index begin, Index end, F f) {
  Index i = begin;
  for (; i + n <= end; i += n) f(i, Full{});
  if (i < end) f(i, Some{static_cast<int>(end - i)});
}

/// The cotangent as a tensor, and as one element read for all.
template <class T>
struct DenseCotangent {
  const T* data;
  template <class Edge>
  [[gnu::always_inline]] Line<T> at(Index i, Edge edge) const {
    return load(data + i, edge);
  }
};

template <class T>
struct ScalarCotangent {
  T lanes[Line<T>::kLanes];
  explicit ScalarCotangent(T value) { store(lanes, all(value)); }
  template <class Edge>
  [[gnu::always_inline]] Line<T> at(Index, Edge edge) const {
    return load(lanes, edge);
  }
};

/// The shift of a first block, from four of its elements: near their mean, and exactly `a` if they
/// are all equal.
template <class V>
[[gnu::always_inline]] inline V shift_of(V a, V b, V c, V d, V quarter) {
  return a + ((b - a) + ((c - a) + (d - a))) * quarter;
}

/// How a layout walks: the elements of unit u, and the rows of a block.
struct Walk {
  explicit Walk(const Part& part)
      : p(part),
        block(part.inner == 1 ? kBlockRows
              : part.pieces > 1
                  ? 1
                  : smaller_of(kBlockRows, part.inner < kBlockElements ? kBlockElements / part.inner : 1)) {}

  /// Where the part of channel c that belongs to unit u begins.
  Index offset(Index u, Index c) const {
    const Index row = p.pieces > 1 ? u / p.pieces : u;
    return (row * p.channels + c) * p.inner + (p.pieces > 1 ? u % p.pieces * p.piece : 0);
  }
  Index length(Index u) const { return p.pieces > 1 ? smaller_of(p.piece, p.inner - u % p.pieces * p.piece) : p.inner; }

  const Part& p;
  Index block;
};

// ---- Moments ----

/// Adds rows to the sums of U lines of columns. With `fresh` the sums begin at zero.
template <int U, class T, class Edge>
[[gnu::always_inline]] inline void moments_tile(const T* x, Index stride, Index rows, bool fresh, const T* shift,
                                                T* sum, T* square, Edge edge) {
  constexpr int n = Line<T>::kLanes;
  Line<T> k[U], s[U], q[U];
  for (int u = 0; u < U; ++u) {
    k[u] = load(shift + u * n);
    s[u] = fresh ? Line<T>{} : load(sum + u * n);
    q[u] = fresh ? Line<T>{} : load(square + u * n);
  }
  for (Index r = 0; r < rows; ++r, x += stride) {
    for (int u = 0; u < U; ++u) {
      const Line<T> v = load(x + u * n, edge) - k[u];
      s[u] = s[u] + v;
      q[u] = mul_add(v, v, q[u]);
    }
  }
  for (int u = 0; u < U; ++u) {
    store(sum + u * n, s[u]);
    store(square + u * n, q[u]);
  }
}

/// The sums of one block of rows over `columns` columns.
template <class T>
void moments_rows(const T* x, Index stride, Index rows, Index columns, bool large, const T* shift, T* sum, T* square) {
  constexpr int n = Line<T>::kLanes;
  constexpr int U = kParts == 1 ? 4 : 2;
  const Index group = large ? 4 : rows;
  for (Index r = 0; r < rows; r += group) {
    const T* row = x + r * stride;
    const Index count = smaller_of(group, rows - r);
    Index d = 0;
    for (; d + U * n <= columns; d += U * n) {
      moments_tile<U>(row + d, stride, count, r == 0, shift + d, sum + d, square + d, Full{});
    }
    lines<n>(d, columns, [&](Index i, auto edge) {
      moments_tile<1>(row + i, stride, count, r == 0, shift + i, sum + i, square + i, edge);
    });
  }
}

/// Adds a run of one channel to its lines of sums.
template <class T>
[[gnu::always_inline]] inline void moments_run(const T* x, Index length, Line<T> k, Line<T>& sum, Line<T>& square) {
  constexpr int n = Line<T>::kLanes;
  Index i = 0;
  if (length >= 8 * n) {
    Line<T> s[4] = {sum}, q[4] = {square};
    for (; i + 4 * n <= length; i += 4 * n) {
      for (int u = 0; u < 4; ++u) {
        const Line<T> v = load(x + i + u * n) - k;
        s[u] = s[u] + v;
        q[u] = mul_add(v, v, q[u]);
      }
    }
    sum = (s[0] + s[1]) + (s[2] + s[3]);
    square = (q[0] + q[1]) + (q[2] + q[3]);
  }
  lines<n>(i, length, [&](Index j, auto edge) {
    const Line<T> v = load(x + j, edge, k) - k;
    sum = sum + v;
    square = mul_add(v, v, square);
  });
}

/// Moves a block's sums into the f64 mean and sum of squares, `seen` elements old, and the shift to
/// the new mean.
template <class T>
void carry_moments(Index channels, Index seen, Index count, T* shift, const T* sum, const T* square, double* mean,
                   double* m2) {
  const auto total_count = static_cast<double>(seen + count);
  const Line<double> inverse = all(1.0 / static_cast<double>(count));
  const Line<double> weight = all(static_cast<double>(count) / total_count);
  const Line<double> cross = all(static_cast<double>(seen) * static_cast<double>(count) / total_count);
  lines<8>(0, channels, [&](Index c, auto edge) {
    const Line<double> s = widen(sum + c);
    const Line<double> off = s * inverse;
    const Line<double> block_m2 = widen(square + c) - s * off;
    Line<double> m = widen(shift + c) + off;
    if (seen == 0) {
      store(m2 + c, block_m2, edge);
    } else {
      const Line<double> old = load(mean + c, edge);
      const Line<double> step = m - old;
      store(m2 + c, load(m2 + c, edge) + mul_add(step * step, cross, block_m2), edge);
      m = mul_add(step, weight, old);
    }
    store(mean + c, m, edge);
    narrow(shift + c, m);
  });
}

template <class T>
Index moments_columns(const Part& p, const T* x, double* mean, double* m2) {
  constexpr int n = Line<T>::kLanes;
  alignas(64) T shift[kColumns], gap[kStagger], sum[kColumns + kStagger], square[kColumns];
  static_cast<void>(gap);
  const Index rows = p.u1 - p.u0;
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index columns = smaller_of(kColumns, p.c1 - c0);
    const T* base = x + p.u0 * p.channels + c0;
    const Index last = smaller_of(kBlockRows, rows) - 1;
    lines<n>(0, columns, [&](Index c, auto edge) {
      const auto row = [&](Index r) { return load(base + r * p.channels + c, edge); };
      store(shift + c, shift_of(row(0), row(last / 3), row(last * 2 / 3), row(last), all(T{0.25})));
    });
    for (Index r = 0; r < rows; r += kBlockRows) {
      const Index count = smaller_of(kBlockRows, rows - r);
      moments_rows(base + r * p.channels, p.channels, count, columns, p.large, shift, sum, square);
      carry_moments(columns, r, count, shift, sum, square, mean + c0, m2 + c0);
    }
  }
  return rows;
}

template <class T>
Index moments_runs(const Part& p, const T* x, double* mean, double* m2) {
  alignas(64) T shift[kRuns], sum[kRuns], square[kRuns];
  Line<T> sums[kRuns], squares[kRuns];
  const Walk walk(p);
  Index seen = 0;
  for (Index c0 = p.c0; c0 < p.c1; c0 += kRuns) {
    const Index channels = smaller_of(kRuns, p.c1 - c0);
    seen = 0;
    for (Index u = p.u0; u < p.u1; u += walk.block) {
      const Index end = smaller_of(u + walk.block, p.u1);
      const Index length = walk.length(u);
      if (seen == 0) {
        for (Index c = 0; c < channels; ++c) {
          const auto element = [&](Index v, Index i) { return x[walk.offset(v, c0 + c) + i]; };
          const Index last = end - 1 - u;
          shift[c] = shift_of(element(u, 0), element(u + last / 3, length / 3),
                              element(u + last * 2 / 3, length * 2 / 3), element(end - 1, length - 1), T{0.25});
        }
      }
      for (Index c = 0; c < channels; ++c) sums[c] = squares[c] = Line<T>{};
      for (Index v = u; v < end; ++v) {
        const T* row = x + walk.offset(v, c0);
        for (Index c = 0; c < channels; ++c, row += p.inner) {
          moments_run(row, length, all(shift[c]), sums[c], squares[c]);
        }
      }
      for (Index c = 0; c < channels; ++c) {
        sum[c] = total(sums[c]);
        square[c] = total(squares[c]);
      }
      const Index count = (end - u) * length;
      carry_moments(channels, seen, count, shift, sum, square, mean + c0, m2 + c0);
      seen += count;
    }
  }
  return seen;
}

template <class T>
Index moments(const Part& p, const T* x, double* mean, double* m2) {
  return p.inner == 1 ? moments_columns(p, x, mean, m2) : moments_runs(p, x, mean, m2);
}

void merge_moments(const double* of_parts, const Index* counts, Index parts, Index channels, Index c0, Index c1,
                   double* mean, double* var) {
  lines<8>(c0, c1, [&](Index c, auto edge) {
    Line<double> m = load(of_parts + c, edge);
    Line<double> m2 = load(of_parts + channels + c, edge);
    auto count = static_cast<double>(counts[0]);
    for (Index part = 1; part < parts; ++part) {
      const double* from = of_parts + part * 2 * channels + c;
      const auto more = static_cast<double>(counts[part]);
      const Line<double> step = load(from, edge) - m;
      m2 = m2 + mul_add(step * step, all(count * more / (count + more)), load(from + channels, edge));
      count += more;
      m = mul_add(step, all(more / count), m);
    }
    // Rounding may leave a sum of squares a hair below zero. NaN stays NaN.
    const Line<double> zero{};
    m2 = larger(zero, m2 * all(1.0 / count));
    store(mean + c, m, edge);
    store(var + c, m2, edge);
  });
}

// ---- Sums of the cotangent ----

template <int U, class T, class Ct, class Edge>
[[gnu::always_inline]] inline void sums_tile(const T* x, const Ct& ct, Index at, Index stride, Index rows, bool fresh,
                                             const T* hi, T* sum, T* dot, Edge edge) {
  constexpr int n = Line<T>::kLanes;
  Line<T> m[U], s[U], q[U];
  for (int u = 0; u < U; ++u) {
    m[u] = load(hi + u * n);
    s[u] = fresh ? Line<T>{} : load(sum + u * n);
    q[u] = fresh ? Line<T>{} : load(dot + u * n);
  }
  for (Index r = 0; r < rows; ++r, at += stride) {
    for (int u = 0; u < U; ++u) {
      const Line<T> g = ct.at(at + u * n, edge);
      s[u] = s[u] + g;
      q[u] = mul_add(g, load(x + at + u * n, edge) - m[u], q[u]);
    }
  }
  for (int u = 0; u < U; ++u) {
    store(sum + u * n, s[u]);
    store(dot + u * n, q[u]);
  }
}

template <class T, class Ct>
void sums_rows(const T* x, const Ct& ct, Index at, Index stride, Index rows, Index columns, bool large, const T* hi,
               T* sum, T* dot) {
  constexpr int n = Line<T>::kLanes;
  constexpr int U = kParts == 1 ? 4 : 2;
  const Index group = large ? 2 : rows;
  for (Index r = 0; r < rows; r += group, at += group * stride) {
    const Index count = smaller_of(group, rows - r);
    Index d = 0;
    for (; d + U * n <= columns; d += U * n) {
      sums_tile<U>(x, ct, at + d, stride, count, r == 0, hi + d, sum + d, dot + d, Full{});
    }
    lines<n>(d, columns, [&](Index i, auto edge) {
      sums_tile<1>(x, ct, at + i, stride, count, r == 0, hi + i, sum + i, dot + i, edge);
    });
  }
}

template <class T, class Ct>
[[gnu::always_inline]] inline void sums_run(const T* x, const Ct& ct, Index at, Index length, Line<T> hi, Line<T>& sum,
                                            Line<T>& dot) {
  constexpr int n = Line<T>::kLanes;
  Index i = 0;
  if (length >= 8 * n) {
    Line<T> s[4] = {sum}, q[4] = {dot};
    for (; i + 4 * n <= length; i += 4 * n) {
      for (int u = 0; u < 4; ++u) {
        const Line<T> g = ct.at(at + i + u * n, Full{});
        s[u] = s[u] + g;
        q[u] = mul_add(g, load(x + at + i + u * n) - hi, q[u]);
      }
    }
    sum = (s[0] + s[1]) + (s[2] + s[3]);
    dot = (q[0] + q[1]) + (q[2] + q[3]);
  }
  lines<n>(i, length, [&](Index j, auto edge) {
    const Line<T> g = ct.at(at + j, edge);
    sum = sum + g;
    dot = mul_add(g, load(x + at + j, edge, hi) - hi, dot);
  });
}

/// Adds a block's sums to the f64 sums; the dot product is moved from hi to the mean itself.
template <class T>
void carry_sums(Index channels, bool first, const T* hi, const double* mean, const T* block_sum, const T* block_dot,
                double* sum, double* dot) {
  lines<8>(0, channels, [&](Index c, auto edge) {
    Line<double> s = widen(block_sum + c);
    Line<double> q = widen(block_dot + c) - (load(mean + c, edge) - widen(hi + c)) * s;
    if (!first) {
      s = load(sum + c, edge) + s;
      q = load(dot + c, edge) + q;
    }
    store(sum + c, s, edge);
    store(dot + c, q, edge);
  });
}

/// The mean rounded to T.
template <class T>
void high_part(Index channels, const double* mean, T* hi) {
  lines<8>(0, channels, [&](Index c, auto edge) { narrow(hi + c, load(mean + c, edge)); });
}

template <class T, class Ct>
void sums_columns(const Part& p, const T* x, const double* mean, const Ct& ct, double* sum, double* dot) {
  alignas(64) T hi[kColumns], gap[kStagger], s[kColumns + kStagger], q[kColumns];
  static_cast<void>(gap);
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index columns = smaller_of(kColumns, p.c1 - c0);
    high_part(columns, mean + c0, hi);
    for (Index r = p.u0; r < p.u1; r += kBlockRows) {
      const Index rows = smaller_of(kBlockRows, p.u1 - r);
      sums_rows(x, ct, r * p.channels + c0, p.channels, rows, columns, p.large, hi, s, q);
      carry_sums(columns, r == p.u0, hi, mean + c0, s, q, sum + c0, dot + c0);
    }
  }
}

template <class T, class Ct>
void sums_runs(const Part& p, const T* x, const double* mean, const Ct& ct, double* sum, double* dot) {
  alignas(64) T hi[kRuns], s[kRuns], q[kRuns];
  Line<T> ss[kRuns], qs[kRuns];
  const Walk walk(p);
  for (Index c0 = p.c0; c0 < p.c1; c0 += kRuns) {
    const Index channels = smaller_of(kRuns, p.c1 - c0);
    high_part(channels, mean + c0, hi);
    for (Index u = p.u0; u < p.u1; u += walk.block) {
      const Index end = smaller_of(u + walk.block, p.u1);
      for (Index c = 0; c < channels; ++c) ss[c] = qs[c] = Line<T>{};
      for (Index v = u; v < end; ++v) {
        Index at = walk.offset(v, c0);
        for (Index c = 0; c < channels; ++c, at += p.inner) {
          sums_run(x, ct, at, walk.length(v), all(hi[c]), ss[c], qs[c]);
        }
      }
      for (Index c = 0; c < channels; ++c) {
        s[c] = total(ss[c]);
        q[c] = total(qs[c]);
      }
      carry_sums(channels, u == p.u0, hi, mean + c0, s, q, sum + c0, dot + c0);
    }
  }
}

template <class T>
void sums(const Part& p, const T* x, const double* mean, Cotangent<T> ct, double* sum, double* dot) {
  const auto run = [&](const auto& g) {
    p.inner == 1 ? sums_columns(p, x, mean, g, sum, dot) : sums_runs(p, x, mean, g, sum, dot);
  };
  ct.scalar ? run(ScalarCotangent<T>(*ct.data)) : run(DenseCotangent<T>{ct.data});
}

// ---- The passes that write: y = (x - hi) * scale + shift, dx = ct * a + ((x - hi) * b + c) ----

/// Writes f(i, edge) for i in [0, length) to y: whole lines aligned to y if they are to be
/// streamed.
template <bool streamed, class T, class F>
[[gnu::always_inline]] inline void write(T* y, Index length, F f) {
  constexpr int n = Line<T>::kLanes;
  Index i = 0;
  if constexpr (streamed) {
    const auto misfit = static_cast<Index>(reinterpret_cast<std::uintptr_t>(y) % 64 / sizeof(T));
    if (misfit != 0) {
      i = smaller_of(n - misfit, length);
      const Some head{static_cast<int>(i)};
      store(y, f(Index{0}, head), head);
    }
    for (; i + n <= length; i += n) stream(y + i, f(i, Full{}));
  }
  lines<n>(i, length, [&](Index j, auto edge) { store(y + j, f(j, edge), edge); });
}

/// The constants of both writing passes for `channels` channels from c0.
template <class T>
void apply_constants(Index c0, Index channels, const Channels<T>& of, T* hi, T* scale, T* shift) {
  constexpr int steps = sizeof(T) == 4 ? 3 : 4;
  lines<8>(0, channels, [&](Index c, auto edge) {
    const Line<double> mean = load(of.mean + c0 + c, edge);
    Line<double> s = inverse_sqrt<steps>(load(of.var + c0 + c, edge) + all(of.eps));
    narrow(hi + c, mean);
    const Line<double> low = mean - widen(hi + c);
    alignas(64) T lanes[Line<T>::kLanes];
    if (of.gamma != nullptr) {
      store(lanes, load(of.gamma + c0 + c, edge));
      s = s * widen(lanes);
    }
    Line<double> b{};
    if (of.beta != nullptr) {
      store(lanes, load(of.beta + c0 + c, edge));
      b = widen(lanes);
    }
    narrow(scale + c, s);
    narrow(shift + c, b - low * s);
  });
}

template <class T>
void dx_constants(Index c0, Index channels, const Channels<T>& of, const double* sum, const double* dot, double count,
                  T* hi, T* a, T* b, T* e) {
  constexpr int steps = sizeof(T) == 4 ? 3 : 4;
  const Line<double> inverse = all(-1.0 / count);
  lines<8>(0, channels, [&](Index c, auto edge) {
    const Line<double> mean = load(of.mean + c0 + c, edge);
    const Line<double> r = inverse_sqrt<steps>(load(of.var + c0 + c, edge) + all(of.eps));
    narrow(hi + c, mean);
    const Line<double> low = mean - widen(hi + c);
    Line<double> s = r;
    if (of.gamma != nullptr) {
      alignas(64) T lanes[Line<T>::kLanes];
      store(lanes, load(of.gamma + c0 + c, edge));
      s = s * widen(lanes);
    }
    const Line<double> per = s * inverse;
    const Line<double> slope = per * (r * r) * load(dot + c0 + c, edge);
    narrow(a + c, s);
    narrow(b + c, slope);
    narrow(e + c, per * load(sum + c0 + c, edge) - slope * low);
  });
}

template <bool streamed, class T>
void apply_columns(const Part& p, const T* x, const Channels<T>& of, T* y) {
  alignas(64) T hi[kColumns], scale[kColumns + kStagger], shift[kColumns];
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index columns = smaller_of(kColumns, p.c1 - c0);
    apply_constants(c0, columns, of, hi, scale, shift);
    for (Index r = p.u1 - 1; r >= p.u0; --r) {
      const T* from = x + r * p.channels + c0;
      write<streamed>(y + r * p.channels + c0, columns, [&](Index i, auto edge) {
        return mul_add(load(from + i, edge) - load(hi + i, edge), load(scale + i, edge), load(shift + i, edge));
      });
    }
  }
}

template <bool streamed, class T>
void apply_runs(const Part& p, const T* x, const Channels<T>& of, T* y) {
  alignas(64) T hi[kColumns], scale[kColumns + kStagger], shift[kColumns];
  const Walk walk(p);
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index channels = smaller_of(kColumns, p.c1 - c0);
    apply_constants(c0, channels, of, hi, scale, shift);
    for (Index u = p.u1 - 1; u >= p.u0; --u) {
      Index at = walk.offset(u, c0);
      for (Index c = 0; c < channels; ++c, at += p.inner) {
        const Line<T> m = all(hi[c]), s = all(scale[c]), b = all(shift[c]);
        write<streamed>(y + at, walk.length(u),
                        [&](Index i, auto edge) { return mul_add(load(x + at + i, edge) - m, s, b); });
      }
    }
  }
}

template <bool streamed, class T, class Ct>
void dx_columns(const Part& p, const T* x, const Channels<T>& of, const double* sum, const double* dot, double count,
                const Ct& ct, T* y) {
  alignas(64) T hi[kColumns], a[kColumns + kStagger], b[kColumns + kStagger], e[kColumns];
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index columns = smaller_of(kColumns, p.c1 - c0);
    dx_constants(c0, columns, of, sum, dot, count, hi, a, b, e);
    for (Index r = p.u1 - 1; r >= p.u0; --r) {
      const Index at = r * p.channels + c0;
      write<streamed>(y + at, columns, [&](Index i, auto edge) {
        const Line<T> centred = load(x + at + i, edge) - load(hi + i, edge);
        return mul_add(ct.at(at + i, edge), load(a + i, edge), mul_add(centred, load(b + i, edge), load(e + i, edge)));
      });
    }
  }
}

template <bool streamed, class T, class Ct>
void dx_runs(const Part& p, const T* x, const Channels<T>& of, const double* sum, const double* dot, double count,
             const Ct& ct, T* y) {
  alignas(64) T hi[kColumns], a[kColumns + kStagger], b[kColumns + kStagger], e[kColumns];
  const Walk walk(p);
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index channels = smaller_of(kColumns, p.c1 - c0);
    dx_constants(c0, channels, of, sum, dot, count, hi, a, b, e);
    for (Index u = p.u1 - 1; u >= p.u0; --u) {
      Index at = walk.offset(u, c0);
      for (Index c = 0; c < channels; ++c, at += p.inner) {
        const Line<T> m = all(hi[c]), ka = all(a[c]), kb = all(b[c]), ke = all(e[c]);
        write<streamed>(y + at, walk.length(u), [&](Index i, auto edge) {
          return mul_add(ct.at(at + i, edge), ka, mul_add(load(x + at + i, edge) - m, kb, ke));
        });
      }
    }
  }
}

template <bool streamed, class T>
void apply_as(const Part& p, const T* x, const Channels<T>& of, T* y) {
  p.inner == 1 ? apply_columns<streamed>(p, x, of, y) : apply_runs<streamed>(p, x, of, y);
  if constexpr (streamed) stream_fence();
}

template <class T>
void apply(const Part& p, const T* x, const Channels<T>& of, T* y) {
  p.large ? apply_as<true>(p, x, of, y) : apply_as<false>(p, x, of, y);
}

template <bool streamed, class T>
void dx_as(const Part& p, const T* x, const Channels<T>& of, const double* sum, const double* dot, double count,
           Cotangent<T> ct, T* y) {
  const auto run = [&](const auto& g) {
    p.inner == 1 ? dx_columns<streamed>(p, x, of, sum, dot, count, g, y)
                 : dx_runs<streamed>(p, x, of, sum, dot, count, g, y);
  };
  ct.scalar ? run(ScalarCotangent<T>(*ct.data)) : run(DenseCotangent<T>{ct.data});
  if constexpr (streamed) stream_fence();
}

template <class T>
void dx(const Part& p, const T* x, const Channels<T>& of, const double* sum, const double* dot, double count,
        Cotangent<T> ct, T* y) {
  p.large ? dx_as<true>(p, x, of, sum, dot, count, ct, y) : dx_as<false>(p, x, of, sum, dot, count, ct, y);
}

template <class T>
constexpr Lanes<T> kLanes{moments<T>, merge_moments, sums<T>, apply<T>, dx<T>};

}  // namespace

template <>
const Lanes<float>& lanes<float>() {
  return kLanes<float>;
}
template <>
const Lanes<double>& lanes<double>() {
  return kLanes<double>;
}

}  // namespace ebb::fused::EBB_ISA
