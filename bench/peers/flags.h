// The command line of a benchmark program: its own flags, and Google Benchmark's beside them.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>

namespace ebb::bench {

/// Reads flags of both kinds; the program has added its own to `app`, which must not have one for help. What `main`
/// returns, if the program is to end here.
std::optional<int> parse_flags(CLI::App& app, int argc, char** argv);

}  // namespace ebb::bench
