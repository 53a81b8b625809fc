#include "bench/peers/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>

namespace ebb::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr double kSampleSeconds = 5e-3;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

}  // namespace

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

double median_ratio(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.size(); ++i) ratios.push_back(a[i] / b[i]);
  return median(ratios);
}

double sample(const std::function<void()>& run, double warm_seconds) {
  auto start = Clock::now();
  do run();
  while (seconds_since(start) < warm_seconds);
  int runs = 0;
  int batch = 1;
  start = Clock::now();
  double taken = 0;
  do {
    for (int i = 0; i < batch; ++i) run();
    runs += batch;
    taken = seconds_since(start);
    batch = runs;  // The clock is read a few times per sample, however short the runs.
  } while (taken < kSampleSeconds);
  return taken / runs;
}

void Bar::print(const char* what, double least_mean, double least) const {
  if (ratios_.empty()) return;
  double logs = 0;
  for (const auto& ratio : ratios_) logs += std::log(ratio.first);
  const double mean = std::exp(logs / static_cast<double>(ratios_.size()));
  const auto worst = *std::min_element(ratios_.begin(), ratios_.end());
  std::printf("%-34s geometric mean %5.2f (bar %.2f), worst %5.2f (bar %.2f) at %s: %s\n", what, mean, least_mean,
              worst.first, least, worst.second.c_str(), mean >= least_mean && worst.first >= least ? "met" : "MISSED");
}

}  // namespace ebb::bench
