#include <ebb/ops/compile/rewrites.h>

#include <array>

namespace ebb {

std::span<const Pass> all_passes() {
  // Algebra runs again where sums that have vanished lay products open, and where the low part of a mean has come in.
  static const std::array passes{kSinkBroadcasts, kFold,      kShare,   kGathers,   kLower,   kScatters,
                                 kSinkBroadcasts, kFold,      kAlgebra, kLinearity, kAlgebra, kMoments,
                                 kAlgebra,        kLinearity, kAlgebra, kFold,      kShare};
  return passes;
}

}  // namespace ebb
