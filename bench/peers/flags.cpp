#include "bench/peers/flags.h"

#include <benchmark/benchmark.h>

#include <cstdio>
#include <string>
#include <vector>

namespace ebb::bench {

std::optional<int> parse_flags(CLI::App& app, int argc, char** argv) {
  app.set_help_flag();
  app.allow_extras();
  bool help = false;
  app.add_flag("-h,--help", help, "Print this and Google Benchmark's flags");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
  std::vector<std::string> rest = app.remaining();
  if (help) {
    std::fputs(app.help().c_str(), stdout);
    std::puts("");
    rest.assign(1, "--help");
  }
  std::vector<char*> arguments{argv[0]};
  for (std::string& argument : rest) arguments.push_back(argument.data());
  auto count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 2;
  return std::nullopt;
}

}  // namespace ebb::bench
