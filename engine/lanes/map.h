// Elementwise loops over packs, made from an op's lambda. Included only by files compiled once per instruction set.
//
// The tail runs the pack code, on the last whole pack again or on a padded copy, never a scalar twin of it: an
// element's value does not depend on where in the tensor it stands. The output must not overlap an input. Each
// combination of moving and fixed operands is a loop of its own.
#pragma once

#include <ebb/engine/lanes/mask.h>
#include <ebb/engine/lanes/op.h>
#include <ebb/engine/row/row.h>

#include <array>
#include <utility>

namespace ebb::EBB_ISA {

template <class T, int Form, std::size_t K>
struct In {  // how input K is held while the loop runs
  using Element = std::conditional_t<Form == 2 && K == 0, bool, T>;
  using Held = std::conditional_t<Form == 2 && K == 0, Mask<T>, Pack<T>>;

  static Held load(const Element* from) {
    if constexpr (std::is_same_v<Held, Mask<T>>) {
      return load_mask<T>(from);
    } else {
      return Pack<T>::load_unaligned(from);
    }
  }
  static Held fill(const Element* from) {
    if constexpr (std::is_same_v<Held, Mask<T>>) {
      return Mask<T>(*from);
    } else {
      return Pack<T>(*from);
    }
  }
};

template <const auto& kOps, std::size_t I, class T>
struct Map {
  using O = std::remove_cvref_t<decltype(std::get<I>(kOps))>;
  using Out = std::conditional_t<O::kForm == 1, bool, T>;
  static constexpr std::size_t kArity = O::kArity;
  static constexpr std::int64_t kW = kWidth<T>;

  template <std::size_t K>
  using Element = typename In<T, O::kForm, K>::Element;

  template <unsigned Steps, std::size_t... K>
  static void loop(const LaneCall& call, std::index_sequence<K...>) {
    const std::int64_t rows = call.rows, n = call.n;
    const bool stream_it = call.stream;
    for (std::int64_t plane = 0; plane < call.planes; ++plane) {
      // Steps are in bytes. The pointers are variables of their own: as parts of a tuple they would live in memory.
      [&](auto... in) {
        auto* out = static_cast<std::byte*>(call.out) + plane * call.out_plane;
        for (std::int64_t row = 0; row < rows; ++row) {
          if (n < kW) {
            run_short_row<Steps, K...>(n, reinterpret_cast<Out*>(out), reinterpret_cast<const Element<K>*>(in)...);
          } else {
            run_row<Steps, K...>(n, stream_it, reinterpret_cast<Out*>(out), reinterpret_cast<const Element<K>*>(in)...);
          }
          ((in += call.row_step[K]), ...);
          out += call.out_step;
        }
      }((static_cast<const std::byte*>(call.in[K]) + plane * call.plane_step[K])...);
    }
    if (call.stream) stream_fence(Arch());
  }

  template <unsigned Steps, std::size_t... K>
  [[gnu::noinline]] static void run_short_row(std::int64_t n, Out* out, const Element<K>*... in) {
    std::tuple<Padded<Element<K>>...> padded;
    for (std::int64_t k = 0; k < kW; ++k) {
      const std::int64_t j = k < n ? k : 0;
      ((std::get<K>(padded).at[k] = in[(Steps >> K & 1) != 0 ? j : 0]), ...);
    }
    Padded<Out> result;
    if (n > 0) run_row<Steps, K...>(kW, false, result.at, std::get<K>(padded).at...);
    for (std::int64_t k = 0; k < n; ++k) out[k] = result.at[k];
  }

  template <unsigned Steps, std::size_t... K>
  [[gnu::always_inline]] static void run_row(std::int64_t n, bool stream_it, Out* out, const Element<K>*... in) {
    constexpr const auto& op = std::get<I>(kOps);
    const std::tuple fixed{In<T, O::kForm, K>::fill(in)...};
    const auto compute = [&](std::int64_t i) {
      return op.f([&] {
        if constexpr ((Steps >> K & 1) != 0) {
          return In<T, O::kForm, K>::load(in + i);
        } else {
          return std::get<K>(fixed);
        }
      }()...);
    };
    constexpr bool streams = O::kForm != 1 && std::is_floating_point_v<T>;
    const auto put = [&](std::int64_t i, bool past_caches) {
      const auto result = compute(i);
      if constexpr (O::kForm == 1) {
        store_mask<T>(result, out + i);
      } else if constexpr (streams) {
        past_caches ? stream<T>(out + i, result) : result.store_unaligned(out + i);
      } else {
        result.store_unaligned(out + i);
      }
    };
    // All whole packs, then the last one once more, moved back to end with the row.
    const std::int64_t end = n - n % kW;
    const bool past_caches = streams && stream_it && reinterpret_cast<std::uintptr_t>(out) % sizeof(Pack<T>) == 0;
    if constexpr (op.traits.ulp > 0.5) {
      // A function's lambda stands once: of two, neither would be inlined.
      for (std::int64_t i = 0, stop = end;; i = n - kW, stop = n) {
        for (; i < stop; i += kW) put(i, past_caches && stop == end);
        if (stop == n) return;
      }
    }
    std::int64_t i = 0;
    if (past_caches) {
      for (; i < end; i += kW) put(i, true);
    } else {
      for (; i + 2 * kW <= n; i += 2 * kW) {  // an instruction or two: half of the loop would be counting
        put(i, false);
        put(i + kW, false);
      }
      for (; i < end; i += kW) put(i, false);
    }
    if (end < n) put(n - kW, false);
  }

  template <class E>
  struct Padded {
    alignas(64) E at[kW];
  };

  template <unsigned... Steps>
  static void dispatch(const LaneCall& call, std::integer_sequence<unsigned, Steps...>) {
    using Loop = void (*)(const LaneCall&, std::make_index_sequence<kArity>);
    static constexpr Loop kLoops[] = {
        [](const LaneCall& c, std::make_index_sequence<kArity> k) { loop<Steps>(c, k); }...};
    kLoops[call.steps](call, {});
  }

  static void run(const LaneCall& call) { dispatch(call, std::make_integer_sequence<unsigned, 1u << kArity>()); }
};

template <const auto& kOps, std::size_t I>
constexpr LaneTable lane_table() {
  constexpr lane::Takes takes = std::get<I>(kOps).traits.takes;
  LaneTable table;
  if constexpr (takes != lane::Takes::booleans) {
    table.by_dtype[0] = Map<kOps, I, float>::run;
    table.by_dtype[1] = Map<kOps, I, double>::run;
  }
  if constexpr (takes == lane::Takes::numbers || takes == lane::Takes::all) {
    table.by_dtype[2] = Map<kOps, I, std::int64_t>::run;
  }
  if constexpr (takes == lane::Takes::booleans || takes == lane::Takes::all) {
    table.by_dtype[3] = Map<kOps, I, std::uint8_t>::run;  // bytes 0 and 1
  }
  return table;
}

template <const auto& kOps, std::size_t... I>
constexpr std::array<LaneTable, sizeof...(I)> lane_tables(std::index_sequence<I...>) {
  return {lane_table<kOps, I>()...};
}

/// The lane tables of a whole tuple, in its order.
template <const auto& kOps>
constexpr auto lane_tables() {
  return lane_tables<kOps>(std::make_index_sequence<std::tuple_size_v<std::remove_cvref_t<decltype(kOps)>>>());
}

}  // namespace ebb::EBB_ISA
