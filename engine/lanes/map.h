// Elementwise loops over packs, made from an op's lambda. Included only by files compiled once per instruction set.
//
// The tail runs the pack code, on the last whole pack again or on a padded copy, never a scalar twin of it: an
// element's value does not depend on where in the tensor it stands. The output must not overlap an input. Each
// combination of moving and fixed operands is a loop of its own.
#pragma once

#include <ebb/engine/lanes/mask.h>
#include <ebb/engine/lanes/op.h>
#include <ebb/engine/tape/row.h>

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

  template <unsigned Steps, std::size_t... K>
  static void loop(const LaneCall& call, std::index_sequence<K...>) {
    std::tuple in{static_cast<const typename In<T, O::kForm, K>::Element*>(call.in[K])...};
    Out* out = static_cast<Out*>(call.out);
    const auto advance = [](auto*& at, std::int64_t bytes) { at += bytes / static_cast<std::int64_t>(sizeof(*at)); };
    for (std::int64_t plane = 0; plane < call.planes; ++plane) {
      auto row_in = in;
      Out* row_out = out;
      for (std::int64_t row = 0; row < call.rows; ++row) {
        run_row<Steps, K...>(call.n, call.stream, row_out, std::get<K>(row_in)...);
        (advance(std::get<K>(row_in), call.row_step[K]), ...);
        advance(row_out, call.out_step);
      }
      (advance(std::get<K>(in), call.plane_step[K]), ...);
      advance(out, call.out_plane);
    }
    if (call.stream) stream_fence(Arch());
  }

  template <unsigned Steps, std::size_t... K>
  static void run_row(std::int64_t n, bool streamed, Out* out, const typename In<T, O::kForm, K>::Element*... in) {
    constexpr const auto& op = std::get<I>(kOps);
    const std::tuple fixed{In<T, O::kForm, K>::fill(in)...};
    auto compute = [&](const auto*... from) {
      return op.f([&] {
        if constexpr ((Steps >> K & 1) != 0) {
          return In<T, O::kForm, K>::load(from);
        } else {
          return std::get<K>(fixed);
        }
      }()...);
    };
    if (n < kW) {
      std::tuple<Padded<typename In<T, O::kForm, K>::Element>...> padded;
      for (std::int64_t k = 0; k < kW; ++k) {
        const std::int64_t j = k < n ? k : 0;
        ((std::get<K>(padded).at[k] = in[(Steps >> K & 1) != 0 ? j : 0]), ...);
      }
      Padded<Out> result;
      if (n > 0) run_row<Steps, K...>(kW, false, result.at, std::get<K>(padded).at...);
      for (std::int64_t k = 0; k < n; ++k) out[k] = result.at[k];
      return;
    }
    streamed = streamed && reinterpret_cast<std::uintptr_t>(out) % sizeof(Pack<T>) == 0;
    // All whole packs, then the last one once more, moved back to end with the row: one copy of the lambda for both.
    for (std::int64_t i = 0, end = n - n % kW;; i = n - kW, end = n, streamed = false) {
      for (; i < end; i += kW) {
        const auto result = compute((in + i)...);
        if constexpr (O::kForm == 1) {
          store_mask<T>(result, out + i);
        } else if constexpr (std::is_floating_point_v<T>) {
          streamed ? stream<T>(out + i, result) : result.store_unaligned(out + i);
        } else {
          result.store_unaligned(out + i);
        }
      }
      if (end == n) break;
    }
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
