// What the rows of this folder share: rules of types and of derivatives, and the calls that try them out.
#pragma once

#include <ebb/engine/row/row.h>

#include <vector>

namespace ebb {

/// The type of a reduction that takes floating types alone.
TensorType floating_reduction_type(const Call& call);

/// dx = dout / n, repeated: of the mean, exact or in parts.
Var mean_vjp(const Vjp& g);

/// Over one axis and several, with them kept and without.
std::vector<Example> reduction_examples();

}  // namespace ebb
