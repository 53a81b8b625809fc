#include <ebb/engine/check/slope.h>

#include <array>
#include <cmath>
#include <limits>

namespace ebb {

// A large step is wrong by curvature, a small one by rounding, and where they balance depends on the function. So steps
// go down by fours from scale / 10 to about scale * 1e-10; two neighbours give one value free of the h^2 term
// (Richardson); the step is the best whose neighbours agree best. The rules' result is not looked at: the best of many
// steps by that measure could be a wrong one that fits.
Slope slope(const std::function<double(double)>& phi, double scale, double noise) {
  constexpr int kSteps = 16;
  std::array<double, kSteps> h{};
  std::array<double, kSteps> difference{};
  for (int k = 0; k < kSteps; ++k) {
    const std::size_t i = static_cast<std::size_t>(k);
    h[i] = 0.1 * scale * std::ldexp(1.0, -2 * k);
    difference[i] = (phi(h[i]) - phi(-h[i])) / (2 * h[i]);
  }
  Slope best{0, std::numeric_limits<double>::infinity(), 0};
  for (std::size_t k = 0; k + 2 < kSteps; ++k) {
    const double refined = (16 * difference[k + 1] - difference[k]) / 15;
    // Two gaps, since one alone may be small by chance.
    const double gap = std::fabs(refined - difference[k + 1]) + std::fabs(difference[k + 1] - difference[k + 2]);
    const double uncertainty = gap + noise / h[k + 1];
    if (std::isfinite(refined) && uncertainty < best.uncertainty) best = {refined, uncertainty, h[k + 1]};
  }
  return best;
}

}  // namespace ebb
