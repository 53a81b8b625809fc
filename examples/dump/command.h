// What the programs that dump a graph have in common: the options --format, --times and --output.
#pragma once

#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace dump_program {

/// An option that is one of a few words; what `value` holds is what it is if it is left out.
template <class T>
void add_choice(CLI::App& app, const std::string& option, T& value, const std::string& description,
                const std::vector<std::pair<std::string, T>>& choices) {
  std::vector<std::string> words;
  std::string standard;
  for (const auto& [word, meaning] : choices) {
    words.push_back(word);
    if (meaning == value) standard = word;
  }
  const auto choose = [&value, choices](const std::string& chosen) {
    for (const auto& [word, meaning] : choices) {
      if (word == chosen) value = meaning;
    }
  };
  app.add_option_function<std::string>(option, choose, description)->check(CLI::IsMember(words))->default_str(standard);
}

inline void add_format(CLI::App& app, ebb::DumpFormat& format) {
  std::vector<std::pair<std::string, ebb::DumpFormat>> formats;
  for (const ebb::DumpFormat each : ebb::dump_formats()) formats.emplace_back(name(each), each);
  add_choice(app, "--format", format, "What is written", formats);
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
