// What the two halves of the fused batchnorm's lanes share: block sizes, tails, cotangents, and how a layout is walked.
//
// Included by fused_lanes.cpp alone, once per instruction set. Two layouts: columns (inner is 1; a lane is a channel)
// and runs (a lane is one element of a channel's run).
#pragma once

#include <ebb/ops/batch_norm/fused_lanes.h>
#include <ebb/ops/batch_norm/line.h>

namespace ebb::fused::EBB_ISA {

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

inline Index smaller_of(Index a, Index b) { return a < b ? a : b; }

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

}  // namespace ebb::fused::EBB_ISA
