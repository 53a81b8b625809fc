// Programs looked at node by node: anomaly mode, audit, and a watch over values, which say that they do not run the
// program's loops.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/program/support.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

Tensor vector(std::initializer_list<double> values) {
  return Tensor::of<double>({static_cast<std::int64_t>(values.size())}, values);
}

// log of a negative number, far from where it shows.
Var bad_at(Var x, Location where = Location::current()) { return sum(exp(log(Operand(x, where)) * 2.0)); }

TEST(Inspect, InAnomalyModeACallNamesTheFirstBadNodeAndItsLine) {
  const State seen("seen", Tensor::full({}, 0));
  const std::uint32_t line = __LINE__ + 3;
  auto f = compile([&](Var x) {
    x.tape().update(seen, x.tape().read(seen) + 1.0);
    return bad_at(x);
  });
  EXPECT_TRUE(std::isnan(f(vector({1, -2})).item()));
  EXPECT_EQ(seen.value().item(), 1);
  f.set_anomaly(true);
  const std::string text = thrown<UsageError>([&] { f(vector({1, -2})); });
  EXPECT_EQ(text.substr(0, text.find(" (")), "log: the value of %4 is nan at [1]; got f64[2] arg0.") << text;
  EXPECT_NE(text.find("inspect_test.cpp:" + std::to_string(line)), std::string::npos) << text;
  EXPECT_EQ(seen.value().item(), 1) << "a run that fails commits nothing";
  EXPECT_FALSE(std::isnan(f(vector({1, 2})).item()));  // and what is finite runs
  EXPECT_EQ(seen.value().item(), 2);
  f.set_anomaly(false);
  EXPECT_TRUE(std::isnan(f(vector({1, -2})).item()));
}

TEST(Inspect, ACallOnATapeInAnomalyModeRunsNodeByNodeToo) {
  auto f = compile([](Var x) { return bad_at(x); });
  Tape tape;
  EXPECT_TRUE(std::isnan(f(tape.leaf(vector({-1}))).item()));
  tape.set_anomaly(true);
  EXPECT_EQ(thrown<UsageError>([&] { f(tape.leaf(vector({-1}))); }).substr(0, 26), "log: the value of %1 is na");
}

TEST(Inspect, EachProgramSaysSoOnce) {
  std::vector<std::string> notes;
  const NoteHandler before = set_note_handler([&](std::string_view text) { notes.emplace_back(text); });
  auto f = compile([](Var x) { return sum(x); });
  f(vector({1}));
  EXPECT_TRUE(notes.empty());
  f.set_anomaly(true);
  f(vector({1}));
  f(vector({1}));
  set_note_handler(before);
  EXPECT_EQ(notes, std::vector<std::string>{"program: anomaly mode, audits and watches run its function node by node, "
                                            "as it was traced, not its loops"});
}

TEST(Inspect, AnAuditOfAProgramBlamesTheNodeThatLosesDigits) {
  const auto f = [](std::span<const Var> in) {
    const Var x = in[0];
    const Var mu = x.tape().name(mean(x, 0), "mu");
    return Vars{x.tape().name(mean(x * x, 0) - mu * mu, "var")};
  };
  const std::vector<Tensor> in{wave({600, 2}, {.shift = 1e4})};
  auto fast = compile(f);
  fast(std::span<const Tensor>(in));
  const AuditReport report = audit(fast.program(), in);
  ASSERT_NE(report.first_bad(), nullptr);
  EXPECT_EQ(report.first_bad()->name, "var");
  EXPECT_EQ(report.first_bad()->op, "sub");
  EXPECT_NE(to_string(report.first_bad()->where).find("inspect_test.cpp"), std::string::npos);
}

TEST(Inspect, AWatchSeesEveryValueAndTheTapeCanBeDumped) {
  auto fast = compile([](std::span<const Var> in) {
    const Var twice = in[0].tape().name(in[0] * 2.0, "twice");
    return Vars{sum(twice + 1.0)};
  });
  const std::vector<Tensor> in{vector({1, 2, 3})};
  fast(std::span<const Tensor>(in));
  Tape tape;
  std::vector<double> sums;
  const Replayed all = run_node_by_node(fast.program(), tape, in, [&](NodeId, const Var& value) {
    double total = 0;
    for (std::int64_t i = 0; i < value.numel(); ++i) total += value.value().at(i);
    sums.push_back(total);
  });
  EXPECT_EQ(sums, (std::vector<double>{12, 15, 15}));
  EXPECT_EQ(all.outputs[0].item(), 15);
  EXPECT_EQ(tape.find("twice").value().at(2), 6);
  EXPECT_NE(dump(tape).find("arg0"), std::string::npos);
  EXPECT_EQ(thrown<ShapeError>([&] { run_node_by_node(fast.program(), tape, std::vector{vector({1})}); }).substr(0, 29),
            "program: argument 0 is f64[1]");
}

}  // namespace
}  // namespace ebb::test
