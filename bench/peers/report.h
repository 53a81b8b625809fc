// The report: interleaved rounds over all contenders, medians, ratios, and the bars that Ebb's fused batchnorm is held
// to.
#pragma once

#include <string>
#include <vector>

#include "bench/peers/contender.h"

namespace ebb::bench {

/// True if `list` is empty or holds `name`.
bool wanted(const std::vector<std::string>& list, const std::string& name);

/// Runs forward, backward or step.
void run_phase(Contender& contender, const std::string& phase);

/// Times every contender in turns and prints the tables. False if a contender's results were wrong.
bool report(const std::vector<std::string>& shapes, const std::vector<int>& threads,
            const std::vector<std::string>& impls, const std::vector<std::string>& phases, int rounds);

}  // namespace ebb::bench
