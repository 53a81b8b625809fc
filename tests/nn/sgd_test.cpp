// SGD beyond its golden runs: groups, what is spared weight decay, bad arguments, and states that stay as they were.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

State scalar(const char* name, double value) { return State(name, Tensor::full({1}, value, DType::f64)); }

TEST(Sgd, GroupsHaveTheirOwnOptions) {
  const State a = scalar("a", 1);
  const State b = scalar("b", 1);
  nn::Sgd sgd(std::vector{nn::ParameterGroup{{a}}, nn::ParameterGroup{{b}, nn::SgdOptions{.lr = 0.5}}}, {.lr = 0.1});
  Tape tape;
  const auto step = [&] { tape.step([&] { sgd.step(grad(sum(tape.read(a) + tape.read(b)), sgd.parameters())); }); };
  step();
  EXPECT_NEAR(a.value().item(), 0.9, 1e-15);
  EXPECT_NEAR(b.value().item(), 0.5, 1e-15);
  sgd.set_learning_rate(0);
  step();
  EXPECT_NEAR(a.value().item(), 0.9, 1e-15);
  EXPECT_EQ(sgd.learning_rate(1).value().item(), 0);
}

TEST(Sgd, T44DecayOfVectorsIsOptional) {
  const State matrix("w", Tensor::full({2, 2}, 1, DType::f64));
  const State vector("bias", Tensor::full({2}, 1, DType::f64));
  for (const bool decay : {true, false}) {
    const State w = matrix.clone();
    const State v = vector.clone();
    nn::Sgd sgd({w, v}, {.lr = 1, .weight_decay = 0.25, .decay_vectors = decay});
    Tape tape;
    tape.step([&] { sgd.step(grad(0.0 * sum(tape.read(w)) + 0.0 * sum(tape.read(v)), sgd.parameters())); });
    EXPECT_EQ(w.value().at(0), 0.75);
    EXPECT_EQ(v.value().at(0), decay ? 0.75 : 1);
  }
}

TEST(Sgd, UnusedParametersMayBeLeftAlone) {
  const State a = scalar("a", 1);
  const State b = scalar("b", 1);
  nn::Sgd sgd({a, b}, {.lr = 1, .weight_decay = 1});
  Tape tape;
  tape.step([&] { sgd.step(grad(sum(tape.read(a)), sgd.parameters(), {.keep = {}, .unused = Unused::none})); });
  EXPECT_EQ(a.value().item(), -1);
  EXPECT_EQ(b.value().item(), 1);
}

TEST(Sgd, AStepThatThrowsChangesNothing) {
  const State a = scalar("a", 1);
  nn::Sgd sgd({a}, {.lr = 1, .momentum = 0.9, .dampening = 0.5});
  Tape tape;
  thrown<UsageError>([&] {
    tape.step([&] {
      sgd.step(grad(sum(tape.read(a)), sgd.parameters()));
      throw UsageError("later");
    });
  });
  EXPECT_EQ(a.value().item(), 1);
  for (const State& state : sgd.states()) EXPECT_EQ(state.version(), 0u) << state.name();
}

TEST(Sgd, Errors) {
  const State a = scalar("a", 1);
  const State b = scalar("b", 1);
  EXPECT_EQ(thrown<UsageError>([&] { nn::Sgd({a, a}); }), "sgd: parameter a is given twice.");
  EXPECT_EQ(thrown<UsageError>([&] { nn::Sgd(std::vector<State>{}); }), "sgd: there are no parameters to train.");
  EXPECT_EQ(thrown<UsageError>([&] { nn::Sgd({a}, {.lr = -1}); }), "sgd: lr must be >= 0, got -1.");
  EXPECT_EQ(thrown<UsageError>([&] { nn::Sgd({a}, {.nesterov = true}); }),
            "sgd: nesterov needs momentum and no dampening, got momentum 0 and dampening 0.");
  nn::Sgd sgd({a, b});
  Tape tape;
  const Vars one{grad(sum(tape.read(a)), a)};
  const std::string text = thrown<UsageError>([&] { sgd.step(one); });
  EXPECT_EQ(
      text.find("sgd: got 1 gradients for 2 parameters. Take them by grad(loss, sgd.parameters()). (sgd_test.cpp:"), 0u)
      << text;
  const Vars wrong{one[0], tape.leaf(Tensor::zeros({2}, DType::f64))};
  EXPECT_EQ(thrown<ShapeError>([&] { sgd.step(wrong); }).find("sgd: parameter b is f64[1] but its gradient is f64[2]."),
            0u);
}

TEST(Sgd, Describes) {
  EXPECT_EQ(nn::Sgd({scalar("a", 1)}, {.lr = 0.1, .momentum = 0.9, .weight_decay = 1e-4}).describe(),
            "Sgd(lr=0.1, momentum=0.9, weight_decay=0.0001, 1 parameters)");
}

// What mark and rewind do to noted updates: those since the mark go, those they replaced hold again.
TEST(Updates, RewindRestoresWhatWasNotedBefore) {
  const State a = scalar("a", 1);
  Tape tape;
  const Var two = tape.leaf(Tensor::full({1}, 2, DType::f64));
  tape.update(a, two);
  const Var three = tape.leaf(Tensor::full({1}, 3, DType::f64));
  const Tape::Mark mark = tape.mark();
  tape.update(a, three);  // of a node from before the mark
  tape.update(a, tape.leaf(Tensor::full({1}, 4, DType::f64)));
  tape.rewind(mark);
  EXPECT_EQ(tape.read(a).item(), 2);
  const Tape::Mark committed = tape.mark();
  tape.update(a, three);
  tape.commit();
  EXPECT_EQ(a.value().item(), 3);
  tape.rewind(committed);
  tape.commit();
  EXPECT_EQ(a.value().item(), 3);
}

}  // namespace
}  // namespace ebb::test
