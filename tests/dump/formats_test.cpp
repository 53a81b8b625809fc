// The tree, Markdown with LaTeX, and what holds for every format beside the table and the drawing.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <regex>
#include <sstream>

#include <ebb/engine/dump/formats/latex.h>

#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"

namespace ebb {
namespace {

using detail::Notation;
using test::graphs;
using test::lines_of;

constexpr DumpFormat kFormats[] = {DumpFormat::tree, DumpFormat::mermaid, DumpFormat::markdown};

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

TEST(Formats, ColumnsAreThoseOfATerminal) {
  EXPECT_EQ(columns(""), 0u);
  EXPECT_EQ(columns("dx"), 2u);
  EXPECT_EQ(columns("\u03b3\u00b7x"), 3u);
  EXPECT_EQ(columns("x\u0302"), 1u);             // combining: a circumflex,
  EXPECT_EQ(columns("x\u20d7"), 1u);             // an arrow above,
  EXPECT_EQ(columns("\u05e9\u05b8\u05dc"), 2u);  // a Hebrew vowel,
  EXPECT_EQ(columns("\u0e17\u0e35\u0e48"), 1u);  // a Thai vowel and tone
  EXPECT_EQ(columns("\u6279\u91cf"), 4u);        // wide: Han,
  EXPECT_EQ(columns("\uff38\u3042\ud55c"), 6u);  // full-width, Hiragana, Hangul,
  EXPECT_EQ(columns("\U0001f642\u2705"), 4u);    // emoji
  EXPECT_EQ(columns("\uff71"), 1u);              // half-width Katakana
  EXPECT_EQ(columns("\xff\xfe"), 2u);            // not UTF-8
  EXPECT_EQ(shortened("\u6279\u91cf\u6b63", 4), "\u6279\u91cf...");
  EXPECT_EQ(shortened("\u6279\u91cf\u6b63", 3), "\u6279...");
  EXPECT_EQ(shortened("abx\u0302y", 3), "abx\u0302...");
}

// What stands behind a name begins where it does in every other line.
TEST(Formats, NamesOfAnyLettersKeepTheTableAligned) {
  Tape tape;
  for (const char* name : {"plain", "x\u0302", "\u6279\u91cf", "\U0001f642", "\u05e9\u05dc\u05d5\u05dd"}) {
    tape.leaf(Tensor::full({2}, 1, DType::f64), name);
  }
  EXPECT_EQ(dump(tape, {.source_lines = false}),
            "tape: 5 nodes\n"
            "\n"
            "forward\n"
            "  id  name   op    type    bytes\n"
            "  %0  plain  leaf  f64[2]     16\n"
            "  %1  x\u0302      leaf  f64[2]     16\n"
            "  %2  \u6279\u91cf   leaf  f64[2]     16\n"
            "  %3  \U0001f642     leaf  f64[2]     16\n"
            "  %4  \u05e9\u05dc\u05d5\u05dd   leaf  f64[2]     16\n");
}

TEST(Formats, MarksThatTurnLettersAroundAreVisible) {
  EXPECT_EQ(printable("a\u202eb\u2028c"), "a\\u202eb\\u2028c");
  EXPECT_EQ(printable("\ufeff\u2066"), "\\ufeff\\u2066");
  EXPECT_EQ(printable("\u05e9 \u200d"), "\u05e9 \u200d");
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
