// The reductions' kernels, once per instruction set.
#include <ebb/engine/lanes/reduce.h>
#include <ebb/ops/reduction/steps.h>

namespace ebb::EBB_ISA {

extern const std::array<ReducerTable, 4> kReducers;
const std::array<ReducerTable, 4> kReducers{reducer_table<Mean, false>(), reducer_table<Extremum<true>, true>(),
                                            reducer_table<Extremum<false>, true>(), reducer_table<Product, true>()};

}  // namespace ebb::EBB_ISA
