// The formats beside the table and the drawing: the tree, Mermaid, and Markdown with LaTeX.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include <ebb/engine/dump/formats/latex.h>

#include "tests/dump/browser.h"
#include "tests/dump/golden.h"
#include "tests/dump/graphs.h"
#include "tests/support/thrown.h"

namespace ebb {
namespace {

using detail::Notation;

constexpr DumpFormat kFormats[] = {DumpFormat::tree, DumpFormat::mermaid, DumpFormat::markdown};

const std::map<std::string, void (*)(Tape&)>& graphs() {
  static const std::map<std::string, void (*)(Tape&)> all{
      {"nine_steps", [](Tape& tape) { test::nine_steps(tape); }},
      {"scopes", [](Tape& tape) { test::two_layers(tape); }},
      {"blocks", [](Tape& tape) { test::blocks(tape, 5); }},
      {"batch_norm", test::batch_norm_of_images},
      {"second_order", test::second_order},
      {"hostile", test::hostile_names},
  };
  return all;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(Formats, GoldenDumps) {
  for (const char* name : {"nine_steps", "scopes", "second_order", "hostile"}) {
    Tape tape;
    graphs().at(name)(tape);
    test::expect_golden(fmt::format("{}.tree.txt", name), dump(tape, DumpFormat::tree));
    test::expect_golden(fmt::format("{}.mmd", name), dump(tape, DumpFormat::mermaid));
    test::expect_golden(fmt::format("{}.md", name), dump(tape, DumpFormat::markdown));
  }
  Tape tape;
  test::blocks(tape, 4);
  const DumpOptions small{.depth = 1, .fold_repeats = true};
  test::expect_golden("blocks_both.tree.txt", dump(tape, DumpFormat::tree, small));
  test::expect_golden("blocks_both.mmd", dump(tape, DumpFormat::mermaid, small));
  test::expect_golden("blocks_both.md", dump(tape, DumpFormat::markdown, small));
}

TEST(Formats, TwoRunsAreByteIdentical) {
  for (const auto& [name, build] : graphs()) {
    for (const DumpFormat format : kFormats) {
      const auto run = [format, build = build] {
        Tape tape;
        build(tape);
        return dump(tape, format, {.values = true});
      };
      EXPECT_EQ(run(), run()) << name;
    }
  }
}

TEST(Formats, LargeGraphsTakeLinearTime) {
  const auto seconds = [](int n) {
    Tape tape(Tape::Mode::trace);
    test::blocks(tape, n);
    const auto begin = std::chrono::steady_clock::now();
    for (const DumpFormat format : kFormats) {
      EXPECT_GT(dump(tape, format).size(), 1000u);
      EXPECT_GT(dump(tape, format, {.depth = 1, .fold_repeats = true}).size(), 500u);
    }
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  const double small = seconds(200);
  const double large = seconds(2000);
  EXPECT_LT(large, 40 * std::max(small, 0.01)) << small << " s against " << large << " s";
}

TEST(Formats, TreeHangsPartsBelowTheirFormula) {
  Tape tape;
  test::nine_steps(tape);
  const std::string tree = dump(tape, DumpFormat::tree, {.source_lines = false});
  EXPECT_NE(tree.find("├─ step 5\n│  └─ sqrtvar = sqrt(var + 1e-05)  f64[3], 24 B, 3 flops, used 2 times\n"
                      "│     └─ %8 = var + 1e-05  f64[3], 24 B, 3 flops\n"),
            std::string::npos)
      << tree;
  EXPECT_NE(tree.find("└─ step 0\n   └─ dx = dx1 + dx2  f64[4, 3], 96 B, 12 flops, sum at x\n"), std::string::npos)
      << tree;
}

TEST(Formats, TreeShowsEveryNodeOnce) {
  for (const auto& [name, build] : graphs()) {
    Tape tape;
    build(tape);
    const std::string tree = dump(tape, DumpFormat::tree);
    std::size_t entries = 0;
    for (const std::string& line : lines_of(tree)) entries += line.find("─ ") != std::string::npos ? 1 : 0;
    const Graph graph = describe(tape);
    std::size_t least = graph.aliases.size();
    for (const GraphNode& node : graph.nodes) least += node.role == Role::constant ? 0 : 1;
    EXPECT_GE(entries, least) << name << "\n" << tree;
    for (const GraphNode& node : graph.nodes) {
      if (node.role == Role::constant || !node.name.empty()) continue;
      std::size_t heads = 0;
      for (const std::string& line : lines_of(tree)) {
        heads += line.find(fmt::format("─ %{} = ", node.id)) != std::string::npos ? 1 : 0;
      }
      EXPECT_EQ(heads, 1u) << name << " %" << node.id << "\n" << tree;
    }
  }
}

TEST(Formats, ColorsAreForTerminals) {
  Tape tape;
  test::nine_steps(tape);
  EXPECT_EQ(dump(tape, DumpFormat::tree).find('\x1b'), std::string::npos);
  EXPECT_NE(dump(tape, DumpFormat::tree, {.color = true}).find("\x1b[1;34mx"), std::string::npos);
  std::FILE* file = std::tmpfile();
  EXPECT_FALSE(shows_color(file));
  std::fclose(file);
}

// The statements of Mermaid's flowcharts that a dump is made of. No quote, tag or number sign that is not an entity may
// stand inside of quotes; every arrow joins boxes that are there; arrows are counted for their colours.
void expect_mermaid(const std::string& text) {
  const std::string label = "\"(?:[^\"#<>`{}\\\\]|#[0-9]+;|<br/>)*\"";
  const std::regex box(fmt::format("^ +([na][0-9]+)(?:\\[{0}\\]|\\({0}\\)):::([a-zA-Z]+)$", label));
  const std::regex subgraph(fmt::format("^ +subgraph (p[0-9a-z]+)\\[{}\\]$", label));
  const std::regex arrow("^  ([na][0-9]+) (?:-->|==>|-\\.->) ([na][0-9]+)$");
  const std::regex other(
      "^ +(?:end|direction TB|classDef [a-zA-Z]+ [-a-z0-9#:,]+|class [a-z0-9,]+ frame|"
      "linkStyle [0-9,]+ stroke:#[0-9a-f]{6})$");
  const std::regex number("[ ,]([0-9]+)");
  std::set<std::string> boxes, ids;
  std::vector<std::string> ends;
  std::size_t arrows = 0;
  int depth = 0;
  std::vector<std::string> lines = lines_of(text);
  ASSERT_FALSE(lines.empty());
  std::size_t first = 0;
  if (lines[0] == "---") {
    EXPECT_TRUE(std::regex_match(lines.at(1), std::regex("^title: " + label + "$"))) << lines[1];
    EXPECT_EQ(lines.at(2), "---");
    first = 3;
  }
  ASSERT_EQ(lines.at(first), "flowchart TB");
  for (std::size_t i = first + 1; i < lines.size(); ++i) {
    std::smatch match;
    const std::string& line = lines[i];
    if (std::regex_match(line, match, box)) {
      EXPECT_TRUE(boxes.insert(match[1]).second) << line;
      EXPECT_NE(text.find("classDef " + match[2].str() + " "), std::string::npos) << line;
    } else if (std::regex_match(line, match, subgraph)) {
      EXPECT_TRUE(ids.insert(match[1]).second) << line;
      ++depth;
    } else if (std::regex_match(line, match, arrow)) {
      ++arrows;
      ends.push_back(match[1]);
      ends.push_back(match[2]);
    } else {
      EXPECT_TRUE(std::regex_match(line, other)) << line;
      if (line.ends_with(" end")) --depth;
      if (line.find("linkStyle") == std::string::npos) continue;
      for (std::sregex_iterator n(line.begin(), line.end(), number), none; n != none; ++n) {
        EXPECT_LT(std::stoul((*n)[1]), arrows);
      }
    }
  }
  EXPECT_EQ(depth, 0);
  for (const std::string& end : ends) EXPECT_TRUE(boxes.contains(end)) << end;
}

TEST(Formats, MermaidIsWellFormed) {
  for (const auto& [name, build] : graphs()) {
    Tape tape;
    build(tape);
    for (const bool fold : {true, false}) {
      SCOPED_TRACE(name);
      expect_mermaid(dump(tape, DumpFormat::mermaid,
                          {.title = "a \"title\" <b>#</b>", .values = true, .fold = fold, .reads = true}));
      expect_mermaid(dump(tape, DumpFormat::mermaid, {.depth = 1, .fold_repeats = true, .fold = fold}));
      expect_mermaid(dump(tape, DumpFormat::mermaid, {.focus = tape.var(0), .radius = 1, .fold = fold}));
    }
  }
}

// Debian has no package of Mermaid: where EBB_MERMAID names its mermaid.min.js (npm install mermaid), it draws them.
TEST(Formats, MermaidDrawsThem) {
  const char* script = std::getenv("EBB_MERMAID");
  const std::string browser = test::browser();
  if (!script || browser.empty()) {
    GTEST_SKIP() << "EBB_MERMAID names no mermaid.min.js, or Chromium is missing: only the grammar was checked";
  }
  namespace fs = std::filesystem;
  const fs::path folder = fs::absolute("mermaid");
  fs::remove_all(folder);
  fs::create_directories(folder);
  std::string page = fmt::format("<!doctype html><meta charset=\"utf-8\"><script src=\"{}\"></script>", script);
  std::string ids;
  for (const auto& [name, build] : graphs()) {
    Tape tape;
    build(tape);
    std::string text;
    for (const char c : dump(tape, DumpFormat::mermaid, {.title = name, .values = true, .reads = true})) {
      text += c == '&' ? "&amp;" : c == '<' ? "&lt;" : std::string(1, c);
    }
    page += fmt::format("<pre id=\"{}\">{}</pre><div id=\"{}_drawn\">\n</div>\n", name, text, name);
    ids += fmt::format("\"{}\",", name);
  }
  page += fmt::format(
      "<script>mermaid.initialize({{startOnLoad: false}});(async () => {{for (const id of [{}]) {{try {{"
      "const {{svg}} = await mermaid.render(id + '_svg', document.getElementById(id).textContent);"
      "document.getElementById(id + '_drawn').innerHTML = svg;document.body.append('drawn:' + id + ' ');"
      "}} catch (error) {{ document.body.append('failed:' + id + ' ' + error); }} }} }})();</script>",
      ids);
  std::ofstream(folder / "page.html") << page;
  const std::string command = fmt::format(
      "timeout 100 '{}' --headless --no-sandbox --disable-gpu --virtual-time-budget=30000 --user-data-dir='{}' "
      "--dump-dom "
      "'file://{}' 2>/dev/null >'{}'",
      browser, (folder / "profile").string(), (folder / "page.html").string(), (folder / "drawn.html").string());
  ASSERT_EQ(std::system(command.c_str()), 0);
  const std::string drawn = test::read(folder / "drawn.html");
  for (const auto& [name, build] : graphs()) {
    EXPECT_NE(drawn.find("drawn:" + name), std::string::npos) << drawn.substr(drawn.find("failed:"), 400);
  }
  EXPECT_EQ(drawn.find("<script>alert"), std::string::npos);
}

TEST(Formats, MermaidTellsForwardFromBackward) {
  Tape tape;
  test::nine_steps(tape);
  const std::string text = dump(tape, DumpFormat::mermaid, {.source_lines = false});
  EXPECT_NE(text.find("n4[\"step 2: xmu<br/>= x - mu<br/>f64[4, 3] %4 96 B, 12 flops\"]:::forward\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  n4 --> n5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  a0 ==> n18\n"), std::string::npos) << text;
  EXPECT_NE(text.find("(\"step 9: dgammax<br/>= dout<br/>∂out/∂gammax = 1\"):::aliasBackward\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find(" stroke:#c62828\n"), std::string::npos) << text;
}

TEST(Formats, HostileNamesStayText) {
  Tape tape;
  test::hostile_names(tape);
  EXPECT_EQ(dump(tape, DumpFormat::mermaid).find("<script"), std::string::npos);
  for (const DumpFormat format : kFormats) {
    const std::string text = dump(tape, format, {.title = "line one\nline two `<script>`"});
    EXPECT_EQ(text.find("one\nline"), std::string::npos);
    EXPECT_EQ(text.find('\x01'), std::string::npos);
  }
  // In Markdown names stand in code, and formulas call such a node by its number.
  for (const std::string& line : lines_of(dump(tape, DumpFormat::markdown, {.title = "`<script>` *a* [b](c)"}))) {
    const std::size_t at = line.find("<script");
    if (at != std::string::npos) {
      EXPECT_EQ(std::count(line.begin(), line.begin() + static_cast<std::ptrdiff_t>(at), '`') % 2, 1) << line;
    }
    if (line.starts_with("# ")) {
      EXPECT_EQ(line, "# \\`&lt;script&gt;\\` \\*a\\* \\[b\\]\\(c\\)");
    }
  }
}

TEST(Formats, FormulasInLatex) {
  Tape tape;
  test::nine_steps(tape);
  const Notation notation(describe(tape));
  const std::map<std::string, std::string> expected{
      {"x - mu", "x - \\mu"},
      {"xmu * xmu", "\\mathit{xmu}^{2}"},
      {"sqrt(var + 1e-05)", "\\sqrt{\\mathit{var} + 10^{-5}}"},
      {"1 / sqrtvar", "\\frac{1}{\\mathit{sqrtvar}}"},
      {"dxmu1 + dxmu2", "d\\mathit{xmu}_{1} + d\\mathit{xmu}_{2}"},
      {"sum(dgammax * xhat, axes=[0])", "\\sum_{\\text{axis } 0} d\\mathit{gammax} \\odot \\mathit{xhat}"},
      {"mean(x, axes=[0, 1])", "\\mathop{\\mathrm{mean}}_{\\text{axis } 0,\\, 1} \\left(x\\right)"},
      {"-(ivar * ivar) * divar", "-\\mathit{ivar}^{2} \\odot d\\mathit{ivar}"},
      {"a + (b + c)", "a + \\left(b + c\\right)"},
      {"a - b - c", "a - b - c"},
      {"(a + b) * c", "\\left(a + b\\right) \\odot c"},
      {"2 * x", "2 \\cdot x"},
      {"exp(-x)", "e^{-x}"},
      {"matmul(x, w, transpose_b=true)", "x\\, w^{\\top}"},
      {"where(x > 0, x, 0)", "\\begin{cases} x & \\text{if } x \\gt 0 \\\\ 0 & \\text{otherwise} \\end{cases}"},
      {"%12 + 1.5e+20", "v_{12} + 1.5 \\cdot 10^{20}"},
      {"conv(x, w, stride=[1, 2])", "\\mathrm{conv}\\left(x,\\, w,\\, \\mathrm{stride} = [1,\\, 2]\\right)"},
      {"`net fc`", "\\mathit{?}"},
      {"not a ) formula", "\\texttt{not a ) formula}"},
      {std::string(100000, '('), ""},
      {std::string(100000, '-') + "x", ""},
  };
  for (const auto& [formula, latex] : expected) {
    const std::string text = notation.formula(formula);
    EXPECT_TRUE(latex.empty() || text == latex) << formula << " is " << text;
  }
}

TEST(Formats, EveryFormulaOfARowIsRead) {
  for (const Row* row : all_rows()) {
    if (!row->expression) continue;
    std::vector<lane::Symbol> operands(static_cast<std::size_t>(row->arity));
    for (std::size_t i = 0; i < operands.size(); ++i) operands[i].word = static_cast<char>('a' + i);
    Tape tape;
    const std::string text = Notation(describe(tape)).formula(row->expression(operands).text());
    EXPECT_EQ(text.find("\\texttt"), std::string::npos) << row->name << ": " << text;
    EXPECT_EQ(std::ranges::count(text, '{'), std::ranges::count(text, '}')) << text;
  }
}

TEST(Formats, MarkdownExplainsTheNineSteps) {
  Tape tape;
  test::nine_steps(tape);
  const std::string text = dump(tape, DumpFormat::markdown, {.title = "Batch normalization"});
  const auto has = [&](const std::string& part) { return text.find(part) != std::string::npos; };
  EXPECT_TRUE(has("# Batch normalization\n"));
  EXPECT_TRUE(has("$x$ goes two ways from here, to $\\mu$ and $\\mathit{xmu}$."));
  EXPECT_TRUE(has("$x$ went two ways on the way forward, to $\\mu$ and $\\mathit{xmu}$."));
  EXPECT_TRUE(has("$\\beta$ was repeated along axis 0: each of its elements had a part in 4 elements"));
  EXPECT_TRUE(has("`mean` took 4 elements of $\\mathit{sq}$ to one"));
  EXPECT_TRUE(has("the derivative of $\\mathit{ivar}$ by $\\mathit{sqrtvar}$, which is $-\\mathit{ivar}^{2}$."));
  std::size_t at = 0;
  for (const char* heading :
       {"## Forward", "### Step 1\n", "### Step 9\n", "## Backward", "### Step 9\n", "### Step 1\n", "### Step 0\n"}) {
    at = text.find(heading, at);
    ASSERT_NE(at, std::string::npos) << heading;
    ++at;
  }
  // Each formula stands between fences of its own.
  std::size_t fences = 0;
  for (const std::string& line : lines_of(text)) fences += line == "$$" ? 1 : 0;
  EXPECT_EQ(fences % 2, 0u);
  EXPECT_GT(fences, 40u);
}

// --- recordings that failed ------------------------------------------------------------------------------------------

TEST(FailedRecording, IsDumpedUpToTheFailure) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "x");
  const Var w = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "w");
  const auto scope = tape.scope("net", {"net.cpp", 7});
  const Var h = tape.name(x * 2, "h");
  const std::string message = test::thrown<ShapeError>([&] { matmul(h, w); });
  const Graph graph = describe(tape);
  ASSERT_EQ(graph.nodes.size(), tape.size() + 1);
  const GraphNode& failed = graph.nodes.back();
  EXPECT_EQ(failed.role, Role::failed);
  EXPECT_EQ(failed.message, message);
  EXPECT_EQ(failed.formula, "matmul(h, w)");
  EXPECT_EQ(failed.inputs, (std::vector<NodeId>{h.id(), w.id()}));
  EXPECT_EQ(graph.scopes[failed.scope].path, "net");
  const std::string text = dump(tape, {.source_lines = false});
  EXPECT_TRUE(text.starts_with("tape: 4 nodes\n")) << text;
  EXPECT_NE(text.find("= matmul(h, w)  matmul                           failed  net\n          " + message + "\n"),
            std::string::npos)
      << text;
  EXPECT_NE(dump(tape, DumpFormat::tree).find("failed: " + message), std::string::npos);
  EXPECT_NE(dump(tape, DumpFormat::dot).find("failed: matmul: inner"), std::string::npos);
  const std::string mermaid = dump(tape, DumpFormat::mermaid);
  EXPECT_NE(mermaid.find("failed: matmul: inner"), std::string::npos) << mermaid;
  EXPECT_NE(mermaid.find(":::failed"), std::string::npos) << mermaid;
  expect_mermaid(mermaid);
  EXPECT_NE(dump(tape, DumpFormat::markdown).find("**Here the recording failed**, at $h\\, w$"), std::string::npos)
      << dump(tape, DumpFormat::markdown);
  for (const DumpFormat format : kFormats) {
    EXPECT_NE(dump(tape, format, {.depth = 0, .fold_repeats = true}).find("matmul"), std::string::npos);
  }
  // It is nobody's ancestor, and comes after every `to`.
  EXPECT_EQ(dump(tape, {.outputs = {h}}).find("failed"), std::string::npos);
  EXPECT_EQ(dump(tape, {.to = h}).find("failed"), std::string::npos);
}

// What is measured differs from run to run; where it stands does not.
TEST(Formats, TimesAreThereWhenAskedFor) {
  Tape tape;
  test::nine_steps(tape);
  for (const DumpFormat format : {DumpFormat::text, DumpFormat::tree, DumpFormat::markdown, DumpFormat::dot,
                                  DumpFormat::mermaid, DumpFormat::json}) {
    const std::regex time(format == DumpFormat::json ? "\"seconds\"" : "[0-9] [num]s\\b");
    const std::string without = dump(tape, format);
    EXPECT_FALSE(std::regex_search(without, time)) << without;
    const std::string with = dump(tape, format, {.times = true});
    EXPECT_TRUE(std::regex_search(with, time)) << with;
  }
  for (const GraphNode& node : describe(tape, {.times = true}).nodes) {
    const bool computed = node.role != Role::constant && node.kind != Kind::source;
    EXPECT_EQ(node.seconds.has_value(), computed) << node.formula;
    EXPECT_TRUE(!computed || *node.seconds > 0) << node.formula;
  }
  EXPECT_EQ(duration(2.5e-7), "250 ns");
  EXPECT_EQ(duration(1.25e-5), "12.5 us");
  EXPECT_EQ(duration(0.25), "250 ms");
  EXPECT_EQ(duration(3), "3 s");
}

TEST(Formats, TimesAreOfNodesThatWereComputed) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({4}, 1, DType::f64), "x");
  const Var y = tape.name(exp(x), "y");
  const Graph graph = describe(tape, {.times = true});
  EXPECT_FALSE(graph.nodes[graph.index_of(x.id())].seconds) << "a leaf is given";
  EXPECT_GT(graph.nodes[graph.index_of(y.id())].seconds.value(), 0);
  for (const GraphNode& node : describe(tape).nodes) EXPECT_FALSE(node.seconds) << "nobody asked";
  Tape traced(Tape::Mode::trace);
  test::two_layers(traced);
  for (const GraphNode& node : describe(traced, {.times = true}).nodes) EXPECT_FALSE(node.seconds) << node.formula;
}

TEST(FailedRecording, EndsWithTheNextNode) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "x");
  EXPECT_EQ(tape.refused(), nullptr);
  EXPECT_THROW(matmul(x, x), ShapeError);
  ASSERT_NE(tape.refused(), nullptr);
  EXPECT_EQ(tape.refused()->row->name, "matmul");
  x * 2;
  EXPECT_EQ(tape.refused(), nullptr);
  EXPECT_EQ(dump(tape).find("failed"), std::string::npos);
}

