// Many blocks of Philox at once; what random_bits computes.
#pragma once

#include <array>
#include <cstdint>

namespace ebb {

/// Blocks `first` to `first + kPhiloxBlocks` of a stream (engine/random/philox.h): word w of block i at [w][i].
inline constexpr std::int64_t kPhiloxBlocks = 64;
using PhiloxWords = std::uint32_t (*)[kPhiloxBlocks];
using PhiloxLanes = void (*)(std::uint64_t key, std::uint64_t stream, std::uint64_t first, PhiloxWords words);

}  // namespace ebb
