// The dump as an aligned table: one line per node and per alias, in the order of recording, a heading per sweep.
#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace ebb {
namespace {

// A cell wider than this does not widen its column.
constexpr std::size_t kWidest = 64;
constexpr std::size_t kLongestNote = 48;
constexpr std::size_t kLongestLine = 118;  // of the list of literals

enum Column : std::size_t {
  kStep,
  kId,
  kName,
  kFormula,
  kOp,
  kType,
  kBytes,
  kFlops,
  kUses,
  kTime,
  kNote,
  kScope,
  kLine,
  kColumns
};
using Line = std::array<std::string, kColumns>;

struct TableRow {
  Line cells;
  const GraphNode* node = nullptr;
  bool backward = false;
};

class Table {
 public:
  Table(const Graph& graph, const DumpOptions& options) : graph_(graph), options_(options) {}

  std::string write() {
    out_ = heading(graph_);
    collect();
    measure();
    for (std::size_t i = 0; i < graph_.sections.size(); ++i) section(graph_.sections[i], rows_[i]);
    literals();
    return std::move(out_);
  }

 private:
  void collect();
  void measure();
  void section(const GraphSection& section, const std::vector<TableRow>& rows);
  void line(const TableRow& row, bool header);
  void values(const GraphNode& node);
  void literals();
  TableRow row_of(const GraphNode& node) const;
  TableRow row_of(const GraphAlias& alias) const;
  std::string label(NodeId id) const {
    const std::string text = printable(graph_.label_of(id));
    return columns(text) > kWidest / 2 ? fmt::format("%{}", id) : text;
  }
  // The derivative that a rule multiplies with, where it is not too long.
  std::string rule(const std::string& derivative, NodeId origin) const {
    const std::string text = printable(derivative);
    return text.empty() || columns(text) > kLongestNote ? "rule of " + label(origin) : text;
  }
  std::string scope_of(std::size_t scope) const {
    std::size_t repeats = 1;
    for (std::size_t i = scope; i != 0; i = graph_.scopes[i].parent) repeats *= graph_.scopes[i].repeats;
    return printable(graph_.scopes[scope].path) + times(repeats);
  }

