// Dumps, compared with golden files. EBB_UPDATE_GOLDEN=1 writes them anew; then read what changed before you commit it.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"
#include "tests/support/thrown.h"

namespace ebb {
namespace {

namespace fs = std::filesystem;
using test::expect_golden;
using test::read;

const DumpOptions kDot{.format = DumpFormat::dot};

// --- golden files
// ------------------------------------------------------------------------------------------------------

TEST(Dump, NineSteps) {
  Tape tape;
  test::nine_steps(tape);
  expect_golden("nine_steps.txt", dump(tape));
  expect_golden("nine_steps.dot", dump(tape, kDot));
  expect_golden("nine_steps_values.txt", dump(tape, {.title = "Batchnorm", .values = true, .full_values = 3}));
  expect_golden("nine_steps_unfolded.dot", dump(tape, {.format = DumpFormat::dot, .fold = false, .reads = true}));
}

TEST(Dump, BatchNormOfImages) {
  Tape tape;
  test::batch_norm_of_images(tape);
  expect_golden("batch_norm.txt", dump(tape));
  expect_golden("batch_norm.dot", dump(tape, kDot));
}

TEST(Dump, Scopes) {
  Tape tape;
  test::two_layers(tape);
  expect_golden("scopes.txt", dump(tape));
  expect_golden("scopes.dot", dump(tape, kDot));
}

TEST(Dump, SecondOrder) {
  Tape tape;
  test::second_order(tape);
  expect_golden("second_order.txt", dump(tape));
  expect_golden("second_order.dot", dump(tape, kDot));
}

TEST(Dump, HostileNames) {
  Tape tape;
  test::hostile_names(tape);
  expect_golden("hostile.txt", dump(tape));
  expect_golden("hostile.dot", dump(tape, kDot));
}

TEST(Dump, Empty) {
  Tape tape;
  EXPECT_EQ(dump(tape), "tape: 0 nodes\n");
  EXPECT_TRUE(describe(tape).sections.empty());
}

TEST(Dump, Color) {
  Tape tape;
  tape.leaf(Tensor::full({2}, 1), "x");
  EXPECT_EQ(dump(tape).find('\x1b'), std::string::npos);
  EXPECT_NE(dump(tape, {.color = true}).find("\x1b[1;34mx"), std::string::npos);
}

// --- what must be true
// -------------------------------------------------------------------------------------------------

TEST(Dump, TwoRunsAreByteIdentical) {
  const auto run = [](DumpFormat format) {
    Tape tape;
    test::nine_steps(tape);
    test::two_layers(tape);
    return dump(tape, {.format = format, .values = true});
  };
  EXPECT_EQ(run(DumpFormat::text), run(DumpFormat::text));
  EXPECT_EQ(run(DumpFormat::dot), run(DumpFormat::dot));
}

TEST(Dump, NineStepsReadAsTheArticleDoes) {
  Tape tape;
  test::nine_steps(tape);
  const std::string text = dump(tape, {.source_lines = false});
  // Each line is cut at its op, and runs of blanks are one.
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) {
    std::string words;
    std::istringstream parts(line);
    for (std::string word; parts >> word;) words += (words.empty() ? "" : " ") + word;
    lines.push_back(words);
  }
  const auto has = [&](const std::string& step, const std::string& formula) {
    for (const std::string& line : lines) {
      if (line.starts_with(step + " ") && line.find(formula) != std::string::npos) return true;
    }
    return false;
  };
  EXPECT_TRUE(has("9", "dgammax = dout"));
  EXPECT_TRUE(has("9", "dbeta = sum(dout, axes=[0])"));
  EXPECT_TRUE(has("8", "dgamma = sum(dgammax * xhat, axes=[0])"));
  EXPECT_TRUE(has("8", "dxhat = dgammax * gamma"));
  EXPECT_TRUE(has("7", "divar = sum(dxhat * xmu, axes=[0])"));
  EXPECT_TRUE(has("7", "dxmu1 = dxhat * ivar"));
  EXPECT_TRUE(has("6", "dsqrtvar = -(ivar * ivar) * divar"));
  EXPECT_TRUE(has("5b", "dvar = 0.5 / sqrtvar * dsqrtvar"));
  EXPECT_TRUE(has("4", "dsq = broadcast_to(dvar / 4, shape=[4, 3])"));
  EXPECT_TRUE(has("3", "dxmu2 = 2 * dsq * xmu"));
  EXPECT_TRUE(has("2", "dxmu = dxmu1 + dxmu2"));
  EXPECT_TRUE(has("2", "dx1 = dxmu"));
  EXPECT_TRUE(has("2", "dmu = -sum(dxmu, axes=[0])"));
  EXPECT_TRUE(has("1", "dx2 = broadcast_to(dmu / 4, shape=[4, 3])"));
  EXPECT_TRUE(has("0", "dx = dx1 + dx2"));
}

TEST(Dump, EveryNodeIsFound) {
  Tape tape;
  test::nine_steps(tape);
  test::two_layers(tape);
  test::second_order(tape);
  const std::string text = dump(tape);
  const std::string dot = dump(tape, kDot);
  const Graph graph = describe(tape);
  ASSERT_EQ(graph.nodes.size(), tape.size());
  for (const GraphNode& node : graph.nodes) {
    const std::string id = "%" + std::to_string(node.id) + (node.role == Role::constant ? " =" : " ");
    EXPECT_NE(text.find(id), std::string::npos) << id;
    if (node.role != Role::constant) {
      const std::string number = "%" + std::to_string(node.id);
      EXPECT_TRUE(dot.find(number + " ") != std::string::npos || dot.find(number + "<") != std::string::npos) << id;
    }
  }
}

TEST(Dump, ThreeContributionsAreOneSum) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2, DType::f64), "x");
  const Var y = tape.name(x * 2 + (x * 3 + x), "y");
  pullback(y, tape.leaf(Tensor::full({3}, 1, DType::f64), "dy"), x);
  EXPECT_NE(dump(tape).find("= dx1 + dx2 + dx3"), std::string::npos) << dump(tape);
}

