// The verifier: whether a tape is what a tape must be.
//
// Recording keeps these invariants by construction. A compiler pass builds tapes in other ways, a row may be wrong, a
// kernel may give another shape than its type rule says: so between passes, and in tests, every node is checked anew.
#pragma once

#include <ebb/engine/tape/tape.h>

namespace ebb {

/// Checks every node: inputs stand before it and are as many as its row takes; the row's type rule gives its shape and
/// dtype; its value is there, or absent for a reason that fits; scopes, names, steps and origins exist.
///
/// Throws    Error, which names the first bad node and what is wrong with it.
void verify(const Tape& tape);

}  // namespace ebb
