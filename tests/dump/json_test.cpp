// Dumps as JSON: the schema that users rely on, numbers that come back as they were, text that cannot break out.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"
#include "tests/dump/support/schema.h"

namespace ebb {
namespace {

using nlohmann::json;

json schema() {
  static const json read = json::parse(test::read(std::filesystem::path(EBB_TEST_DIR) / "../../docs/dump.schema.json"));
  return read;
}

json dumped(const Tape& tape, const DumpOptions& options = {}) {
  return json::parse(dump(tape, DumpFormat::json, options));
}

const json& named(const json& graph, const std::string& name) {
  for (const json& node : graph["nodes"]) {
    if (node.value("name", "") == name) return node;
  }
  throw std::runtime_error("no node is named " + name);
}

TEST(DumpJson, IsAsTheSchemaSays) {
  for (const auto build : {+[](Tape& tape) { test::nine_steps(tape); }, +[](Tape& tape) { test::two_layers(tape); },
                           +test::batch_norm_of_images, +test::second_order, +test::hostile_names, +[](Tape&) {}}) {
    Tape tape;
    build(tape);
    EXPECT_EQ(test::violation(dumped(tape), schema()), "");
    EXPECT_EQ(test::violation(dumped(tape, {.depth = 0, .fold_repeats = true}), schema()), "");
    Tape traced(Tape::Mode::trace);
    build(traced);
    EXPECT_EQ(test::violation(dumped(traced), schema()), "");
  }
}

TEST(DumpJson, PartsOfAGraphAreAsTheSchemaSays) {
  Tape tape;
  const test::NineSteps g = test::nine_steps(tape);
  EXPECT_EQ(test::violation(dumped(tape, {.from = tape.find("xmu"), .to = g.out}), schema()), "");
  EXPECT_EQ(test::violation(dumped(tape, {.outputs = {g.gradients[0]}, .full_values = 2}), schema()), "");
}

TEST(DumpJson, AFailedRecordingIsAsTheSchemaSays) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "x");
  EXPECT_THROW(matmul(x, x), ShapeError);
  const json graph = dumped(tape);
  EXPECT_EQ(test::violation(graph, schema()), "");
  EXPECT_EQ(graph["nodes"][1]["role"], "failed");
  EXPECT_TRUE(graph["nodes"][1]["message"].get<std::string>().starts_with("matmul: inner dimensions differ"));
}

// The check itself: what is wrong is found.
TEST(DumpJson, TheSchemaRejectsWhatIsWrong) {
  Tape tape;
  test::nine_steps(tape);
  const json right = dumped(tape);
  const auto wrong = [&](const std::string& place, const json& value) {
    json changed = right;
    changed[json::json_pointer(place)] = value;
    return test::violation(changed, schema());
  };
  EXPECT_EQ(wrong("/nodes/0/role", "root"),
            "/nodes/0/role: \"root\" is none of "
            "[\"leaf\",\"constant\",\"forward\",\"seed\",\"backward\",\"accumulation\",\"scope\",\"failed\"]");
  EXPECT_EQ(wrong("/nodes/3/inputs", "x"), "/nodes/3/inputs: \"x\" is no array");
  EXPECT_EQ(wrong("/nodes/3/more", 1), "/nodes/3/more: is not in the schema");
  EXPECT_EQ(wrong("/tape_size", -1), "/tape_size: -1 is below 0");
  json short_of = right;
  short_of["edges"][0].erase("to");
  EXPECT_EQ(test::violation(short_of, schema()), "/edges/0: to is missing");
}

TEST(DumpJson, NineSteps) {
  Tape tape;
  test::nine_steps(tape);
  test::expect_golden("nine_steps.json", dump(tape, DumpFormat::json, {.title = "Batchnorm"}));
}

TEST(DumpJson, TwoRunsAreByteIdentical) {
  const auto run = [] {
    Tape tape;
    test::nine_steps(tape);
    test::two_layers(tape);
    return dump(tape, DumpFormat::json);
  };
  EXPECT_EQ(run(), run());
}

