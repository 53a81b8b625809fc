// Who works on what: parts of a tensor, and the threads they go to.
//
// Where a channel's elements lie together, or are few, a tensor is cut by channels: no part needs another's statistics.
// Long columns are cut by rows, which keeps each thread's reads sequential: threads that share rows fetch each other's
// lines ahead, and find half the sets of their caches where a row is a power of two. The statistics of chunks, whose
// bounds depend on the shape alone, are merged in order.
#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/batch_norm/fused_kernels.h>
#include <ebb/ops/batch_norm/fused_lanes.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>

namespace ebb::fused {
namespace {

// Elements under which a fork costs more than it saves.
constexpr std::int64_t kForkElements = 1 << 15;
constexpr std::int64_t kMaxChunks = 16;
constexpr std::int64_t kChunkElements = 1 << 15;
// The longest run that is summed without a step into f64.
constexpr std::int64_t kPiece = 4096;
constexpr std::int64_t kChunkRows = 64;

template <class T>
const Lanes<T>& active_lanes() {
  static const Lanes<T>& chosen = active_isa() == Isa::avx512 ? avx512::lanes<T>()
                                  : active_isa() == Isa::avx2 ? avx2::lanes<T>()
                                                              : base::lanes<T>();
  return chosen;
}

/// How the work on one tensor is cut. Depends on the shape alone.
struct Plan {
  Plan(Extent e, std::int64_t size) : shape(e) {
    if (shape.channels == 1) shape = {1, 1, e.outer * e.inner};
    whole.channels = whole.c1 = shape.channels;
    whole.inner = shape.inner;
    whole.pieces = (shape.inner + kPiece - 1) / kPiece;
    whole.piece = ((shape.inner + whole.pieces - 1) / whole.pieces + 15) / 16 * 16;
    whole.pieces = (shape.inner + whole.piece - 1) / whole.piece;
    whole.u1 = shape.outer * whole.pieces;
    const std::int64_t elements = shape.elements();
    whole.stream = elements * size >= kStreamResultBytes;
    // To merge chunks costs by the channel: below half as many rows it is more than threads gain.
    by_channels = shape.inner == 1 ? shape.channels >= 128 && 2 * shape.outer < shape.channels : shape.channels >= 16;
    whole.sequential = whole.stream && !by_channels;
    const std::int64_t longest = shape.inner == 1 ? shape.outer / kChunkRows : whole.u1;
    chunks = by_channels ? 1 : std::clamp(std::min(elements / kChunkElements, longest), std::int64_t{1}, kMaxChunks);
    chunks = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(chunks)));  // for 2 threads the same
    granule = shape.inner == 1 ? 64 / size : 1;
    tasks = elements < kForkElements ? 1 : by_channels ? (shape.channels + granule - 1) / granule : chunks;
  }

  std::int64_t chunk(std::int64_t i) const { return whole.u1 / chunks * i + std::min(i, whole.u1 % chunks); }

  /// The part of tasks [begin, end).
  Part part(std::int64_t begin, std::int64_t end) const {
    Part p = whole;
    if (tasks == 1) return p;
    if (by_channels) {
      p.c0 = begin * granule;
      p.c1 = std::min(end * granule, shape.channels);
    } else {
      p.u0 = chunk(begin);
      p.u1 = chunk(end);
    }
    return p;
  }

  Extent shape;
  Part whole{};
  bool by_channels = false;
  std::int64_t chunks = 1;
  std::int64_t granule = 1;
  std::int64_t tasks = 1;
};

/// Memory for the results of chunks, kept by the thread that asked for it.
double* chunk_memory(std::int64_t count) {
  thread_local std::unique_ptr<double[]> memory;
  thread_local std::int64_t size = 0;
  if (count > size) {
    memory = std::make_unique<double[]>(static_cast<std::size_t>(count));
    size = count;
  }
  return memory.get();
}

