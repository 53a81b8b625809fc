// Graphviz draws what a dump says, or is missing, which an error says.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"
#include "tests/support/thrown.h"

namespace ebb {
namespace {

namespace fs = std::filesystem;
using test::read;

// Draws the tape with Graphviz; empty where it is not installed.
std::string drawn(const Tape& tape, const DumpOptions& options = {}) {
  const fs::path path = fs::path(testing::TempDir()) / "ebb_dump_test.svg";
  DumpOptions drawing = options;
  drawing.format = DumpFormat::svg;
  try {
    write_dump(tape, path.string(), drawing);
  } catch (const IoError& error) {
    EXPECT_NE(std::string(error.what()).find("dot was not found"), std::string::npos) << error.what();
    return {};
  }
  const std::string svg = read(path);
  fs::remove(path);
  EXPECT_NE(svg.find("</svg>"), std::string::npos);
  return svg;
}
constexpr char kNoGraphviz[] = "Graphviz is not installed (apt install graphviz): drawings were not rendered";

TEST(Graphviz, DrawsThem) {
  std::string all;
  for (const auto build : {+[](Tape& tape) { test::nine_steps(tape); }, +[](Tape& tape) { test::two_layers(tape); },
                           +test::batch_norm_of_images, +test::second_order, +test::hostile_names}) {
    Tape tape;
    build(tape);
    for (const bool fold : {true, false}) {
      all = drawn(tape, {.title = "a \"title\"", .values = true, .fold = fold, .reads = true});
      if (all.empty()) GTEST_SKIP() << kNoGraphviz;
    }
  }
  EXPECT_EQ(all.find("<script>"), std::string::npos);
  EXPECT_NE(all.find("&lt;script&gt;"), std::string::npos);
  EXPECT_NE(all.find("line one\\nline"), std::string::npos);
  EXPECT_EQ(all.find("x01n"), std::string::npos);  // Graphviz would put a node's name for \N
  EXPECT_NE(all.find("\xce\xb3"), std::string::npos);
}

TEST(Graphviz, Missing) {
  const std::string before = std::getenv("PATH") ? std::getenv("PATH") : "";
  Tape tape;
  setenv("PATH", "/nonexistent", 1);
  const std::string error = test::thrown<IoError>([&] {
    write_dump(tape, "never.svg", {.format = DumpFormat::svg}, {"demo.cpp", 7});
  });
  setenv("PATH", before.c_str(), 1);
  EXPECT_EQ(
      error,
      "dump: Graphviz places and draws the nodes, and its program dot was not found. Install it with `apt install "
      "graphviz`, or take a format that needs none, such as DumpFormat::dot. (demo.cpp:7)");
  EXPECT_FALSE(fs::exists("never.svg"));
}

}  // namespace
}  // namespace ebb
