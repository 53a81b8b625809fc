// What the programs that dump a graph have in common: the options --format, --times and --output.
#pragma once

#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <string>

namespace dump_program {

inline void add_format(CLI::App& app, ebb::DumpFormat& format) {
  std::map<std::string, ebb::DumpFormat> formats;
  std::string choices;
  for (const ebb::DumpFormat each : ebb::dump_formats()) {
    formats.emplace(name(each), each);
    choices += (choices.empty() ? "" : "|") + std::string(name(each));
  }
  app.add_option("--format", format, "What is written (text)")
      ->transform(CLI::CheckedTransformer(formats).description(choices));
}

inline void add_times(CLI::App& app, bool& times) {
  app.add_flag("--times", times, "What each node takes by itself, measured now");
}

inline void add_output(CLI::App& app, std::string& output) {
  app.add_option("--output", output, "A file; standard output if left out");
}

/// Into the file, or to standard output, in colours where that is a terminal.
inline void write(const ebb::Tape& tape, ebb::DumpOptions options, const std::string& output) {
  if (!output.empty()) return write_dump(tape, output, options);
  options.color = ebb::shows_color(stdout);
  fmt::print("{}", dump(tape, options));
}

}  // namespace dump_program
