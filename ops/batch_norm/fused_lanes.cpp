// The fused batchnorm's arithmetic, compiled once per instruction set: the table of one set's lanes.
#include <ebb/ops/batch_norm/fused_lanes.h>
#include <ebb/ops/batch_norm/lanes_statistics.h>
#include <ebb/ops/batch_norm/lanes_writing.h>

namespace ebb::fused::EBB_ISA {
namespace {

template <bool streamed, class T>
void apply_as(const Part& p, const T* x, const Channels<T>& of, T* y) {
  p.inner == 1 ? apply_columns<streamed>(p, x, of, y) : apply_runs<streamed>(p, x, of, y);
  if constexpr (streamed) stream_fence();
}

template <class T>
void apply(const Part& p, const T* x, const Channels<T>& of, T* y) {
  p.stream ? apply_as<true>(p, x, of, y) : apply_as<false>(p, x, of, y);
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
  p.stream ? dx_as<true>(p, x, of, sum, dot, count, ct, y) : dx_as<false>(p, x, of, sum, dot, count, ct, y);
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
