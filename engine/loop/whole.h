// Running one row over whole tensors, whatever it is made of: a kernel, a reducer or a scanner.
#pragma once

#include <ebb/engine/row/row.h>

namespace ebb {

/// Computes `call.out` by a row that is no step of loops. The tape runs its nodes by this, and a program what it has no
/// loop for.
void run_whole(const Row& row, KernelCall& call);

}  // namespace ebb