/// Calls take(part, i, result) for all parts: those of one chunk share `result`, [2, channels], those of several have
/// one each. Returns the first, in memory that is good until this thread's next call.
template <class Take>
double* take_parts(const Plan& plan, double* result, Take take) {
  if (plan.chunks == 1) {
    parallel_for(plan.tasks, [&](std::int64_t begin, std::int64_t end) { take(plan.part(begin, end), 0, result); });
    return result;
  }
  const std::int64_t size = 2 * plan.shape.channels;
  double* const of_chunks = chunk_memory(plan.chunks * size);
  parallel_for(plan.chunks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) take(plan.part(i, i + 1), i, of_chunks + i * size);
  });
  return of_chunks;
}

bool empty(Extent e) { return e.elements() == 0; }

}  // namespace

template <class T>
void bn_moments(const T* x, Extent extent, double* m) {
  if (empty(extent)) {
    std::fill_n(m, 2 * extent.channels, 0.0);
    return;
  }
  const Lanes<T>& lanes = active_lanes<T>();
  const Plan plan(extent, sizeof(T));
  const std::int64_t channels = extent.channels;
  std::array<std::int64_t, kMaxChunks> counts{extent.per_channel()};
  const double* const parts = take_parts(plan, m, [&](const Part& part, std::int64_t i, double* mean) {
    const std::int64_t count = lanes.moments(part, x, mean, mean + channels);
    if (plan.chunks > 1) counts[static_cast<std::size_t>(i)] = count;
  });
  lanes.merge_moments(parts, counts.data(), plan.chunks, channels, 0, channels, m, m + channels);
}

template <class T>
void bn_apply(const T* x, const double* m, const T* gamma, const T* beta, double eps, Extent extent, T* y) {
  if (empty(extent)) return;
  const Lanes<T>& lanes = active_lanes<T>();
  const Plan plan(extent, sizeof(T));
  const Channels<T> of{m, m + extent.channels, gamma, beta, eps};
  parallel_for(plan.tasks, [&](std::int64_t begin, std::int64_t end) { lanes.apply(plan.part(begin, end), x, of, y); });
}

template <class T>
void bn_sums(const T* x, const double* m, const T* ct, Extent extent, double* sums, bool ct_is_scalar) {
  if (empty(extent)) {
    std::fill_n(sums, 2 * extent.channels, 0.0);
    return;
  }
  const Lanes<T>& lanes = active_lanes<T>();
  const Plan plan(extent, sizeof(T));
  const std::int64_t channels = extent.channels;
  const Cotangent<T> cotangent{ct, ct_is_scalar};
  const double* const parts = take_parts(plan, sums, [&](const Part& part, std::int64_t, double* sum) {
    lanes.sums(part, x, m, cotangent, sum, sum + channels);
  });
  if (plan.chunks > 1) std::copy_n(parts, 2 * channels, sums);
  for (std::int64_t i = 1; i < plan.chunks; ++i) {
    const double* const more = parts + i * 2 * channels;
    for (std::int64_t c = 0; c < 2 * channels; ++c) sums[c] += more[c];
  }
}

template <class T>
void bn_dx(const T* x, const double* m, const T* gamma, const double* sums, const T* ct, double eps, Extent extent,
           T* dx, bool ct_is_scalar) {
  if (empty(extent)) return;
  const Lanes<T>& lanes = active_lanes<T>();
  const Plan plan(extent, sizeof(T));
  const std::int64_t channels = extent.channels;
  const Channels<T> of{m, m + channels, gamma, nullptr, eps};
  parallel_for(plan.tasks, [&](std::int64_t begin, std::int64_t end) {
    lanes.dx(plan.part(begin, end), x, of, sums, sums + channels, static_cast<double>(extent.per_channel()),
             {ct, ct_is_scalar}, dx);
  });
}

template void bn_moments(const float*, Extent, double*);
template void bn_moments(const double*, Extent, double*);
template void bn_apply(const float*, const double*, const float*, const float*, double, Extent, float*);
template void bn_apply(const double*, const double*, const double*, const double*, double, Extent, double*);
template void bn_sums(const float*, const double*, const float*, Extent, double*, bool);
template void bn_sums(const double*, const double*, const double*, Extent, double*, bool);
template void bn_dx(const float*, const double*, const float*, const double*, const float*, double, Extent, float*,
                    bool);
template void bn_dx(const double*, const double*, const double*, const double*, const double*, double, Extent, double*,
                    bool);

}  // namespace ebb::fused