  const Graph& graph_;
  const DumpOptions& options_;
  std::vector<std::vector<TableRow>> rows_;  // by section
  std::array<std::size_t, kColumns> widths_{};
  std::string out_;
};

TableRow Table::row_of(const GraphNode& node) const {
  TableRow row;
  row.node = &node;
  row.backward = node.sweep != 0 || node.role == Role::seed;
  row.cells[kStep] = printable(node.step);
  row.cells[kId] = fmt::format("%{}", node.id);
  row.cells[kName] = printable(node.name) + times(node.repeats);
  if (!node.formula.empty()) {
    row.cells[kFormula] = (node.role == Role::scope ? "" : "= ") + printable(node.formula);
  }
  row.cells[kOp] = node.op;
  row.cells[kType] = type_of(node);
  if (node.role != Role::failed) row.cells[kBytes] = fmt::format("{}", node.bytes);
  if (node.flops > 0) row.cells[kFlops] = fmt::format("{:.10g}", node.flops);
  if (node.uses > 1) row.cells[kUses] = fmt::format("{}", node.uses);
  if (node.seconds) row.cells[kTime] = duration(*node.seconds);
  if (node.role == Role::scope) {
    row.cells[kNote] = fmt::format("{} node{}", node.stands_for, node.stands_for == 1 ? "" : "s");
  } else if (node.role == Role::failed) {
    row.cells[kNote] = "failed";
  } else if (node.role == Role::accumulation) {
    row.cells[kNote] = "sum at " + label(node.origin);
  } else if (node.origin != kNoNode) {
    row.cells[kNote] = rule(node.derivative, node.origin);
  } else if (node.role == Role::seed) {
    row.cells[kNote] = "cotangent";
  }
  row.cells[kScope] = scope_of(node.scope);
  row.cells[kLine] = node.where;
  return row;
}

TableRow Table::row_of(const GraphAlias& alias) const {
  TableRow row;
  row.backward = alias.sweep != 0;
  row.cells[kStep] = printable(alias.step);
  row.cells[kName] = printable(alias.name);
  row.cells[kFormula] = "= " + printable(alias.same_as);
  if (alias.origin != kNoNode) row.cells[kNote] = rule(alias.derivative, alias.origin);
  row.cells[kScope] = scope_of(alias.scope);
  row.cells[kLine] = alias.where;
  return row;
}

void Table::collect() {
  for (const GraphSection& section : graph_.sections) {
    std::vector<TableRow>& rows = rows_.emplace_back();
    for (const GraphStep& step : section.steps) {
      for (const GraphItem& item : step.items) {
        rows.push_back(item.alias ? row_of(graph_.aliases[item.index]) : row_of(graph_.nodes[item.index]));
      }
    }
  }
}

constexpr std::array<std::string_view, kColumns> kTitles{"step",  "id",   "name", "  formula", "op",    "type", "bytes",
                                                         "flops", "uses", "time", "note",      "scope", "line"};

// A column without content is left out, its heading too.
void Table::measure() {
  for (const std::vector<TableRow>& rows : rows_) {
    for (const TableRow& row : rows) {
      for (std::size_t c = 0; c < kColumns; ++c) {
        const std::size_t width = columns(row.cells[c]);
        if (width > 0) widths_[c] = std::max({widths_[c], std::min(width, kWidest), kTitles[c].size()});
      }
    }
  }
  if (!options_.source_lines) widths_[kLine] = 0;
}

void Table::line(const TableRow& row, bool header) {
  std::string text;
  for (std::size_t c = 0; c < kColumns; ++c) {
    if (widths_[c] == 0) continue;
    std::string cell = row.cells[c];
    const std::size_t width = columns(cell);
    const bool number = c == kBytes || c == kFlops || c == kUses || c == kTime;
    if (width < widths_[c]) cell.insert(number ? 0 : cell.size(), widths_[c] - width, ' ');
    if (options_.color && c == kName && !header) {
      cell = fmt::format("\x1b[1;{}m{}\x1b[0m", row.backward ? 31 : 34, cell);
    } else if (options_.color && (header || c == kNote || c == kScope || c == kLine)) {
      cell = fmt::format("\x1b[2m{}\x1b[0m", cell);
    }
    text += c == kFormula ? " " : "  ";
    text += cell;
  }
  while (text.ends_with(' ')) text.pop_back();
  out_ += text + "\n";
}

void Table::values(const GraphNode& node) {
  if (node.role == Role::failed) {
    out_ += (options_.color ? "          \x1b[1;33m" : "          ") + printable(node.message);
    out_ += options_.color ? "\x1b[0m\n" : "\n";
    return;
  }
  if (!options_.values) return;
  if (!node.value) {
    if (node.presence == Presence::released) out_ += "          (released)\n";
    return;
  }
  const std::string text = to_string(*node.value);
  for (std::size_t begin = 0; begin != std::string::npos;) {
    const std::size_t end = text.find('\n', begin);
    out_ += "          " + text.substr(begin, end - begin) + "\n";
    begin = end == std::string::npos ? end : end + 1;
  }
}

void Table::section(const GraphSection& section, const std::vector<TableRow>& rows) {
  out_ += options_.color ? fmt::format("\n\x1b[1m{}\x1b[0m\n", section.title) : fmt::format("\n{}\n", section.title);
  TableRow titles;
  for (std::size_t c = 0; c < kColumns; ++c) titles.cells[c] = kTitles[c];
  line(titles, true);
  for (const TableRow& row : rows) {
    line(row, false);
    if (row.node) values(*row.node);
  }
}

void Table::literals() {
  std::string text;
  std::string line = "literals:";
  for (const GraphNode& node : graph_.nodes) {
    if (node.role != Role::constant) continue;
    const std::string item = fmt::format(" %{} = {}", node.id, node.formula);
    if (line.size() + item.size() > kLongestLine) {
      text += line + "\n";
      line.assign(9, ' ');
    }
    line += item + ",";
  }
  if (line.ends_with(',')) out_ += "\n" + text + line.substr(0, line.size() - 1) + "\n";
}

}  // namespace

std::string heading(const Graph& graph) {
  std::string out;
  if (!graph.title.empty()) out += printable(graph.title) + "\n";
  const auto failed = std::ranges::count(graph.nodes, Role::failed, &GraphNode::role);
  const std::size_t shown = graph.nodes.size() - static_cast<std::size_t>(failed);
  out += shown == graph.tape_size ? fmt::format("tape: {} node{}", shown, shown == 1 ? "" : "s")
                                  : fmt::format("tape: {} of {} nodes", shown, graph.tape_size);
  out += graph.mode == Tape::Mode::trace ? ", traced (no values)\n" : "\n";
  for (const GraphRepeat& repeat : graph.repeats) out += "repeated: " + printable(to_string(repeat)) + "\n";
  return out;
}

std::string write_text(const Graph& graph, const DumpOptions& options) { return Table(graph, options).write(); }

}  // namespace ebb
