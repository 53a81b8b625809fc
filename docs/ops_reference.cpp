// Writes docs/ops.md: what the rows and the headers say of every op, and nothing besides.
//
// Formulas, domains, bounds and facts are the row's; signatures and prose are the declaration's and its docstring; each
// derivative is what the row's rule records when it is traced on sample inputs. A test compares the committed file with
// what this program prints, so that the page cannot fall behind.
#include <ebb/ebb.h>
#include <ebb/engine/check/row/samples.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

namespace {

using namespace ebb;

// --- what the headers say --------------------------------------------------------------------------------------------

struct Declaration {
  std::string name;
  std::string signature;                      // on one line
  std::vector<std::string> operands;          // the names of the parameters that are operands
  std::string summary;                        // the docstring up to its first field
  std::map<std::string, std::string> fields;  // Shapes, Throws, ...
};

const std::vector<std::string> kFields{"Shapes", "Gradient", "Throws", "Error", "Example"};

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(' ');
  return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(' ') - first + 1);
}

void append(std::string& text, const std::string& more) {
  if (!text.empty() && !more.empty()) text += ' ';
  text += more;
}

// The field that begins at a place of a line: its name and at least two blanks.
std::string field_at(const std::string& line, std::size_t at) {
  for (const std::string& field : kFields) {
    if (line.compare(at, field.size(), field) == 0 && line.compare(at + field.size(), 1, " ") == 0) return field;
  }
  return {};
}

void read_docstring(const std::vector<std::string>& lines, Declaration& out) {
  std::string* to = &out.summary;
  for (const std::string& line : lines) {
    std::size_t start = 0;
    for (std::size_t i = 0; i < line.size(); ++i) {
      const bool apart = i == 0 || (i >= 2 && line.compare(i - 2, 2, "  ") == 0);
      const std::string field = apart ? field_at(line, i) : "";
      if (field.empty()) continue;
      append(*to, trimmed(line.substr(start, i - start)));
      to = &out.fields[field];
      start = i + field.size();
    }
    append(*to, trimmed(line.substr(start)));
  }
}

void read_parameters(Declaration& out) {
  const std::string kind = "const Operand& ";
  for (std::size_t at = out.signature.find(kind); at != std::string::npos; at = out.signature.find(kind, at + 1)) {
    const std::size_t from = at + kind.size();
    out.operands.push_back(out.signature.substr(from, out.signature.find_first_of(",) =", from) - from));
  }
}

// The functions of a header that give Vars, in its order. Overloads after the first add nothing.
void read_header(const std::filesystem::path& path, std::vector<Declaration>& out) {
  std::ifstream file(path);
  std::vector<std::string> doc;
  bool fresh = true;  // the docstring belongs to the next declaration; the ones that follow at once share it
  std::string line;
  while (std::getline(file, line)) {
    if (line.starts_with("///")) {
      if (!fresh) doc.clear();
      fresh = true;
      doc.push_back(line.size() > 4 ? line.substr(4) : "");
      continue;
    }
    if (line.starts_with("namespace ebb::")) return;  // what the layer keeps to itself
    if (line.starts_with("inline ")) line.erase(0, 7);
    if ((!line.starts_with("Var ") && !line.starts_with("Vars ")) || line.starts_with("Var operator")) {
      doc.clear();
      continue;
    }
    Declaration declaration;
    for (std::string next = line;; std::getline(file, next)) {
      append(declaration.signature, trimmed(next));
      if (next.ends_with(';') || next.ends_with('{') || next.ends_with('}')) break;
    }
    std::string& signature = declaration.signature;
    signature.resize(signature.find(") {") == std::string::npos ? signature.size() - 1 : signature.find(") {") + 1);
    const std::size_t from = declaration.signature.find(' ') + 1;
    declaration.name = declaration.signature.substr(from, declaration.signature.find('(') - from);
    fresh = false;
    const bool for_rows = declaration.signature.find("Row&") != std::string::npos ||
                          declaration.signature.find("Vjp&") != std::string::npos;
    if (for_rows) continue;
    if (std::ranges::any_of(out, [&](const Declaration& d) { return d.name == declaration.name; })) continue;
    read_docstring(doc, declaration);
    read_parameters(declaration);
    out.push_back(std::move(declaration));
  }
}

