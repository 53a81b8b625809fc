// The writing passes of the fused batchnorm: y = (x - hi) * scale + shift, dx = ct * a + ((x - hi) * b + c).
//
// The mean is hi + lo: hi is subtracted in T, where nearby numbers subtract exactly, and lo goes into the per-channel
// constants; so results are right to the last digits of T at any mean (BATCHNORM.md, T18). Units are walked backwards:
// the reading pass before has just left the last ones in the cache.
#pragma once

#include <ebb/ops/batch_norm/lanes_common.h>

namespace ebb::fused::EBB_ISA {

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
    if (of.gamma != nullptr) s = s * widen(of.gamma + c0 + c, edge);
    Line<double> b{};
    if (of.beta != nullptr) b = widen(of.beta + c0 + c, edge);
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
    if (of.gamma != nullptr) s = s * widen(of.gamma + c0 + c, edge);
    const Line<double> per = s * inverse;
    const Line<double> slope = per * (r * r) * load(dot + c0 + c, edge);
    narrow(a + c, s);
    narrow(b + c, slope);
    narrow(e + c, per * load(sum + c0 + c, edge) - slope * low);
  });
}

/// Calls write_row(row) for the rows of a part, the last ones first, but as many as share pages in the order of memory:
/// a prefetcher that follows a page one way loses a walk that goes the other way row by row.
template <class T, class WriteRow>
[[gnu::always_inline]] inline void rows_backwards(const Part& p, WriteRow write_row) {
  constexpr Index few_pages = 4 * 4096 / sizeof(T);
  const Index together = p.channels < few_pages ? few_pages / p.channels : 1;
  for (Index end = p.u1; end > p.u0; end -= together) {
    for (Index r = end - p.u0 < together ? p.u0 : end - together; r < end; ++r) write_row(r);
  }
}

template <bool streamed, class T>
void apply_columns(const Part& p, const T* x, const Channels<T>& of, T* y) {
  alignas(64) T hi[kColumns], scale[kColumns + kStagger], shift[kColumns];
  for (Index c0 = p.c0; c0 < p.c1; c0 += kColumns) {
    const Index columns = smaller_of(kColumns, p.c1 - c0);
    apply_constants(c0, columns, of, hi, scale, shift);
    rows_backwards<T>(p, [&](Index r) {
      const T* from = x + r * p.channels + c0;
      write<streamed>(y + r * p.channels + c0, columns, [&](Index i, auto edge) {
        return mul_add(load(from + i, edge) - load(hi + i, edge), load(scale + i, edge), load(shift + i, edge));
      });
    });
  }
}

template <bool streamed, class T>
void apply_runs(const Part& p, const T* x, const Channels<T>& of, T* y) {
  alignas(64) T hi[kRuns], scale[kRuns], shift[kRuns];
  const Walk walk(p);
  const Index groups = (p.c1 - p.c0 + kRuns - 1) / kRuns;
  for (Index c0 = p.c0 + (groups - 1) * kRuns; c0 >= p.c0; c0 -= kRuns) {
    const Index channels = smaller_of(kRuns, p.c1 - c0);
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
    rows_backwards<T>(p, [&](Index r) {
      const Index at = r * p.channels + c0;
      write<streamed>(y + at, columns, [&](Index i, auto edge) {
        const Line<T> centred = load(x + at + i, edge) - load(hi + i, edge);
        return mul_add(ct.at(at + i, edge), load(a + i, edge), mul_add(centred, load(b + i, edge), load(e + i, edge)));
      });
    });
  }
}

template <bool streamed, class T, class Ct>
void dx_runs(const Part& p, const T* x, const Channels<T>& of, const double* sum, const double* dot, double count,
             const Ct& ct, T* y) {
  alignas(64) T hi[kRuns], a[kRuns], b[kRuns], e[kRuns];
  const Walk walk(p);
  const Index groups = (p.c1 - p.c0 + kRuns - 1) / kRuns;
  for (Index c0 = p.c0 + (groups - 1) * kRuns; c0 >= p.c0; c0 -= kRuns) {
    const Index channels = smaller_of(kRuns, p.c1 - c0);
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

}  // namespace ebb::fused::EBB_ISA
