// How the benches time: in turns, because machines are shared and an absolute time drifts by a factor of two.
//
// Each round visits every contender. A visit runs it untimed for a while (its caches, its worker threads), then takes
// one sample, the mean of enough runs. A ratio is the median of the rounds' ratios, so that a slow minute strikes both
// sides. (No C++20 here: with Clang 14, libtorch's headers want an older standard.)
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ebb::bench {

double median(std::vector<double> values);

/// The median over the rounds of a / b.
double median_ratio(const std::vector<double>& a, const std::vector<double>& b);

// After their last loop OpenMP's idle threads spin for up to 16 ms and OpenBLAS's for 30 ms, on a core that the next
// contender needs; where it was OpenBLAS's, the system takes until 100 ms to move a thread there.
constexpr double kAfterOpenMp = 25e-3;
constexpr double kAfterBlas = 120e-3;

/// Mean seconds of one run, after untimed ones for so many seconds.
double sample(const std::function<void()>& run, double warm_seconds = kAfterOpenMp);

/// Ratios that a bar is set for, with the names of their cells.
class Bar {
 public:
  void add(const std::string& cell, double ratio) { ratios_.emplace_back(ratio, cell); }

  /// Prints the geometric mean, the worst, and whether they reach the bar: at least these.
  void print(const char* what, double least_mean, double least) const;

 private:
  std::vector<std::pair<double, std::string>> ratios_;
};

}  // namespace ebb::bench
