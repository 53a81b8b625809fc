// The plain description that all formats are written from: derivatives, contributions, costs, edges, reading order.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/dump/support/graphs.h"

namespace ebb {
namespace {

TEST(Description, NodesKnowTheirDerivatives) {
  Tape tape;
  test::nine_steps(tape);
  const Graph graph = describe(tape, {.values = true});
  // By step: what the rule gives each input, and what it multiplies the cotangent with.
  const auto rule = [&](const char* name) {
    std::string text;
    const GraphNode& node = graph.nodes[graph.index_of(tape.find(name).id())];
    for (const GraphPullback& p : node.pullbacks) {
      text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", p.name, p.local.text());
    }
    return text;
  };
  EXPECT_EQ(rule("out"), "dgammax: 1, dbeta: 1");
  EXPECT_EQ(rule("gammax"), "dgamma: xhat, dxhat: gamma");
  EXPECT_EQ(rule("xhat"), "dxmu1: ivar, divar: xmu");
  EXPECT_EQ(rule("ivar"), "dsqrtvar: -(ivar * ivar)");
  EXPECT_EQ(rule("sqrtvar"), "dvar: 0.5 / sqrtvar");
  EXPECT_EQ(rule("var"), "dsq: 1 / 4");
  EXPECT_EQ(rule("sq"), "dxmu2: 2 * xmu");
  EXPECT_EQ(rule("xmu"), "dx1: 1, dmu: -1");
  EXPECT_EQ(rule("mu"), "dx2: 1 / 4");
  // What each cotangent adds up, with its value.
  for (const GraphNode& node : graph.nodes) {
    if (node.sweep != 0 || node.role == Role::constant || node.role == Role::seed) continue;
    ASSERT_EQ(node.gradients.size(), 1u) << graph.label_of(node.id);
    const GraphGradient& gradient = node.gradients[0];
    ASSERT_TRUE(gradient.value);
    EXPECT_EQ(gradient.value->elements.size(), static_cast<std::size_t>(tape.node(gradient.node).value.numel()));
    if (node.name == "x") {
      EXPECT_EQ(gradient.terms, (std::vector<std::string>{"dx1", "dx2"}));
    }
    if (node.name == "xmu") {
      EXPECT_EQ(gradient.terms, (std::vector<std::string>{"dxmu1", "dxmu2"}));
    }
    if (node.name == "ivar") {
      EXPECT_EQ(gradient.name, "divar");
    }
  }
}

TEST(Description, DerivativesOfUnnamedNodes) {
  Tape tape;
  test::two_layers(tape);
  const Graph graph = describe(tape);
  std::string text;
  for (const GraphNode& node : graph.nodes) {
    if (node.sweep != 0 || node.inputs.empty()) continue;
    text += node.op;
    for (const GraphPullback& p : node.pullbacks) text += fmt::format(" {}={}", p.input, p.local.text());
    text += "\n";
  }
  EXPECT_EQ(text,
            "matmul 1=matmul(x, ct, transpose_a=true)\n"
            "add 0=1 1=1\n"
            "sigmoid 0=h * (1 - h)\n"
            "matmul 0=matmul(ct, w, transpose_b=true) 1=matmul(net.fc1.h, ct, transpose_a=true)\n"
            "add 0=1 1=1\n"
            "sigmoid 0=h * (1 - h)\n"
            "sub 0=1\n"
            "square 0=2 * %12\n"
            "mean 0=1 / 16\n");
}

TEST(Description, NodesHaveExpressionsAndCosts) {
  Tape tape;
  const Var a = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "a");
  const Var b = tape.leaf(Tensor::full({3, 4}, 1, DType::f64), "b");
  const Var c = matmul(a, b);
  const Var d = sum(where(c > 1.0, c * 2.0, c), 0);
  const Graph graph = describe(tape);
  const auto node = [&](const Var& v) { return graph.nodes[graph.index_of(v.id())]; };
  EXPECT_EQ(node(c).flops, 2 * 2 * 3 * 4);
  EXPECT_EQ(node(d).flops, 2 * 4);
  EXPECT_EQ(node(a).flops, 0);
  EXPECT_EQ(graph.nodes[graph.index_of(d.id()) - 1].expression->text(), "where(a, b, c)");
  EXPECT_EQ(graph.nodes[graph.index_of(d.id()) - 1].flops, 2 * 4);
  EXPECT_FALSE(node(c).expression);
}

TEST(Description, StepsAreGroupsInReadingOrder) {
  Tape tape;
  test::nine_steps(tape);
  const Graph graph = describe(tape);
  std::string order;
  for (const GraphSection& section : graph.sections) {
    order += section.title + ":";
    for (const GraphStep& step : section.steps) order += " " + (step.label.empty() ? "-" : step.label);
    order += "\n";
  }
  EXPECT_EQ(order, "forward: - 1 2 3 4 5 6 7 8 9\nbackward: - 9 8 7 6 5 4 3 2 1 0\n");
}

TEST(Description, EdgesSayWhatTheyCarry) {
  Tape tape;
  const test::NineSteps g = test::nine_steps(tape);
  const Graph graph = describe(tape);
  const NodeId dxhat = tape.find("dxhat").id();
  const NodeId dx = g.gradients[0].id();
  int found = 0;
  for (const GraphEdge& edge : graph.edges) {
    EXPECT_EQ(edge.backward, tape.node(edge.to).sweep != 0);
    if (edge.to == dxhat) {
      ++found;
      EXPECT_EQ(edge.cotangent, edge.from == g.dout.id());  // dgammax * gamma
      if (edge.cotangent) {
        ASSERT_NE(edge.alias, kNoIndex);
        EXPECT_EQ(graph.aliases[edge.alias].name, "dgammax");
      }
    }
    if (edge.to == dx) {
      ++found;
      EXPECT_TRUE(edge.cotangent);
    }
  }
  EXPECT_EQ(found, 4);
  EXPECT_EQ(graph.nodes[graph.index_of(dx)].role, Role::accumulation);
  EXPECT_EQ(graph.nodes[graph.index_of(g.dout.id())].role, Role::seed);
  EXPECT_EQ(graph.nodes[graph.index_of(g.dout.id())].cotangent_of, g.out.id());
}

}  // namespace
}  // namespace ebb