TEST(FailedRecording, OfAStepLeavesItsLastCall) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "x");
  EXPECT_THROW(tape.step([&] { return matmul(exp(x * 3), x).item(); }), ShapeError);
  EXPECT_EQ(tape.size(), 1u);
  const Graph graph = describe(tape);
  ASSERT_EQ(graph.nodes.size(), 2u);
  EXPECT_EQ(graph.nodes.back().formula, "matmul(%3, x)");  // %3 is gone
  EXPECT_EQ(graph.nodes.back().inputs, std::vector<NodeId>{x.id()});
}

TEST(FailedRecording, OfANonFiniteValueNamesIt) {
  Tape tape;
  tape.set_anomaly(true);
  const Var x = tape.leaf(Tensor::full({2}, -1, DType::f64), "x");
  EXPECT_THROW(log(x) + 1, Error);
  const std::string text = dump(tape);
  EXPECT_NE(text.find("= log(x)"), std::string::npos) << text;
  EXPECT_NE(text.find("failed"), std::string::npos) << text;
}

TEST(Formats, MarkdownSummarisesLargeTensors) {
  Tape tape;
  tape.leaf(Tensor::full({100}, 1.5, DType::f64), "x");
  const std::string text = dump(tape, DumpFormat::markdown);
  EXPECT_NE(text.find("The 100 values of $x$ lie between $1.5$ and $1.5$, with mean $1.5$ and standard deviation $0$."),
            std::string::npos)
      << text;
}

}  // namespace
}  // namespace ebb
