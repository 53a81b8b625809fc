// Scan loops, made from a scan's step. Included only by files compiled once per instruction set.
//
// Every lane goes step by step, with the accumulator in double, whatever the width of packs: plain loops, which the
// compiler turns into packs where lanes lie side by side. So a scan has the same bits on every instruction set.
#pragma once

#include <ebb/engine/row/row.h>

#include <cstdint>
#include <type_traits>

namespace ebb::EBB_ISA {

/// R gives: `kArity`, `kInit` (a number), `step(acc, x...)` on cells, and `merge(acc, total)` if a lane may be cut.
template <class R, class T>
struct ScanLanes {
  // Integers wrap around.
  using Cell = std::conditional_t<std::is_floating_point_v<T>, double, std::uint64_t>;
  static constexpr std::int64_t kTogether = 4;  // lanes: more would share too few sets of the cache
  static constexpr std::int64_t kTile = 256;

  static void init(void* cells, std::int64_t n) {
    for (std::int64_t i = 0; i < n; ++i) static_cast<Cell*>(cells)[i] = Cell(R::kInit);
  }

  [[gnu::always_inline]] static Cell next(Cell acc, const T* a, const T* b, std::int64_t at) {
    if constexpr (R::kArity == 1) {
      (void)b;
      return R::step(acc, static_cast<Cell>(a[at]));
    } else {
      return R::step(acc, static_cast<Cell>(a[at]), static_cast<Cell>(b[at]));
    }
  }

  // kLanes lanes that lie apart.
  template <std::int64_t kLanes, bool kKeep>
  static void apart(const ScanCall& call, std::int64_t lane) {
    const T* __restrict a = static_cast<const T*>(call.in[0]) + lane * call.lane_step;
    const T* __restrict b = R::kArity == 1 ? nullptr : static_cast<const T*>(call.in[1]) + lane * call.lane_step;
    T* __restrict out = kKeep ? static_cast<T*>(call.out) + lane * call.lane_step : nullptr;
    Cell* const cells = static_cast<Cell*>(call.cells) + lane;
    Cell acc[kLanes];
    for (std::int64_t l = 0; l < kLanes; ++l) acc[l] = cells[l];
    for (std::int64_t s = 0; s < call.steps; ++s) {
      for (std::int64_t l = 0; l < kLanes; ++l) {
        const std::int64_t at = l * call.lane_step + s * call.step;
        acc[l] = next(acc[l], a, b, at);
        if constexpr (kKeep) out[at] = static_cast<T>(acc[l]);
      }
    }
    for (std::int64_t l = 0; l < kLanes; ++l) cells[l] = acc[l];
  }

  // Lanes that lie side by side.
  template <bool kKeep>
  static void beside(const ScanCall& call) {
    for (std::int64_t first = 0; first < call.lanes; first += kTile) {
      const std::int64_t n = call.lanes - first < kTile ? call.lanes - first : kTile;
      Cell* const cells = static_cast<Cell*>(call.cells) + first;
      Cell acc[kTile];
      for (std::int64_t l = 0; l < n; ++l) acc[l] = cells[l];
      for (std::int64_t s = 0; s < call.steps; ++s) {
        const T* __restrict a = static_cast<const T*>(call.in[0]) + first + s * call.step;
        const T* __restrict b = R::kArity == 1 ? nullptr : static_cast<const T*>(call.in[1]) + first + s * call.step;
        T* __restrict out = kKeep ? static_cast<T*>(call.out) + first + s * call.step : nullptr;
        for (std::int64_t l = 0; l < n; ++l) {
          acc[l] = next(acc[l], a, b, l);
          if constexpr (kKeep) out[l] = static_cast<T>(acc[l]);
        }
      }
      for (std::int64_t l = 0; l < n; ++l) cells[l] = acc[l];
    }
  }

  template <bool kKeep>
  static void dispatch(const ScanCall& call) {
    if (call.lane_step == 1 && call.lanes > 1) return beside<kKeep>(call);
    std::int64_t lane = 0;
    for (; lane + kTogether <= call.lanes; lane += kTogether) apart<kTogether, kKeep>(call, lane);
    for (; lane < call.lanes; ++lane) apart<1, kKeep>(call, lane);
  }

  static void run(const ScanCall& call) { call.out ? dispatch<true>(call) : dispatch<false>(call); }

  static void merge(void* cells, const void* others, std::int64_t n) {
    Cell* const a = static_cast<Cell*>(cells);
    const Cell* const b = static_cast<const Cell*>(others);
    for (std::int64_t i = 0; i < n; ++i) a[i] = R::merge(a[i], b[i]);
  }

  static constexpr Scanner scanner() {
    if constexpr (requires(Cell c) { R::merge(c, c); }) {
      return {init, run, merge};
    } else {
      return {init, run, nullptr};
    }
  }
  static constexpr Scanner kScanner = scanner();
};

template <class R>
constexpr ScannerTable scanner_table() {
  ScannerTable table;
  table.by_dtype[0] = &ScanLanes<R, float>::kScanner;
  table.by_dtype[1] = &ScanLanes<R, double>::kScanner;
  table.by_dtype[2] = &ScanLanes<R, std::int64_t>::kScanner;
  return table;
}

}  // namespace ebb::EBB_ISA
