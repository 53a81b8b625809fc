// The lanes of arithmetic, comparison and choice, once per instruction set.
#include <ebb/engine/lanes/map.h>
#include <ebb/ops/elementwise/elementwise_ops.h>

namespace ebb::EBB_ISA {

inline constexpr std::size_t kCount = std::tuple_size_v<decltype(kElementwiseOps)>;
extern const std::array<LaneTable, kCount> kElementwiseLanes;
const std::array<LaneTable, kCount> kElementwiseLanes = lane_tables<kElementwiseOps>();

}  // namespace ebb::EBB_ISA
