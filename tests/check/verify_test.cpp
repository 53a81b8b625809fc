// The verifier passes what the engine records and names the first node that a wrong row has made.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>
#include <ebb/ops/batch_norm/batch_norm.h>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

TensorType same_type(const Call& call) { return {call.shape(0), call.dtype(0)}; }
Var pass_on(const Vjp& g) { return g.ct; }

TEST(Verify, PassesWhatTheEngineRecords) {
  Tape tape;
  verify(tape);
  const State state("s", Tensor::full({3}, 2));
  const auto scope = tape.scope("outer");
  const Var x = tape.name(tape.leaf(Tensor::full({4, 3}, 1.5), "x"), "again");
  const Var y = batch_norm(2.0 * x - tape.read(state), tape.leaf(Tensor::full({3}, 1)), std::nullopt);
  const Var loss = mean(square(y)) + sum(logsumexp(y, 1));
  const Var dx = grad(loss, x);
  verify(tape);
  grad(sum(dx), x, {.keep = false});
  verify(tape);
  const Tape::Mark mark = tape.mark();
  grad(loss, state);
  tape.rewind(mark);
  verify(tape);
  tape.step([&] { verify(tape); });
}

TEST(Verify, PassesTraces) {
  Tape tape(Tape::Mode::trace);
  const Var x = tape.leaf(Tensor::abstract({4, 3}, DType::f32), "x");
  grad(sum(exp(x) * 2.0), x);
  verify(tape);
}

TEST(Verify, AKernelOfTheWrongShape) {
  static const Row row{.name = "halve", .arity = 1, .type = same_type, .vjp = pass_on, .kernel = [](KernelCall& call) {
                         call.out = Tensor::zeros({2});
                       }};
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({4}));
  tape.record(row, {x});
  const int line = __LINE__ - 1;
  EXPECT_EQ(
      thrown<Error>([&] { verify(tape); }),
      "verify: %1 halve: it is f32[2], its type rule says f32[4]. (verify_test.cpp:" + std::to_string(line) + ")");
}

TEST(Verify, AKernelOfTheWrongDtype) {
  static const Row row{.name = "widen", .arity = 1, .type = same_type, .vjp = pass_on, .kernel = [](KernelCall& call) {
                         call.out = Tensor::zeros({4}, DType::f64);
                       }};
  Tape tape;
  tape.record(row, {tape.leaf(Tensor::zeros({4}))});
  EXPECT_TRUE(thrown<Error>([&] {
                verify(tape);
              }).starts_with("verify: %1 widen: it is f64[4], its type rule says f32[4]. (verify_test.cpp:"));
}

TEST(Verify, AKernelThatGivesNothing) {
  static const Row row{.name = "idle", .arity = 1, .type = same_type, .vjp = pass_on, .kernel = [](KernelCall&) {}};
  Tape tape;
  tape.record(row, {tape.leaf(Tensor::zeros({4}))});
  EXPECT_TRUE(thrown<Error>([&] {
                verify(tape);
              }).starts_with("verify: %1 idle: its value is marked as computed, and is not there. ("));
}

TEST(Verify, ATypeRuleThatChangesItsMind) {
  static bool refuse = false;
  static const Row row{.name = "moody",
                       .arity = 1,
                       .type =
                           [](const Call& call) {
                             if (refuse) call.fail_shape("not today");
                             return same_type(call);
                           },
                       .vjp = pass_on,
                       .kernel = [](KernelCall& call) { call.out = *call.in[0]; }};
  Tape tape;
  tape.record(row, {tape.leaf(Tensor::zeros({4}))});
  verify(tape);
  refuse = true;
  EXPECT_TRUE(
      thrown<Error>([&] {
        verify(tape);
      }).starts_with("verify: %1 moody: its type rule refuses it: moody: not today; got f32[4] (%0). (verify_test"));
}

}  // namespace
}  // namespace ebb
