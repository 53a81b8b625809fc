// Large graphs made small: repeated scopes, closed scopes, neighbourhoods.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "tests/dump/support/golden.h"
#include "tests/dump/support/graphs.h"
#include "tests/support/thrown.h"

namespace ebb {
namespace {

std::string labels(const Graph& graph) {
  std::string out;
  for (const GraphNode& node : graph.nodes) {
    if (node.role != Role::constant) out += (out.empty() ? "" : " ") + graph.label_of(node.id) + times(node.repeats);
  }
  return out;
}

// What every writer may rely on.
void expect_whole(const Graph& graph) {
  std::set<NodeId> outside;
  for (const auto& [id, label] : graph.outside) {
    outside.insert(id);
    EXPECT_EQ(graph.index_of(id), kNoIndex) << label << " is shown and outside";
  }
  for (std::size_t i = 1; i < graph.nodes.size(); ++i) EXPECT_LT(graph.nodes[i - 1].id, graph.nodes[i].id);
  for (const GraphEdge& edge : graph.edges) {
    ASSERT_NE(graph.index_of(edge.to), kNoIndex);
    EXPECT_TRUE(graph.index_of(edge.from) != kNoIndex || outside.contains(edge.from)) << edge.from;
    EXPECT_TRUE(edge.alias == kNoIndex || edge.alias < graph.aliases.size());
  }
  for (const GraphAlias& alias : graph.aliases) {
    EXPECT_NE(graph.index_of(alias.node), kNoIndex) << alias.name;
    EXPECT_TRUE(alias.parent == kNoIndex || alias.parent < graph.aliases.size());
  }
  std::map<std::pair<bool, std::size_t>, int> items;
  for (const GraphSection& section : graph.sections) {
    for (const GraphStep& step : section.steps) {
      EXPECT_FALSE(step.items.empty());
      for (const GraphItem& item : step.items) ++items[{item.alias, item.index}];
    }
  }
  for (std::size_t i = 0; i < graph.nodes.size(); ++i) {
    EXPECT_EQ(items.contains({false, i}), graph.nodes[i].role != Role::constant) << graph.label_of(graph.nodes[i].id);
  }
  for (const auto& [item, count] : items) EXPECT_EQ(count, 1);
}

TEST(Condense, GoldenDumps) {
  Tape tape;
  test::blocks(tape, 4);
  test::expect_golden("blocks_folded.txt", dump(tape, {.fold_repeats = true}));
  test::expect_golden("blocks_folded.dot", dump(tape, {.format = DumpFormat::dot, .fold_repeats = true}));
  test::expect_golden("blocks_closed.txt", dump(tape, {.depth = 1}));
  test::expect_golden("blocks_closed.dot", dump(tape, {.format = DumpFormat::dot, .depth = 1}));
  test::expect_golden("blocks_both.txt", dump(tape, {.depth = 1, .fold_repeats = true}));
  test::expect_golden("blocks_focus.txt", dump(tape, {.focus = tape.find("net.block2/out"), .radius = 1}));
}

TEST(Condense, EqualBlocksAreShownOnce) {
  Tape tape;
  test::blocks(tape, 12);
  const Graph graph = describe(tape, {.fold_repeats = true});
  expect_whole(graph);
  // The first block needs no cotangent of x, and that of the last one's output is no sum.
  ASSERT_EQ(graph.repeats.size(), 1u);
  EXPECT_EQ(to_string(graph.repeats[0]), "net.block2 x 10, up to net.block11");
  Tape three;
  test::blocks(three, 3);
  EXPECT_EQ(graph.nodes.size(), describe(three).nodes.size());
}

// Every node that a formula, or a local derivative, names.
void expect_named(const Graph& graph, const lane::Symbol& symbol, const std::string& of) {
  if (symbol.op == lane::Symbol::Op::name && symbol.value >= 0) {
    const auto id = static_cast<NodeId>(symbol.value);
    EXPECT_NE(graph.index_of(id), kNoIndex) << symbol.word << " in " << of;
    const std::string label = graph.label_of(id);
    EXPECT_TRUE(!label.starts_with('%') || label == symbol.word) << symbol.word << " in " << of << " is " << label;
  }
  for (const lane::Symbol& operand : symbol.operands) expect_named(graph, operand, of);
}

TEST(Condense, FormulasNameWhatIsShown) {
  Tape tape;
  Var h = tape.leaf(Tensor::full({4}, 0.5, DType::f64), "x");
  for (int i = 1; i <= 5; ++i) {
    const auto block = tape.scope("block" + std::to_string(i));
    h = tanh(exp(h));
  }
  const Var y = sin(h);
  pullback(y, tape.leaf(Tensor::full({4}, 1, DType::f64), "dy"), {tape.find("x")});
  const Graph graph = describe(tape, {.fold_repeats = true});
  expect_whole(graph);
  ASSERT_EQ(graph.repeats.size(), 1u);
  std::vector<std::string> formulas, from_repeats;
  for (const GraphNode& node : graph.nodes) {
    if (node.folded_into != kNoNode || node.inputs.empty()) continue;
    formulas.push_back(graph.label_of(node.id) + " = " + node.formula);
    if (node.reads_repeat) from_repeats.push_back(graph.label_of(node.id));
    EXPECT_EQ(node.formula, node.spelled.text());
    expect_named(graph, node.spelled, node.formula);
    for (const GraphPullback& pullback : node.pullbacks) expect_named(graph, pullback.local, node.formula);
    for (const NodeId in : node.inputs) EXPECT_NE(graph.index_of(in), kNoIndex) << node.formula;
  }
  // The way forward leaves the block at its end, and the way back enters it there: %2 is shown for what sin has read,
  // %14 is what the rule of sin gives.
  EXPECT_EQ(formulas, (std::vector<std::string>{"%1 = exp(x)", "%2 = tanh(%1)", "%11 = sin(%2)", "%14 = dy * cos(%2)",
                                                "%34 = %14 * (1 - %2 * %2)", "dx = %34 * %1"}));
  EXPECT_EQ(from_repeats, (std::vector<std::string>{"%11", "%34"}));
  const GraphNode& end = graph.nodes[graph.index_of(2)];
  ASSERT_EQ(end.gradients.size(), 1u);
  EXPECT_EQ(end.gradients[0].node, 14u);
  EXPECT_EQ(end.gradients[0].name, "%14");
}

TEST(Condense, FoldedDumpsOfLargeModelsAreShort) {
  Tape tape(Tape::Mode::trace);
  test::blocks(tape, 250);
  EXPECT_GT(tape.size(), 2000u);
  EXPECT_LT(dump(tape, {.fold_repeats = true}).size(), 8000u);
  EXPECT_LT(dump(tape, {.format = DumpFormat::dot, .fold_repeats = true}).size(), 20000u);
  EXPECT_LT(dump(tape, {.depth = 1, .fold_repeats = true}).size(), 3000u);
  EXPECT_LT(dump(tape, {.depth = 0}).size(), 2000u);
}

TEST(Condense, BlocksThatDifferAreNotFolded) {
  for (const int odd : {0, 1, 2, 3}) {
    Tape tape;
    Var h = tape.leaf(Tensor::full({4}, 0.5, DType::f64), "x");
    for (int i = 0; i < 4; ++i) {
      const auto scope = tape.scope("block" + std::to_string(i));
      h = i == odd ? exp(h * 3) : exp(h * 2);
    }
    const Graph graph = describe(tape, {.fold_repeats = true});
    expect_whole(graph);
    std::size_t most = 1;
    for (const GraphRepeat& repeat : graph.repeats) most = std::max(most, repeat.times);
    EXPECT_EQ(most, odd == 0 || odd == 3 ? 3u : 2u) << odd;
  }
}

TEST(Condense, RowsOfDifferentScopesFoldTogether) {
  Tape tape;
  Var h = tape.leaf(Tensor::full({4}, 0.5, DType::f64), "x");
  for (int i = 1; i <= 3; ++i) {
    {
      const auto scope = tape.scope("scale" + std::to_string(i));
      h = h * 2;
    }
    {
      const auto scope = tape.scope("bend" + std::to_string(i));
      h = tanh(h);
    }
    h = h + 1;  // between scopes
  }
  const Graph graph = describe(tape, {.fold_repeats = true});
  expect_whole(graph);
  ASSERT_EQ(graph.repeats.size(), 1u);
  EXPECT_EQ(to_string(graph.repeats[0]), "scale1, bend1, %5 x 3, up to scale3, bend3, %11");
  EXPECT_EQ(labels(graph), "x %2 %3 %5 x 3");
}

TEST(Condense, RepeatsWithinRepeats) {
  Tape tape;
  Var h = tape.leaf(Tensor::full({4}, 0.5, DType::f64), "x");
  for (int i = 1; i <= 3; ++i) {
    const auto stage = tape.scope("stage" + std::to_string(i));
    for (int j = 1; j <= 4; ++j) {
      const auto block = tape.scope("block" + std::to_string(j));
      h = tanh(h * 2);
    }
    h = exp(h);
  }
  const Graph graph = describe(tape, {.fold_repeats = true});
  expect_whole(graph);
  ASSERT_EQ(graph.repeats.size(), 2u);
  EXPECT_EQ(to_string(graph.repeats[0]), "stage1 x 3, up to stage3");
  EXPECT_EQ(to_string(graph.repeats[1]), "stage1.block1 x 4, up to stage1.block4");
  EXPECT_NE(dump(tape, {.fold_repeats = true}).find("stage1.block1 x 12"), std::string::npos);
}

TEST(Condense, ClosedScopesSayWhatGoesInAndOut) {
  Tape tape;
  test::two_layers(tape);
  const Graph graph = describe(tape, {.depth = 1});
  expect_whole(graph);
  std::string scopes;
  for (const GraphNode& node : graph.nodes) {
    if (node.role == Role::scope) scopes += fmt::format("{}: {}, {}\n", node.name, node.formula, node.stands_for);
  }
  EXPECT_EQ(scopes,
            "net.fc1: (x) -> h, 5\n"
            "net.fc2: (net.fc1.h) -> h, 5\n"
            "net.fc2 backward: (dh) -> dh, db, dw, 6\n"
            "net.fc1 backward: (dh) -> db, dw, 5\n");
  const std::size_t all = tape.size();
  std::size_t literals = 0;
  std::size_t covered = 0;
  for (const GraphNode& node : describe(tape).nodes) literals += node.role == Role::constant ? 1 : 0;
  for (const GraphNode& node : graph.nodes) covered += node.role == Role::constant ? 0 : node.stands_for;
  EXPECT_EQ(covered + literals, all);
}

TEST(Condense, NamedScopesClose) {
  Tape tape;
  test::two_layers(tape);
  const Graph graph = describe(tape, {.collapse = {"net.fc2"}});
  expect_whole(graph);
  std::string scopes;
  for (const GraphNode& node : graph.nodes) scopes += node.role == Role::scope ? node.name + "\n" : "";
  EXPECT_EQ(scopes, "net.fc2\nnet.fc2 backward\n");
  EXPECT_NE(labels(graph).find("h"), std::string::npos);  // net.fc1 is open
}

TEST(Condense, ParametersOfModulesStandInTheirScope) {
  Tape tape;
  Random random(1);
  nn::Sequential net("net");
  net.add("fc1", nn::Linear(4, 3, {}, random));
  net.add("fc2", nn::Linear(3, 2, {}, random));
  const Var loss = mean(square(net(tape.leaf(Tensor::full({2, 4}, 1), "x"))));
  grad(loss, net.parameters());
  const Graph graph = describe(tape, {.depth = 1});
  expect_whole(graph);
  const std::string shown = labels(graph);
  EXPECT_TRUE(shown.starts_with("x net.fc1 net.fc2 ")) << shown;
}

TEST(Condense, FocusShowsANeighbourhood) {
  Tape tape;
  const test::NineSteps g = test::nine_steps(tape);
  const auto shown = [&](const Var& var, int radius) {
    const Graph graph = describe(tape, {.focus = var, .radius = radius});
    expect_whole(graph);
    return labels(graph);
  };
  EXPECT_EQ(shown(tape.find("sq"), 0), "sq");
  EXPECT_EQ(shown(tape.find("sq"), 1), "xmu sq var");
  EXPECT_EQ(shown(g.gradients[0], 1), "dxmu %37 dx2 dx");
  const std::string near = dump(tape, {.focus = tape.find("sq"), .radius = 0, .source_lines = false});
  EXPECT_NE(near.find("sq   = xmu * xmu"), std::string::npos) << near;
  const Graph all = describe(tape, {.focus = tape.find("sq"), .radius = 100});
  EXPECT_EQ(all.nodes.size(), tape.size());
  EXPECT_EQ(all.aliases.size(), describe(tape).aliases.size());
}

TEST(Condense, FocusInAClosedScopeIsOnTheScope) {
  Tape tape;
  test::blocks(tape, 4);
  const Graph graph =
      describe(tape, {.focus = tape.find("net.block3/out"), .radius = 1, .depth = 1, .fold_repeats = true});
  expect_whole(graph);
  EXPECT_NE(labels(graph).find("net.block2 x 2"), std::string::npos) << labels(graph);
  EXPECT_EQ(labels(graph).find("loss"), std::string::npos) << labels(graph);
}

TEST(Condense, EveryMixIsWhole) {
  for (const auto build : {+[](Tape& tape) { test::nine_steps(tape); }, +[](Tape& tape) { test::two_layers(tape); },
                           +[](Tape& tape) { test::blocks(tape, 5); }, +test::batch_norm_of_images, +test::second_order,
                           +test::hostile_names}) {
    Tape tape;
    build(tape);
    for (const bool fold_repeats : {false, true}) {
      for (const std::optional<int>& depth : {std::optional<int>{}, std::optional(0), std::optional(1)}) {
        for (NodeId id = 0; id < tape.size(); id += 5) {
          expect_whole(
              describe(tape, {.focus = tape.var(id), .radius = 2, .depth = depth, .fold_repeats = fold_repeats}));
        }
        for (const DumpFormat format : {DumpFormat::text, DumpFormat::dot}) {
          const DumpOptions options{.format = format, .depth = depth, .fold_repeats = fold_repeats, .values = true};
          EXPECT_EQ(dump(tape, options), dump(tape, options));
        }
      }
    }
  }
}

TEST(Condense, WrongOptions) {
  Tape tape;
  Tape other;
  test::two_layers(tape);
  const Var far = other.leaf(Tensor::full({2}, 1), "far");
  const auto error = [&](const DumpOptions& options) { return test::thrown<UsageError>([&] { dump(tape, options); }); };
  EXPECT_EQ(error({.focus = far}),
            "dump: far is of another tape, so it cannot be the focus. Give a Var that the dumped tape has recorded.");
  EXPECT_EQ(error({.depth = -1}), "dump: depth is -1. Give the number of levels of scopes that are opened, from 0 on.");
  EXPECT_EQ(error({.focus = tape.find("loss"), .radius = -1}),
            "dump: radius is -1. Give a number of arrows, from 0 on.");
  EXPECT_EQ(error({.collapse = {"net.fc3"}}),
            "dump: no scope is called `net.fc3`, which collapse names. There are net, net.fc1, net.fc2.");
  EXPECT_EQ(error({.outputs = {tape.find("x")}, .focus = tape.find("loss")}),
            "dump: the focus %14 is not among the nodes that are shown.");
}

}  // namespace
}  // namespace ebb
