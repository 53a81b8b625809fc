// What the programs that dump a graph have in common: the options --seed, --format, --times and --output, and how they
// end.
#pragma once

#include <ebb/ebb.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
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

inline void add_seed(CLI::App& app, std::uint64_t& seed) {
  const auto negative = [](const std::string& text) {
    return text.starts_with('-') ? fmt::format("{} is negative; a seed is 0 or more", text) : std::string();
  };
  app.add_option("--seed", seed, "Of the numbers")->check(negative)->capture_default_str();
}

/// Into the file, or to standard output, in colours where that is a terminal.
inline void write(const ebb::Tape& tape, ebb::DumpOptions options, const std::string& output,
                  ebb::Location where = ebb::Location::current()) {
  if (!output.empty()) return write_dump(tape, output, options, where);
  options.color = ebb::shows_color(stdout);
  const std::string text = dump(tape, options, where);
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw ebb::IoError(fmt::format("dump: cannot write to standard output, {}.", std::strerror(errno)));
  }
}

/// What main returns: 0, or 1 after a message.
template <class F>
int run(F&& dump) {
  try {
    dump();
    return 0;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "dump: there is not enough memory for this graph. Make it smaller.\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
  }
  return 1;
}

}  // namespace dump_program