TEST(Dump, OneCotangentTwice) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2, DType::f64), "x");
  pullback(tape.name(x + x, "y"), tape.leaf(Tensor::full({3}, 1, DType::f64), "g"), x);
  const std::string text = dump(tape);
  EXPECT_NE(text.find("dx1  = g"), std::string::npos) << text;
  EXPECT_NE(text.find("dx2  = g"), std::string::npos) << text;
  EXPECT_NE(text.find("dx   = dx1 + dx2"), std::string::npos) << text;
}

TEST(Dump, LiteralCotangentIsAnAlias) {
  Tape tape;
  const Var a = tape.leaf(Tensor::full({}, 2, DType::f64), "a");
  grad(tape.name(a - 1, "loss"), a);
  EXPECT_NE(dump(tape).find("da   = 1"), std::string::npos) << dump(tape);
}

TEST(Dump, UserNamesGiveAliases) {
  Tape tape;
  const Var a = tape.leaf(Tensor::full({}, 2, DType::f64), "a");
  tape.name(a, "other");
  EXPECT_NE(dump(tape).find("other = a"), std::string::npos) << dump(tape);
}

TEST(Dump, NumberedNamesStayUnique) {
  Tape tape;
  for (const char* name : {"x", "x#2", "x", "x"}) tape.leaf(Tensor::full({}, 2, DType::f64), name);
  EXPECT_EQ(tape.name_texts(), (std::vector<std::string>{"x", "x#2", "x#3", "x#4"}));
}

TEST(Dump, AmbiguousNamesAreQualified) {
  Tape tape;
  test::two_layers(tape);
  const std::string text = dump(tape);
  EXPECT_NE(text.find("matmul(net.fc1.h, w)"), std::string::npos) << text;
}

TEST(Dump, Traced) {
  Tape tape(Tape::Mode::trace);
  test::nine_steps(tape);
  const std::string text = dump(tape, {.values = true});
  EXPECT_TRUE(text.starts_with("tape: 40 nodes, traced (no values)\n")) << text;
  EXPECT_NE(text.find("dx1 + dx2"), std::string::npos);
}

TEST(Dump, ReleasedValues) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2, DType::f64), "x");
  grad(sum(tape.name(exp(x) * exp(x * 2), "y")), x, {.keep = false, .unused = Unused::zeros});
  EXPECT_NE(dump(tape, {.values = true}).find("(released)"), std::string::npos) << dump(tape, {.values = true});
}

TEST(Dump, ValuesInFullAndInSummary) {
  Tape tape;
  tape.leaf(Tensor::of<double>({2, 2}, {1, 2, 3, 4}), "small");
  Tensor large = Tensor::full({100}, 1, DType::f64);
  large.mutable_data<double>()[3] = std::numeric_limits<double>::infinity();
  large.mutable_data<double>()[4] = 3;
  tape.leaf(large, "large");
  const std::string text = dump(tape, {.values = true, .source_lines = false});
  EXPECT_NE(text.find("          [[1, 2],\n           [3, 4]]\n"), std::string::npos) << text;
  EXPECT_NE(text.find("100 values: min 1, mean 1.0202, max 3, deviation 0.19999, 1 not finite"), std::string::npos)
      << text;
}

TEST(Dump, ValuesLeaveLargeBroadcastsAlone) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 3, DType::f64), "x");
  const Var wide = broadcast_to(x, {1000});
  const std::string text = dump(tape, {.values = true});
  EXPECT_NE(text.find("1000 values: min 3, mean 3, max 3"), std::string::npos) << text;
  EXPECT_EQ(tape.node(wide.id()).presence, Presence::lazy);
}

