// The one list of formats, and the file that a dump goes to.
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/dump/writing/graphviz.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace ebb {
namespace {

std::string write_svg(const Graph& graph, const DumpOptions& options) {
  return detail::graphviz(write_dot(graph, options), "svg", graph.asked);
}

struct Writer {
  DumpFormat format;
  std::string_view name;
  std::string (*write)(const Graph& graph, const DumpOptions& options);
  bool values = false;  // shows values whether asked to or not
};
constexpr Writer kWriters[] = {
    {DumpFormat::text, "text", write_text},
    {DumpFormat::tree, "tree", write_tree},
    {DumpFormat::dot, "dot", write_dot},
    {DumpFormat::svg, "svg", write_svg},
    {DumpFormat::mermaid, "mermaid", write_mermaid},
    {DumpFormat::markdown, "markdown", write_markdown, true},
    {DumpFormat::json, "json", write_json, true},
    {DumpFormat::html, "html", write_html, true},
};

const Writer& writer_of(DumpFormat format) { return *std::ranges::find(kWriters, format, &Writer::format); }

[[noreturn]] void fail(const std::string& path, std::string_view reason, const Location& where) {
  throw IoError(fmt::format("dump: cannot write {}, {}. Name a file in a folder that exists and may be written. ({})",
                            path, reason, to_string(where)));
}

}  // namespace

std::string_view name(DumpFormat format) { return writer_of(format).name; }

std::span<const DumpFormat> dump_formats() {
  static const auto formats = [] {
    std::array<DumpFormat, std::size(kWriters)> out{};
    std::ranges::transform(kWriters, out.begin(), &Writer::format);
    return out;
  }();
  return formats;
}

std::string dump(const Tape& tape, const DumpOptions& options, Location where) {
  const Writer& writer = writer_of(options.format);
  DumpOptions asked = options;
  asked.values = asked.values || writer.values;
  Graph graph = describe(tape, asked);
  graph.asked = where;
  return writer.write(graph, asked);
}

std::string dump(const Tape& tape, DumpFormat format, const DumpOptions& options, Location where) {
  DumpOptions asked = options;
  asked.format = format;
  return dump(tape, asked, where);
}

bool shows_color(std::FILE* stream) {
  const auto set = [](const char* name) {
    const char* text = std::getenv(name);
    return std::string_view(text ? text : "");
  };
  const std::string_view terminal = set("TERM");
  return set("NO_COLOR").empty() && !terminal.empty() && terminal != "dumb" && isatty(fileno(stream)) == 1;
}

// Into a file beside the target, then a rename: whoever reads the target never sees half a dump. A link stays one, and
// what is no file, such as /dev/null or a pipe, is written to and not replaced.
void write_dump(const Tape& tape, const std::string& path, const DumpOptions& options, Location where) {
  namespace fs = std::filesystem;
  const std::string text = dump(tape, options, where);
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  const bool replace = !fs::exists(status) || fs::is_regular_file(status) || fs::is_directory(status);
  fs::path target = path;
  if (fs::exists(status)) target = fs::canonical(path, error);
  const std::string beside = replace ? fmt::format("{}.{}.tmp", target.string(), getpid()) : path;
  errno = 0;
  std::ofstream file(beside, std::ios::binary);
  file << text;
  file.close();
  error.clear();
  if (file) {
    if (replace) fs::rename(beside, target, error);
    if (!error) return;
  }
  const std::string reason = error ? error.message() : std::strerror(errno);
  if (replace) fs::remove(beside, error);
  fail(path, reason, where);
}

}  // namespace ebb