std::vector<Declaration> read_headers(const std::filesystem::path& source) {
  std::vector<std::filesystem::path> paths{source / "engine/row/structural.h"};
  for (const auto& entry : std::filesystem::recursive_directory_iterator(source / "ops")) {
    if (entry.path().extension() == ".h") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<Declaration> out;
  for (const auto& path : paths) read_header(path, out);
  std::erase_if(out, [](const Declaration& d) { return d.summary.empty() && d.fields.empty(); });
  return out;
}

// --- what the rows say -----------------------------------------------------------------------------------------------

// Inputs by the names of the declaration, or else a, b, c.
std::vector<std::string> input_names(const Row& row, const Declaration* declaration, std::size_t count) {
  if (declaration && row.arity >= 0 && declaration->operands.size() == count) return declaration->operands;
  std::vector<std::string> out;
  for (std::size_t i = 0; i < count; ++i) out.emplace_back(1, static_cast<char>('a' + i));
  return out;
}

// The lines that a row's rule for input `i` records, as a dump prints them.
std::vector<std::string> recorded_rule(const RowSample& sample, const std::vector<std::string>& names, std::size_t i) {
  Tape tape(Tape::Mode::trace);
  std::vector<Operand> inputs;
  for (std::size_t k = 0; k < sample.inputs.size(); ++k) {
    const Tensor& value = sample.inputs[k];
    inputs.emplace_back(tape.leaf(Tensor::abstract(value.shape(), value.dtype()), names[k]));
  }
  const Var out = tape.name(tape.record(*sample.row, inputs, sample.attrs), "out");
  const Var ct = tape.leaf(Tensor::abstract(out.shape(), out.dtype()), "ct");
  pullback(out, ct, inputs[i].var());
  const Graph graph = describe(tape);
  std::vector<std::string> lines;
  const std::string wanted = "d" + names[i];
  for (const GraphSection& section : graph.sections) {
    if (section.sweep == 0) continue;
    for (const GraphStep& step : section.steps) {
      for (const GraphItem& item : step.items) {
        if (item.alias) {
          const GraphAlias& alias = graph.aliases[item.index];
          if (alias.name == wanted) lines.push_back(alias.name + " = " + alias.same_as);
          continue;
        }
        const GraphNode& node = graph.nodes[item.index];
        if (node.folded_into != kNoNode || node.formula.empty() || node.role == Role::constant) continue;
        lines.push_back(graph.label_of(node.id) + " = " + node.formula);
      }
    }
  }
  return lines;
}

std::string number(double x) { return fmt::format("{:g}", x); }

std::string code(const std::string& text) { return "`" + text + "`"; }

// What a table's cell can hold.
std::string cell(std::string text) {
  for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|', at + 2)) text.insert(at, "\\");
  return text;
}

std::string joined(const std::vector<std::string>& parts, const std::string& between) {
  std::string out;
  for (const std::string& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

class Page {
 public:
  explicit Page(const std::filesystem::path& source) : declarations_(read_headers(source)) {}

  std::string text() {
    out_ =
        "# Every op\n\n"
        "Written by `./dev docs` from the rows and the headers; a test holds it to them. Formulas are what an op's own "
        "code prints;\nderivatives are what its rule records when it is traced (`ct` is the cotangent of `out`, "
        "`%n` a node without a name).\nAn error is in units in the last place (ulp), for f32 and f64 alike, over the "
        "whole domain; of sums it is relative to the\nsum of the absolute terms.\n\n";
    contents();
    for (const auto& [kind, title] : kinds()) {
      const std::vector<const Row*> rows = rows_of(kind);
      if (rows.empty()) continue;
      out_ += "## " + title + "\n\n";
      for (const Row* row : rows) write_row(*row);
    }
    compositions();
    inner_rows();
    return out_;
  }

 private:
  static const std::vector<std::pair<Kind, std::string>>& kinds() {
    static const std::vector<std::pair<Kind, std::string>> list{{Kind::elementwise, "Elementwise"},
                                                                {Kind::reduction, "Reductions"},
                                                                {Kind::scan, "Scans"},
                                                                {Kind::movement, "Movement"},
                                                                {Kind::contraction, "Contractions"},
                                                                {Kind::opaque, "Kernels of their own"}};
    return list;
  }

  const Declaration* declaration_of(std::string_view name) const {
    const auto found = std::ranges::find(declarations_, name, &Declaration::name);
    return found == declarations_.end() ? nullptr : &*found;
  }

  // The rows that a user calls by their name.
  std::vector<const Row*> rows_of(Kind kind) const {
    std::vector<const Row*> out;
    for (const Row* row : all_rows()) {
      if (row->kind == kind && declaration_of(row->name)) out.push_back(row);
    }
    return out;
  }

  std::vector<const Declaration*> composed() const {
    std::vector<const Declaration*> out;
    for (const Declaration& d : declarations_) {
      if (!find_row(d.name)) out.push_back(&d);
    }
    std::ranges::sort(out, {}, &Declaration::name);
    return out;
  }

  void contents() {
    for (const auto& [kind, title] : kinds()) {
      std::vector<std::string> links;
      for (const Row* row : rows_of(kind)) links.push_back(fmt::format("[{0}](#{0})", row->name));
      if (!links.empty()) out_ += fmt::format("- **{}**: {}\n", title, joined(links, ", "));
    }
    std::vector<std::string> names;
    for (const Declaration* d : composed()) names.push_back(d->name);
    out_ += fmt::format("- **[Compositions](#compositions)**: {}\n\n", joined(names, ", "));
  }

  void line(const std::string& what, const std::string& text) {
    if (!text.empty()) out_ += fmt::format("| {} | {} |\n", what, cell(text));
  }

  void write_row(const Row& row) {
    const Declaration& d = *declaration_of(row.name);
    out_ += fmt::format("### {}\n\n```cpp\n{}\n```\n\n", row.name, d.signature);
    out_ += (d.summary.empty() ? "" : d.summary + "\n\n") + "| | |\n|---|---|\n";
    std::vector<RowSample> samples = samples_of(row, DType::f32);
    if (samples.empty()) samples = samples_of(row, DType::i64);
    const std::size_t count =
        samples.empty() ? static_cast<std::size_t>(std::max(row.arity, 0)) : samples[0].inputs.size();
    const std::vector<std::string> names = input_names(row, &d, count);
    if (row.expression) {
      std::vector<lane::Symbol> symbols;
      for (const std::string& name : names) symbols.push_back(lane::Symbol::name(name));
      line("formula", code(row.expression(symbols).text()));
    }
    const auto shapes = d.fields.find("Shapes");
    const std::string elementwise = count == 1 ? names[0] + " [...] -> the same" : joined(names, ", ") + " broadcast";
    line("shapes", shapes != d.fields.end() ? shapes->second
                   : row.oracle             ? elementwise + (row.signature == Signature::predicate ? ", bool" : "")
                                            : "");
    derivatives(row, samples, names);
    if (row.oracle) domain(row);
    const bool exact = row.ulp == 0 || row.signature == Signature::predicate;
    line("error", exact ? "exact" : number(row.ulp) + " ulp");
    facts(row, names);
    if (const auto throws = d.fields.find("Throws"); throws != d.fields.end()) line("throws", throws->second);
    if (const auto example = d.fields.find("Example"); example != d.fields.end())
      line("example", code(example->second));
    out_ += "\n";
  }

  void derivatives(const Row& row, const std::vector<RowSample>& samples, const std::vector<std::string>& names) {
    const auto same_reason = [&](std::size_t i) {
      return !row.vjp[i].differentiable() && row.vjp[i].reason() == row.vjp[0].reason();
    };
    bool none = !names.empty();
    for (std::size_t i = 0; i < names.size(); ++i) none = none && same_reason(i);
    if (none) {
      line("derivative",
           row.vjp[0].reason().empty() ? "none, as asked for" : fmt::format("none: {}", row.vjp[0].reason()));
      return;
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      const VjpRule& rule = row.vjp[i];
      if (!rule.differentiable()) {
        line("derivative by " + names[i], fmt::format("none: {}", rule.reason()));
        continue;
      }
      // Two axes show more than one; but where shapes broadcast, alike ones show the rule alone.
      const int axes = row.oracle ? 1 : 2;
      const auto sample = std::ranges::find_if(samples, [&](const RowSample& s) {
        Tape tape(Tape::Mode::trace);
        return s.inputs[0].rank() >= axes && s.inputs.size() == names.size() && is_floating(s.inputs[i].dtype()) &&
               is_floating(s.record(tape).dtype()) && s.inputs[i].numel() > 1;
      });
      if (sample == samples.end()) continue;
      std::vector<std::string> lines;
      for (const std::string& text : recorded_rule(*sample, names, i)) lines.push_back(code(text));
      std::string text = joined(lines, "<br>");
      if (!sample->attrs.empty()) {
        std::vector<std::string> types;
        for (const Tensor& t : sample->inputs) types.push_back(to_string(t.shape()));
        text += fmt::format(" (on {} with {})", joined(types, ", "), to_string(Attrs(sample->attrs)));
      }
      line("derivative by " + names[i], text);
    }
  }

  void domain(const Row& row) {
    const Domain& d = row.domain;
    std::string text = fmt::format("tested on [{}, {}]", number(d.lo), number(d.hi));
    if (d.margin > 0) text += fmt::format(", derivatives {} away from {}", number(d.margin), number(d.kink));
    line("domain", text);
  }

  void facts(const Row& row, const std::vector<std::string>& names) {
    std::vector<std::string> linear;
    for (std::size_t i = 0; i < names.size(); ++i) {
      if ((row.facts.linear >> i & 1U) != 0) linear.push_back(names[i]);
    }
    std::vector<std::string> all;
    if (!linear.empty()) all.push_back("linear in " + joined(linear, ", "));
    if (row.facts.commutative) all.emplace_back("commutative");
    line("facts", joined(all, "; "));
  }

  void compositions() {
    out_ +=
        "## Compositions\n\nFunctions that record several of the ops above. They have no derivative of their own: it "
        "follows, at every order.\n\n| function | what it gives |\n|---|---|\n";
    for (const Declaration* d : composed()) {
      out_ += fmt::format("| `{}` | {} |\n", cell(d->signature), cell(d->summary));
    }
  }

  // Rows that other ops record.
  void inner_rows() {
    std::string names;
    for (const Row* row : all_rows()) {
      if (declaration_of(row->name) || row->kind == Kind::source) continue;
      names += fmt::format("{}`{}`", names.empty() ? "" : ", ", row->name);
    }
    if (!names.empty()) out_ += "\n## Rows without a function\n\nRecorded by other ops and by sweeps: " + names + ".\n";
  }

  std::vector<Declaration> declarations_;
  std::string out_;
};

std::string contents_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

// ops_reference SOURCE_DIR [--check]: writes docs/ops.md there, or says where it differs from what it should be.
int main(int argc, char** argv) {
  if (argc < 2) {
    std::cerr << "usage: ops_reference SOURCE_DIR [--check]\n";
    return 2;
  }
  const std::filesystem::path source = argv[1];
  const std::filesystem::path path = source / "docs/ops.md";
  const std::string text = Page(source).text();
  if (argc == 2) {
    std::ofstream(path) << text;
    return 0;
  }
  const std::string committed = contents_of(path);
  if (committed == text) return 0;
  const auto at = std::ranges::mismatch(committed, text).in2 - text.begin();
  std::cerr << "docs/ops.md is not what the rows say; ./dev docs writes it anew. The first difference is in line "
            << std::count(text.begin(), text.begin() + at, '\n') + 1 << ".\n";
  return 1;
}
