// The slope of a function of one number, by central differences over a sweep of steps. Private to gradcheck.
#pragma once

#include <functional>

namespace ebb {

struct Slope {
  double value = 0;
  double uncertainty = 0;
  double step = 0;
};

/// The derivative of phi at 0. `scale` is the size of t that changes its argument as a whole; `noise` a lower bound of
/// the rounding error of phi. Where no step gives a finite difference, the uncertainty is infinite.
Slope slope(const std::function<double(double)>& phi, double scale, double noise);

}  // namespace ebb
