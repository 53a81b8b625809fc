// Each round visits every contender in a rotating order. The time of a cell is the median of its samples, a ratio the
// median of the rounds' ratios (timing.h).
#include "bench/peers/report.h"

#include <algorithm>
#include <cstdio>
#include <map>

#include "bench/peers/timing.h"

namespace ebb::bench {
namespace {

constexpr double kInCacheBytes = 4e6;  // Of x; what no bar speaks of lies between.
constexpr double kBeyondBytes = 20e6;

double sample(Contender& contender, const std::string& phase) {
  contender.activate();
  return bench::sample([&] { run_phase(contender, phase); });
}

struct Bars {
  Bar in_cache, beyond, twin, staged, memory;
};

using Times = std::map<std::string, std::vector<double>>;

/// The median over the rounds of a / b.
double ratio(const Times& times, const std::string& a, const std::string& b) {
  return median_ratio(times.at(a), times.at(b));
}

void print_cell(const Shape& shape, const std::string& phase, int threads, const std::vector<std::string>& names,
                const Times& times, Bars& bars) {
  std::printf("%-20s %-8s %2d", shape.text().c_str(), phase.c_str(), threads);
  for (const std::string& name : names) {
    if (times.count(name) == 0) {
      std::printf(" %17s", "-");
    } else {
      std::printf(" %17.2f", median(times.at(name)) * 1e6);
    }
  }
  if (times.count("fused") != 0) {
    const auto cell = shape.text() + " " + phase + " x" + std::to_string(threads);
    const auto bytes = static_cast<double>(shape.elements()) * sizeof(float);
    double best = 0;
    for (const char* peer : {"onednn", "libtorch", "libtorch_autograd"}) {
      if (times.count(peer) == 0) continue;
      const double r = ratio(times, peer, "fused");
      best = best == 0 ? r : std::min(best, r);
    }
    std::printf(" %9.2f", best);
    if (best != 0 && phase == "step") {
      if (bytes <= kInCacheBytes) bars.in_cache.add(cell, best);
      if (bytes >= kBeyondBytes) bars.beyond.add(cell, best);
    }
    if (times.count("twin") != 0) {
      const double r = ratio(times, "twin", "fused");
      std::printf(" %9.2f", r);
      if (bytes >= kBeyondBytes && phase == "step") bars.twin.add(cell, r);
    }
  }
  if (times.count("staged") != 0 && times.count("libtorch_staged") != 0) {
    const double r = ratio(times, "libtorch_staged", "staged");
    std::printf(" %9.2f", r);
    if (phase == "step") bars.staged.add(shape.text() + " x" + std::to_string(threads), r);
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

bool wanted(const std::vector<std::string>& list, const std::string& name) {
  return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
}

void run_phase(Contender& contender, const std::string& phase) {
  if (phase == "forward") return contender.forward();
  if (phase == "backward") return contender.backward();
  contender.step();
}

bool report(const std::vector<std::string>& shapes, const std::vector<int>& threads,
            const std::vector<std::string>& impls, const std::vector<std::string>& phases, int rounds) {
  std::vector<std::string> names;
  for (const auto& contender : all_contenders()) {
    if (wanted(impls, contender->name())) names.push_back(contender->name());
  }
  std::printf("Microseconds, medians of %d interleaved rounds; ratios are medians of the rounds' ratios.\n", rounds);
  std::printf("%-20s %-8s %2s", "shape", "phase", "th");
  for (const std::string& name : names) std::printf(" %17s", name.c_str());
  std::printf(" %9s %9s %9s\n", "best/fus.", "twin/fus.", "torch/st.");

  bool right = true;
  Bars bars;
  for (const std::string& text : shapes) {
    const Problem problem(parse_shape(text));
    for (const int count : threads) {
      std::vector<std::unique_ptr<Contender>> contenders;
      for (auto& contender : all_contenders()) {
        if (!wanted(impls, contender->name()) || !contender->supports(problem.shape)) continue;
        contender->set_up(problem, count);
        if (const std::string wrong = check(problem, *contender); !wrong.empty()) {
          std::printf("%s %s is WRONG and not timed: %s\n", contender->name().c_str(), text.c_str(), wrong.c_str());
          right = false;
          continue;
        }
        contenders.push_back(std::move(contender));
      }
      std::map<std::string, std::size_t> peak;
      for (const auto& contender : contenders) peak[contender->name()] = contender->peak_bytes();
      if (peak["staged"] != 0 && peak["libtorch_staged"] != 0) {
        bars.memory.add(text, static_cast<double>(peak["libtorch_staged"]) / static_cast<double>(peak["staged"]));
      }
      for (const std::string& phase : phases) {
        Times times;
        for (int round = 0; round < rounds; ++round) {
          for (std::size_t i = 0; i < contenders.size(); ++i) {
            Contender& contender = *contenders[(i + static_cast<std::size_t>(round)) % contenders.size()];
            times[contender.name()].push_back(sample(contender, phase));
          }
        }
        print_cell(problem.shape, phase, count, names, times, bars);
      }
    }
  }
  bars.in_cache.print("in cache, best peer / fused:", 2.0, 1.5);
  bars.beyond.print("beyond cache, best peer / fused:", 1.25, 1.05);
  bars.twin.print("beyond cache, twin / fused:", 0.85, 0.85);
  bars.staged.print("libtorch_staged / staged:", 4.0, 2.5);
  bars.memory.print("libtorch_staged / staged, memory:", 1 / 1.2, 1 / 1.2);
  return right;
}

}  // namespace ebb::bench
