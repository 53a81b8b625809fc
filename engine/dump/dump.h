// Dumps: a tape as something to read.
//
// One traversal builds a plain description of the graph (graph.h); each format is a writer over it. Ids, names and
// order are those of the tape, so that the same program gives the same bytes on every run, and two dumps can be
// compared.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ebb {

enum class DumpFormat : std::uint8_t {
  text,      ///< an aligned table
  tree,      ///< text by scopes and steps; what a formula spells out hangs below it
  dot,       ///< a drawing for Graphviz
  svg,       ///< that drawing, drawn by Graphviz's program
  mermaid,   ///< a flowchart that Markdown viewers draw
  markdown,  ///< the run as a worked example: formulas in LaTeX, numbers, derivatives and why
  json,      ///< all that is known of the graph, as docs/dump.schema.json describes it
  html,      ///< a page that plays the graph step by step, forward and back; one file that needs no network
};
/// `text`, `dot`: what programs call it.
std::string_view name(DumpFormat format);
/// All of them.
std::span<const DumpFormat> dump_formats();

/// What does the work of some nodes: a fused kernel, a loop of a compiled program.
struct DumpPart {
  std::string title{};
  std::string detail{};              ///< a few words on it
  std::vector<std::string> lines{};  ///< what it computes
  std::vector<NodeId> nodes{};       ///< of the dumped tape
};
struct DumpColumn {
  std::string title{};
  std::vector<DumpPart> parts{};
};

/// More to look at beside the graph on the page: what a compiler made of it, where its digits went.
struct DumpPane {
  std::string title{};
  std::string note{};                             ///< a sentence or two on what it shows
  std::string text{};                             ///< as it stands, or
  std::vector<std::vector<std::string>> table{};  ///< rows of cells, the first its heading; or
  std::vector<DumpColumn> columns{};              ///< drawn beside the graph's nodes, with lines to them; one or two
};

struct DumpOptions {
  DumpFormat format = DumpFormat::text;
  std::string title{};                  ///< a heading; empty for none
  std::optional<Var> from{};            ///< the first node shown, in the order of recording
  std::optional<Var> to{};              ///< the last node shown
  std::vector<Var> outputs{};           ///< only what these are computed from; empty for everything
  std::optional<Var> focus{};           ///< only what is near this node,
  int radius = 2;                       ///< at most so many arrows away
  std::optional<int> depth{};           ///< how many levels of scopes are opened; a scope below them is one node
  std::vector<std::string> collapse{};  ///< further scopes that are one node, by path: `net.block1`
  bool fold_repeats = false;            ///< equal scopes in a row are shown once, with their number: `block1 x 12`
  bool values = false;  ///< the values: small tensors in full, large ones in summary; always in json, html, markdown
  std::int64_t full_values = 64;  ///< the most elements a tensor has that is shown in full
  bool times = false;             ///< what each node takes, measured now: no two dumps are equal
  bool source_lines = true;       ///< the user's line of each node
  bool color = false;             ///< text and tree: colours for a terminal
  bool fold = true;               ///< dot, mermaid: an unnamed part of a named formula is drawn inside its box
  std::vector<DumpPane> panes{};  ///< html: what can be switched on beside the graph
  bool reads = false;             ///< dot, mermaid: also the edges by which the backward pass reads forward values
};

/// The graph, forward and backward, in `options.format`, with names, steps, formulas, types and source lines.
///
/// Every node is there. A formula spells out the unnamed nodes that nothing else uses (`dvar = 0.5 / sqrtvar *
/// dsqrtvar`), which also have lines of their own; a name that passes a cotangent on is a line too (`dgammax = dout`).
///
/// Throws    UsageError if `from`, `to`, `outputs` or `focus` hold a Var of another tape, if `to` was recorded before
///           `from`, if `radius` or `depth` is negative, or if no scope has a path that `collapse` names; IoError if
///           the format needs Graphviz's program `dot`, and it is not installed or fails.
/// Example   std::cout << dump(tape);   dump(tape, {.format = DumpFormat::dot, .outputs = {loss}});
std::string dump(const Tape& tape, const DumpOptions& options = {}, Location where = Location::current());
std::string dump(const Tape& tape, DumpFormat format, const DumpOptions& options = {},
                 Location where = Location::current());

/// Writes a dump into a file, which is whole or not there.
///
/// Throws    as dump; IoError if the file cannot be written.
/// Example   write_dump(tape, "out/batchnorm.svg", {.format = DumpFormat::svg});
void write_dump(const Tape& tape, const std::string& path, const DumpOptions& options = {},
                Location where = Location::current());

/// Whether a stream is a terminal that shows colours: what DumpOptions::color should be for it. NO_COLOR turns them
/// off.
bool shows_color(std::FILE* stream);

}  // namespace ebb