TEST(Dump, Restricted) {
  Tape tape;
  const test::NineSteps g = test::nine_steps(tape);
  const Var xmu = tape.find("xmu");
  const std::string range = dump(tape, {.from = xmu, .to = g.out, .source_lines = false});
  EXPECT_TRUE(range.starts_with("tape: 10 of 40 nodes\n")) << range;
  EXPECT_NE(range.find("= x - mu"), std::string::npos) << range;
  EXPECT_EQ(range.find("backward"), std::string::npos) << range;
  const std::string ancestors = dump(tape, {.outputs = {tape.find("sq")}, .source_lines = false});
  EXPECT_TRUE(ancestors.starts_with("tape: 4 of 40 nodes\n")) << ancestors;
  const Graph graph = describe(tape, {.from = xmu, .to = g.out});
  ASSERT_EQ(graph.outside.size(), 4u);  // x, gamma, beta, mu
  EXPECT_EQ(graph.outside[3].second, "mu");
  EXPECT_NE(dump(tape, {.format = DumpFormat::dot, .from = xmu}).find("n3 [shape=plaintext"), std::string::npos);
}

// --- bad input
// ---------------------------------------------------------------------------------------------------------

TEST(Dump, IntoAMissingFolder) {
  Tape tape;
  EXPECT_EQ(test::thrown<IoError>([&] {
              write_dump(tape, "/nonexistent/a.txt", {}, {"demo.cpp", 7});
            }),
            "dump: cannot write /nonexistent/a.txt, No such file or directory. Name a file in a folder that exists and "
            "may be written. (demo.cpp:7)");
}

class IntoAFolder : public testing::Test {
 protected:
  void SetUp() override {
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::path(EBB_TEST_OUTPUT) / fmt::format("{}_{}", test.test_suite_name(), test.name());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  std::string path(const char* name) const { return (folder_ / name).string(); }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) out.push_back(entry.path().filename());
    std::ranges::sort(out);
    return out;
  }
  std::filesystem::path folder_;
  Tape tape_;
};

TEST_F(IntoAFolder, AFailureLeavesWhatWasThere) {
  std::filesystem::create_directories(folder_ / "taken");
  EXPECT_EQ(
      test::thrown<IoError>([&] {
        write_dump(tape_, path("taken"), {}, {"demo.cpp", 7});
      }),
      fmt::format("dump: cannot write {}, Is a directory. Name a file in a folder that exists and may be written. "
                  "(demo.cpp:7)",
                  path("taken")));
  std::ofstream(folder_ / "kept.txt") << "kept";
  EXPECT_THROW(write_dump(tape_, path("kept.txt"), {.depth = -1}), UsageError);
  EXPECT_EQ(test::read(folder_ / "kept.txt"), "kept");
  EXPECT_EQ(files(), (std::vector<std::string>{"kept.txt", "taken"}));
}

TEST_F(IntoAFolder, ALinkStaysOne) {
  std::ofstream(folder_ / "file.txt") << "old";
  std::filesystem::create_symlink("file.txt", folder_ / "link.txt");
  write_dump(tape_, path("link.txt"));
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link.txt"));
  EXPECT_EQ(test::read(folder_ / "file.txt"), dump(tape_));
  EXPECT_EQ(files(), (std::vector<std::string>{"file.txt", "link.txt"}));
}

TEST_F(IntoAFolder, WhatIsNoFileIsWrittenTo) {
  ASSERT_EQ(mkfifo(path("pipe").c_str(), 0600), 0);
  std::string read;
  std::thread reader([&] { read = test::read(folder_ / "pipe"); });
  write_dump(tape_, path("pipe"));
  reader.join();
  EXPECT_EQ(read, dump(tape_));
  EXPECT_TRUE(std::filesystem::is_fifo(folder_ / "pipe"));
  EXPECT_EQ(files(), std::vector<std::string>{"pipe"});
}

TEST(Dump, WrongVars) {
  Tape tape;
  Tape other;
  const Var a = tape.leaf(Tensor::full({2}, 1), "a");
  const Var b = tape.leaf(Tensor::full({2}, 1), "b");
  const Var c = other.leaf(Tensor::full({2}, 1), "c");
  EXPECT_EQ(test::thrown<UsageError>([&] { dump(tape, {.from = b, .to = a}); }),
            "dump: from %1 was recorded after to %0, which leaves nothing to show. Swap them.");
  EXPECT_EQ(test::thrown<UsageError>([&] { dump(tape, {.outputs = {c}}); }),
            "dump: c is of another tape, so it cannot be one of the outputs. Give a Var that the dumped tape has "
            "recorded.");
  EXPECT_THROW(dump(tape, {.from = Var()}), UsageError);
}

}  // namespace
}  // namespace ebb
