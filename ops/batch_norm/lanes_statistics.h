// The reading passes of the fused batchnorm: mean and variance, and the sums over the cotangent.
//
// Statistics take one pass: blocks of a few thousand elements are summed in T relative to a shift K (x - K, its
// square), and each block enters the f64 mean and sum of squares by Chan's formula. K is the mean of four elements in
// the first block (one alone may be an outlier) and the running mean after (BATCHNORM.md, T17-T19).
#pragma once

#include <ebb/ops/batch_norm/lanes_common.h>

namespace ebb::fused::EBB_ISA {

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
void moments_rows(const T* x, Index stride, Index rows, Index columns, bool sequential, const T* shift, T* sum,
                  T* square) {
  constexpr int n = Line<T>::kLanes;
  constexpr int U = kParts == 1 ? 4 : 2;
  // Beyond the caches few rows at a time, so that the prefetcher follows; in them all, so that the sums stay put.
  const Index group = sequential ? 4 : rows;
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

/// Adds a run of one channel to its lines of sums. (They are copied: through the references, the compiler would store
/// and reload them for every line of x.)
template <class T>
[[gnu::always_inline]] inline void moments_run(const T* x, Index length, Line<T> k, Line<T>& sum, Line<T>& square) {
  constexpr int n = Line<T>::kLanes;
  Line<T> s = sum, q = square;
  Index i = 0;
  if (length >= 8 * n) {
    Line<T> s1{}, s2{}, s3{}, q1{}, q2{}, q3{};
    const auto add = [&](Index j, Line<T>& to_sum, Line<T>& to_square) {
      const Line<T> v = load(x + j) - k;
      to_sum = to_sum + v;
      to_square = mul_add(v, v, to_square);
    };
    for (; i + 4 * n <= length; i += 4 * n) {
      add(i, s, q);
      add(i + n, s1, q1);
      add(i + 2 * n, s2, q2);
      add(i + 3 * n, s3, q3);
    }
    s = (s + s1) + (s2 + s3);
    q = (q + q1) + (q2 + q3);
  }
  lines<n>(i, length, [&](Index j, auto edge) {
    const Line<T> v = load(x + j, edge, k) - k;
    s = s + v;
    q = mul_add(v, v, q);
  });
  sum = s;
  square = q;
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
      moments_rows(base + r * p.channels, p.channels, count, columns, p.sequential, shift, sum, square);
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

inline void merge_moments(const double* of_parts, const Index* counts, Index parts, Index channels, Index c0, Index c1,
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
void sums_rows(const T* x, const Ct& ct, Index at, Index stride, Index rows, Index columns, bool sequential,
               const T* hi, T* sum, T* dot) {
  constexpr int n = Line<T>::kLanes;
  constexpr int U = kParts == 1 ? 4 : 2;
  const Index group = sequential ? 2 : rows;
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
  Line<T> s = sum, q = dot;
  Index i = 0;
  if (length >= 8 * n) {
    Line<T> s1{}, s2{}, s3{}, q1{}, q2{}, q3{};
    const auto add = [&](Index j, Line<T>& to_sum, Line<T>& to_dot) {
      const Line<T> g = ct.at(at + j, Full{});
      to_sum = to_sum + g;
      to_dot = mul_add(g, load(x + at + j) - hi, to_dot);
    };
    for (; i + 4 * n <= length; i += 4 * n) {
      add(i, s, q);
      add(i + n, s1, q1);
      add(i + 2 * n, s2, q2);
      add(i + 3 * n, s3, q3);
    }
    s = (s + s1) + (s2 + s3);
    q = (q + q1) + (q2 + q3);
  }
  lines<n>(i, length, [&](Index j, auto edge) {
    const Line<T> g = ct.at(at + j, edge);
    s = s + g;
    q = mul_add(g, load(x + at + j, edge, hi) - hi, q);
  });
  sum = s;
  dot = q;
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
      sums_rows(x, ct, r * p.channels + c0, p.channels, rows, columns, p.sequential, hi, s, q);
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

}  // namespace ebb::fused::EBB_ISA
