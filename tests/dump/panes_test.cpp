// What the panes of the page say of the compiler and of rounding, held against the engine: each line of the rewrites is
// an equality of numbers, the last of them is the closed form of the textbooks, and no line is left without a rule that
// explains it.
#include <ebb/ebb.h>
#include <ebb/engine/program/explain.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace ebb {
namespace {

// Every node of a stage, computed by its row.
std::vector<Tensor> values_of(const Traced& stage, const std::vector<Tensor>& arguments) {
  std::vector<Tensor> out(stage.tape->size());
  for (std::size_t i = 0; i < arguments.size(); ++i) out[stage.arguments[i]] = arguments[i];
  for (NodeId id = 0; id < out.size(); ++id) {
    const Node& node = stage.node(id);
    if (out[id].has_buffer()) continue;
    if (node.inputs == 0 && node.value.has_buffer()) {
      out[id] = node.value;
      continue;
    }
    Tape tape;
    std::vector<Operand> operands;
    for (std::size_t i = 0; i < node.inputs; ++i) operands.emplace_back(tape.leaf(out[stage.input(id, i)]), Location{});
    out[id] = tape.record(*node.row, operands, node.attrs).value();
  }
  return out;
}

double difference(const Tensor& a, const Tensor& b) {
  double largest = 0;
  double most = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    largest = std::max(largest, std::fabs(a.at(i)));
    most = std::max(most, std::fabs(a.at(i) - b.at(i)));
  }
  return most == 0 ? 0 : most / largest;
}

using Function = Vars (*)(Var x, Var gamma, Var beta, Var dout);

Vars with_gradients(Var out, Var x, Var gamma, Var beta, Var dout) {
  const Vars gradients = pullback(x.tape().name(out, "out"), dout, {x, gamma, beta});
  return Vars{out, gradients[0], gradients[1], gradients[2]};
}
Vars batch_normalised(Var x, Var gamma, Var beta, Var dout) {
  return with_gradients(batch_norm(x, gamma, beta), x, gamma, beta, dout);
}
Vars layer_normalised(Var x, Var gamma, Var beta, Var dout) {
  return with_gradients(layer_norm(x) * gamma + beta, x, gamma, beta, dout);
}
Vars softmaxed(Var x, Var gamma, Var beta, Var dout) {
  return with_gradients(softmax(x * gamma + beta), x, gamma, beta, dout);
}

struct Compiled {
  std::vector<Tensor> arguments;
  RewriteLog log;
};

Compiled compiled(Function f) {
  Random random(5);
  Compiled out;
  for (const Shape& shape : {Shape{4, 5}, Shape{5}, Shape{5}, Shape{4, 5}}) {
    Tensor tensor = Tensor::empty(shape, DType::f64);
    random.fill_normal(tensor, 0.3, 1.5);
    out.arguments.push_back(tensor);
  }
  auto step = compile(f, {.arguments = {"x", "gamma", "beta", "dout"}});
  step(out.arguments[0], out.arguments[1], out.arguments[2], out.arguments[3]);
  out.log = step.program().log();
  return out;
}

TEST(Rewrites, EveryLineIsAnEquality) {
  for (const Function f : {batch_normalised, layer_normalised, softmaxed}) {
    const auto [arguments, log] = compiled(f);
    EXPECT_GT(log.rewrites.size(), 15u);
    std::vector<std::vector<Tensor>> values;
    for (const Traced& stage : log.stages) values.push_back(values_of(stage, arguments));
    for (const Rewrite& rewrite : log.rewrites) {
      const Tensor& before = values[rewrite.pass][rewrite.before];
      const Tensor& after = values[rewrite.pass + 1][rewrite.after];
      ASSERT_EQ(before.numel(), after.numel()) << rewrite.rule;
      EXPECT_LT(difference(before, after), 1e-13) << log.passes[rewrite.pass] << ": " << rewrite.rule;
    }
  }
}

// dx = gamma * ivar / N * (N * dout - sum(dout) - xhat * sum(dout * xhat)).
TEST(Rewrites, EndWithTheClosedForm) {
  const auto [arguments, log] = compiled(batch_normalised);
  const Traced& last = log.stages.back();
  Tape tape;
  const Var x = tape.leaf(arguments[0]);
  const Var gamma = tape.leaf(arguments[1]);
  const Var dout = tape.leaf(arguments[3]);
  const Var xmu = x - mean(x, 0, true);
  const Var ivar = 1.0 / sqrt(mean(square(xmu), 0, true) + 1e-5);
  const Var xhat = xmu * ivar;
  const Var dx = gamma * ivar / 4.0 * (4.0 * dout - sum(dout, 0, true) - xhat * sum(dout * xhat, 0, true));
  EXPECT_LT(difference(dx.value(), values_of(last, arguments)[last.outputs[1]]), 1e-13);
  // As it is written: no sum of the derived pass is left but those two, and xhat and dxhat are gone.
  std::size_t sums = 0;
  const std::vector<bool> live = live_nodes(last);
  for (NodeId id = 0; id < last.tape->size(); ++id) sums += live[id] && last.node(id).row->name == "sum" ? 1 : 0;
  EXPECT_EQ(sums, 2u);
  const std::string text = formulas(last);
  EXPECT_EQ(text.find("xhat"), std::string::npos) << text;
  EXPECT_NE(text.find("sum(dout * xmu, axes=[0], keepdim=true)"), std::string::npos) << text;
}

// In the sum of dxmu = dxmu1 + dxmu2 the second is a multiple of xmu, which sums to 0.
TEST(Rewrites, SayWhereATermVanishes) {
  const std::string text = to_string(compiled(batch_normalised).log);
  EXPECT_NE(text.find("sum(c * a + k * (x - mean(x))) -> c * sum(a)"), std::string::npos) << text;
  const std::string none = to_string(compiled(softmaxed).log);
  EXPECT_EQ(none.find("x - mean(x)"), std::string::npos) << none;
}

}  // namespace
}  // namespace ebb
