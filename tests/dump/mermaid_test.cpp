// Mermaid: what a dump says is in the grammar of its flowcharts, and Mermaid itself draws it.
#include "tests/dump/support/mermaid.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <set>

#include "tests/dump/support/browser.h"
#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"

namespace ebb {

void test::expect_mermaid(const std::string& text) {
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

namespace {

using test::expect_mermaid;
using test::graphs;

TEST(Mermaid, IsWellFormed) {
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

// Debian has no package of Mermaid. `./dev deps --ci` brings its mermaid.min.js to out/, if npm is there; EBB_MERMAID
// names another.
std::string mermaid() {
  if (const char* named = std::getenv("EBB_MERMAID")) return named;
  const std::filesystem::path fetched = std::filesystem::path(EBB_TEST_DIR) / "../../out/mermaid.min.js";
  return std::filesystem::exists(fetched) ? std::filesystem::canonical(fetched).string() : std::string();
}

TEST(Mermaid, DrawsThem) {
  const std::string script = mermaid();
  const std::string browser = test::browser();
  if (script.empty() || browser.empty()) {
    GTEST_SKIP() << "Mermaid (./dev deps --ci, with npm) or Chromium is missing: only the grammar was checked";
  }
  namespace fs = std::filesystem;
  const fs::path folder = fs::path(EBB_TEST_OUTPUT) / "mermaid";
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

TEST(Mermaid, TellsForwardFromBackward) {
  Tape tape;
  test::nine_steps(tape);
  const std::string text = dump(tape, DumpFormat::mermaid, {.source_lines = false});
  EXPECT_NE(text.find("n4[\"step 2: xmu<br/>= x - mu<br/>f64[4, 3] %4<br/>96 B, 12 flops\"]:::forward\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("  n4 --> n5\n"), std::string::npos) << text;
  EXPECT_NE(text.find("  a0 ==> n18\n"), std::string::npos) << text;
  EXPECT_NE(text.find("(\"step 9: dgammax<br/>= dout<br/>∂out/∂gammax = 1\"):::aliasBackward\n"), std::string::npos)
      << text;
  EXPECT_NE(text.find(" stroke:#c62828\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace ebb
