// The lanes of the structural rows, once per instruction set.
#include <ebb/engine/lanes/map.h>
#include <ebb/engine/lanes/reduce.h>
#include <ebb/engine/lanes/structural_ops.h>

namespace ebb::EBB_ISA {

extern const std::array<LaneTable, 1> kStructuralLanes;
const std::array<LaneTable, 1> kStructuralLanes = lane_tables<kStructuralOps>();

extern const std::array<ReducerTable, 1> kStructuralReducers;
const std::array<ReducerTable, 1> kStructuralReducers{reducer_table<Sum, true>()};

}  // namespace ebb::EBB_ISA
