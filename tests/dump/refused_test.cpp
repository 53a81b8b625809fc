// Recordings that failed: the dump goes up to the failure, and ends with the call that was refused.
#include <gtest/gtest.h>

#include "tests/dump/support/graphs.h"
#include "tests/dump/support/mermaid.h"
#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::expect_mermaid;

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
  for (const DumpFormat format : {DumpFormat::tree, DumpFormat::mermaid, DumpFormat::markdown}) {
    EXPECT_NE(dump(tape, format, {.depth = 0, .fold_repeats = true}).find("matmul"), std::string::npos);
  }
  // It is nobody's ancestor, and comes after every `to`.
  EXPECT_EQ(dump(tape, {.outputs = {h}}).find("failed"), std::string::npos);
  EXPECT_EQ(dump(tape, {.to = h}).find("failed"), std::string::npos);
}

// A branch on a value: nothing was refused by a row, but here the recording stops.
TEST(FailedRecording, EndsWhereAValueWasReadWhileTracing) {
  Tape tape(Tape::Mode::trace);
  const Var x = tape.leaf(Tensor::full({2, 3}, 1, DType::f64), "x");
  const auto scope = tape.scope("net");
  const Var h = tape.name(sum(x), "h");
  const std::string message = test::thrown<UsageError>([&] { h.item(); });
  EXPECT_TRUE(message.starts_with("value: cannot read the value of sum h while tracing.")) << message;
  const Graph graph = describe(tape);
  const GraphNode& failed = graph.nodes.back();
  EXPECT_EQ(failed.role, Role::failed);
  EXPECT_EQ(failed.message, message);
  EXPECT_EQ(failed.formula, "value(h)");
  EXPECT_EQ(failed.inputs, std::vector<NodeId>{h.id()});
  EXPECT_EQ(graph.scopes[failed.scope].path, "net");
  for (const DumpFormat format : {DumpFormat::text, DumpFormat::tree, DumpFormat::dot, DumpFormat::markdown}) {
    EXPECT_NE(dump(tape, format).find("value: cannot read"), std::string::npos) << name(format);
  }
  h * 2;  // it was caught, and recording goes on
  EXPECT_EQ(dump(tape).find("failed"), std::string::npos);
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

// What a compiled function records is dumped as it would be on a tape of one's own.
TEST(FailedRecording, OfACompiledFunctionIsThere) {
  const Tensor x = Tensor::full({2, 3}, 1, DType::f64);
  auto step = compile([](Var a, Var b) { return sum(matmul(exp(a), b)); }, {.arguments = {"x", "w"}});
  EXPECT_EQ(step.failed_trace(), nullptr);
  const std::string message = test::thrown<ShapeError>([&] { step(x, x); });
  ASSERT_NE(step.failed_trace(), nullptr);
  const Graph graph = describe(*step.failed_trace());
  ASSERT_EQ(graph.nodes.size(), 4u);
  EXPECT_EQ(graph.nodes.back().role, Role::failed);
  EXPECT_EQ(graph.nodes.back().formula, "matmul(%2, w)");
  EXPECT_EQ(graph.nodes.back().message, message);
  for (const DumpFormat format : {DumpFormat::text, DumpFormat::tree, DumpFormat::dot, DumpFormat::mermaid,
                                  DumpFormat::markdown, DumpFormat::json}) {
    EXPECT_NE(dump(*step.failed_trace(), format).find("failed"), std::string::npos) << name(format);
  }
  // A call that goes well leaves nothing.
  EXPECT_EQ(step(x, Tensor::full({3, 1}, 1, DType::f64)).numel(), 1);
  EXPECT_EQ(step.failed_trace(), nullptr);
  EXPECT_THROW(step(x, x), ShapeError);
  step(x, Tensor::full({3, 1}, 1, DType::f64));  // known already: nothing is traced
  EXPECT_EQ(step.failed_trace(), nullptr);
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

}  // namespace
}  // namespace ebb
