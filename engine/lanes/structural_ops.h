// The elementwise op that the sweep itself records: the sum of two contributions.
#pragma once

#include <ebb/engine/lanes/op.h>

namespace ebb {

inline constexpr auto kStructuralOps = std::tuple{
    lane::binary(
        "add", {.takes = lane::Takes::numbers, .commutative = true, .linear = 3}, [](auto a, auto b) { return a + b; },
        [](const auto& g) { return g.ct; }, [](const auto& g) { return g.ct; }),
};

}  // namespace ebb
