// The instruction sets that lane kernels are compiled for, and the one in force.
//
// A file of lane kernels is compiled once per set (cmake/isa.cmake) into a namespace of the set's
// name, so that no instruction of a newer set can leak into code that an older CPU runs. The choice
// falls once, at the first use: the best set the CPU has, or the one that the environment variable
// EBB_ISA names.
#pragma once

#include <array>
#include <string_view>

namespace ebb {

enum class Isa : unsigned char { base, avx2, avx512 };
inline constexpr int kIsaCount = 3;
inline constexpr std::array<std::string_view, kIsaCount> kIsaNames{"base", "avx2", "avx512"};

/// The instruction set in force. Throws UsageError if EBB_ISA names a set that is unknown or that
/// this CPU lacks.
Isa active_isa();

/// True if this CPU can run `isa`.
bool supported(Isa isa);

}  // namespace ebb
