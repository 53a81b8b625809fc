// Bands: loops that follow one another and can be run together, part by part.
//
// Where reductions keep an axis, nothing of one kept index needs anything of another. So all loops of a normalisation,
// its statistics, what is made of them and the pass that uses them, can run for a few channels or rows, and then for
// the next few: what the first loop has brought in is still near when the last one reads it, and threads meet once for
// the whole band. Cuts and carries are those of each loop by itself, and so are the bits.
#pragma once

#include <ebb/engine/program/plan/schedule.h>

#include <vector>

namespace ebb {

std::vector<Band> find_bands(const Schedule& schedule);

/// Moves loops that could be in a band next to it, over what they need nothing of: a loss, which is made of the same
/// sums, does not come between a softmax and its gradient.
void draw_together(Schedule& schedule);

}  // namespace ebb
