// The lanes of the functions of analysis, once per instruction set.
#include <ebb/engine/lanes/map.h>
#include <ebb/ops/elementwise/math_ops.h>

namespace ebb::EBB_ISA {

inline constexpr std::size_t kCount = std::tuple_size_v<decltype(kMathOps)>;
extern const std::array<LaneTable, kCount> kMathLanes;
const std::array<LaneTable, kCount> kMathLanes = lane_tables<kMathOps>();

}  // namespace ebb::EBB_ISA