TEST(DumpJson, NumbersComeBackAsTheyWere) {
  Tape tape;
  const std::vector<double> hard{0.1, -0.0, 1e300, 5e-324, 1.0 / 3, std::nextafter(1.0, 2.0), 1234567890123456.7};
  Tensor tensor = Tensor::of<double>({7}, {hard[0], hard[1], hard[2], hard[3], hard[4], hard[5], hard[6]});
  tape.leaf(tensor, "x");
  tape.leaf(Tensor::full({2}, 0.1, DType::f32), "y");
  const json graph = dumped(tape);
  const json& elements = named(graph, "x")["value"]["elements"];
  for (std::size_t i = 0; i < hard.size(); ++i) {
    EXPECT_EQ(elements[i].get<double>(), hard[i]);
    EXPECT_EQ(std::signbit(elements[i].get<double>()), std::signbit(hard[i]));
  }
  EXPECT_EQ(named(graph, "y")["value"]["elements"][0].get<double>(), static_cast<double>(0.1f));
}

TEST(DumpJson, WhatIsNotFiniteIsAWord) {
  Tape tape;
  constexpr double kInf = std::numeric_limits<double>::infinity();
  tape.leaf(Tensor::of<double>({4}, {1, kInf, -kInf, std::nan("")}), "x");
  const json graph = dumped(tape);
  const json& value = named(graph, "x")["value"];
  EXPECT_EQ(value["elements"], json::parse(R"([1, "Infinity", "-Infinity", "NaN"])"));
  EXPECT_EQ(value["not_finite"], 3);
  EXPECT_EQ(test::violation(graph, schema()), "");
}

TEST(DumpJson, TextIsEscaped) {
  Tape tape;
  test::hostile_names(tape);
  const json graph = dumped(tape, {.title = "a \"title\"\\"});
  EXPECT_EQ(graph["title"], "a \"title\"\\");
  EXPECT_EQ(graph["nodes"][0]["name"], "\"><script>alert('&')</script>");
  EXPECT_EQ(graph["nodes"][1]["name"], "line one\nline two\t\x01\\N\\");
  EXPECT_EQ(graph["nodes"][2]["name"], "\xce\xb3\xc2\xb7x\xcc\x82 = \xef\xbf\xbd");  // a byte that is not UTF-8
}

// What a program needs to compute a node again.
TEST(DumpJson, SaysHowNodesAreComputed) {
  Tape tape;
  const test::NineSteps g = test::nine_steps(tape);
  tape.name(permute(g.x, {1, 0}), "turned");
  tape.name(max(g.x, 0), "largest");
  const json graph = dumped(tape);
  EXPECT_EQ(named(graph, "xmu")["expression"], "a - b");
  EXPECT_EQ(named(graph, "mu")["fold"],
            json::parse(R"({"init": 0, "step": "acc + a", "step_tree": ["+", "acc", "a"], "finish": "acc / n",
                           "finish_tree": ["/", "acc", "n"]})"));
  EXPECT_EQ(named(graph, "xmu")["expression_tree"], json::parse(R"(["-", "a", "b"])"));
  EXPECT_EQ(named(graph, "largest")["fold"],
            json::parse(R"_({"init": "-Infinity", "step": "where(a > acc || a != a, a, acc)", "step_tree":
                ["where", ["||", [">", "a", "acc"], ["!=", "a", "a"]], "a", "acc"],
                "finish": "acc", "finish_tree": "acc"})_"));
  // A local derivative's operands are nodes; it passes over the unnamed `var + eps`.
  const json& given = named(graph, "sqrtvar")["contributions"][0];
  EXPECT_EQ(given["local_tree"], json::array({"/", 0.5, {{"node", tape.find("sqrtvar").id()}}}));
  EXPECT_EQ(given["target"], tape.find("var").id());
  EXPECT_EQ(given["name"], "dvar");
  EXPECT_EQ(named(graph, "xmu")["why"][1][0], json::parse(R"({"name": "xmu"})"));
  EXPECT_EQ(named(graph, "turned")["map"], json::parse("[0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]"));
  EXPECT_EQ(named(graph, "dx2")["map"], json::parse("[0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2]"));
  EXPECT_EQ(named(graph, "mu")["attributes"], json::parse(R"({"axes": [0], "keepdim": false})"));
}

}  // namespace
}  // namespace ebb
