// What programs say of themselves: how often they pass over the data, what they move, how right they are.
#include <ebb/ebb.h>
#include <ebb/engine/program/passes/rewriter.h>
#include <gtest/gtest.h>

#include <optional>

#include "tests/program/support.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

Vars forward(std::span<const Var> in) { return {batch_norm(in[0], in[1], in[2])}; }

Vars step(std::span<const Var> in) {
  const Var out = batch_norm(in[0], in[1], in[2]);
  const Vars d = pullback(out, in[3], {in[0], in[1], in[2]});
  return {out, d[0], d[1], d[2]};
}

template <class F>
Explanation explained(F f, const std::vector<Tensor>& inputs, Setting setting) {
  auto fast = compile([f](std::span<const Var> in) { return f(in); }, {.setting = setting});
  fast(std::span<const Tensor>(inputs));
  return explain(fast.program());
}

std::vector<Tensor> inputs(const Shape& shape, int axis = 1) {
  const Shape channels{shape[axis]};
  return {wave(shape, {0}), wave(channels, {1}), wave(channels, {2}), wave(shape, {3})};
}

double units(const Explanation& explanation, const Tensor& whole) {
  return static_cast<double>(explanation.bytes()) / static_cast<double>(whole.bytes());
}

TEST(Explain, NineStepsAreTwoPassesForward) {
  for (const Shape& shape : {Shape{600, 100}, Shape{16, 32, 14, 14}}) {
    std::vector<Tensor> in = inputs(shape);
    in.pop_back();
    const Explanation relaxed = explained(forward, in, Setting::relaxed);
    EXPECT_EQ(relaxed.passes(in[0].numel()), 2u) << relaxed.text();
    EXPECT_NEAR(units(relaxed, in[0]), 3, 0.1) << relaxed.text();
    const Explanation exact = explained(forward, in, Setting::exact);
    EXPECT_EQ(exact.passes(in[0].numel()), 3u) << exact.text();
    EXPECT_NEAR(units(exact, in[0]), 4, 0.1);
  }
}

TEST(Explain, TheWholeStepMovesWhatTheFusedKernelMoves) {
  const std::vector<Tensor> in = inputs({600, 100});
  const Explanation relaxed = explained(step, in, Setting::relaxed);
  EXPECT_EQ(relaxed.passes(in[0].numel()), 3u) << relaxed.text();  // the backward's first joins the forward's second
  EXPECT_NEAR(units(relaxed, in[0]), 8, 0.2) << relaxed.text();
}

TEST(Explain, NothingOfTheFullSizeIsKept) {
  const std::vector<Tensor> in = inputs({600, 100});
  auto fast = compile([](std::span<const Var> x) { return step(x); });
  fast(std::span<const Tensor>(in));
  EXPECT_LT(fast.program().memory().arena_bytes, in[0].bytes() / 10);
  EXPECT_EQ(fast.program().memory().result_bytes, 2 * in[0].bytes() + 2 * in[1].bytes());
}

TEST(Explain, AUsersOwnDifferenceOfSquaresIsLeftAsItIs) {
  const auto f = [](std::span<const Var> in) { return Vars{mean(square(in[0]), 0) - square(mean(in[0], 0))}; };
  const std::vector<Tensor> in{wave({600, 100}, {0})};
  const Explanation e = explained(f, in, Setting::relaxed);
  EXPECT_EQ(e.passes(in[0].numel()), 1u) << e.text();
}

TEST(Certify, TheCompiledStepIsAsGoodAsEagerMode) {
  auto fast = compile([](std::span<const Var> x) { return step(x); });
  std::vector<Tensor> in = inputs({600, 10});
  Tensor& x = in[0];
  for (float& v : x.mutable_data<float>()) v += 1000;  // far from zero: the mean does not fit in one f32
  fast(std::span<const Tensor>(in));
  const Certificate certificate = certify(fast.program(), in);
  EXPECT_EQ(certificate.results.size(), 4u);
  EXPECT_LT(certificate.program_ulp(), 64) << certificate.text();
  EXPECT_LT(certificate.results[0].program_ulp, 4) << certificate.text();
  EXPECT_GT(certificate.results[0].eager_ulp, 50) << certificate.text();
}

// A rule that takes one factor of a product twice.
Traced wrong(const Traced& traced, RewriteLog& log) {
  const Row& mul = *find_row("mul");
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    if (traced.node(old).row != &mul) return std::nullopt;
    const NodeId a = to.of(traced.input(old, 0));
    const NodeId result = to.record(mul, {a, a});
    if (to.shape(result) != traced.type(old).shape()) return std::nullopt;
    log.note("a * b -> a * a", old, result);
    return result;
  });
}

TEST(Certify, CatchesAWrongRewrite) {
  const Pass pass{"wrong", Setting::relaxed, wrong};
  const std::vector<TensorType> types(2, TensorType{{8}, DType::f32});
  const auto f = [](Tape&, std::span<const Var> in) { return Vars{in[0] * in[1]}; };
  Program program(trace(f, types), std::span(&pass, 1), Setting::relaxed);
  EXPECT_EQ(program.log().rewrites.size(), 1u);
  EXPECT_EQ(to_string(program.log()), "wrong            a * b -> a * a  arg0 * arg1  ->  %2 = arg0 * arg0\n");
  EXPECT_EQ(formulas(program.log().stages.back()), "%2 = arg0 * arg0\n");
  const Certificate certificate = certify(program, std::vector<Tensor>{wave({8}, {0}), wave({8}, {1})});
  EXPECT_GT(certificate.program_ulp(), 1e6) << certificate.text();
  EXPECT_LT(certificate.eager_ulp(), 1);
}

// What a wrong pass gives is another function: where its type shows it, the program is not even made.
TEST(Passes, OneThatChangesWhatAFunctionGivesIsFoundOut) {
  const auto sums = [](const Traced& traced, RewriteLog&) {
    return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
      if (traced.node(old).row != find_row("mul")) return std::nullopt;
      return to.record(*find_row("sum"), {to.of(traced.input(old, 0))}, {{"axes", IntList{0}}, {"keepdim", false}});
    });
  };
  const auto drops = [](const Traced& traced, RewriteLog&) {
    Traced less = traced;
    less.outputs.pop_back();
    return less;
  };
  const std::vector<TensorType> types(2, TensorType{{8}, DType::f32});
  const auto f = [](Tape&, std::span<const Var> in) { return Vars{in[0] * in[1]}; };
  const auto make = [&](const Pass& pass) { Program program(trace(f, types), std::span(&pass, 1), Setting::relaxed); };
  EXPECT_EQ(thrown<Error>([&] {
              make({"sums", Setting::relaxed, sums});
            }),
            "compile: pass sums is wrong: output 0 was f32[8], is f32[].");
  EXPECT_EQ(thrown<Error>([&] {
              make({"drops", Setting::relaxed, drops});
            }),
            "compile: pass drops is wrong: it adds or drops an argument, a State or a result.");
}

// The verifier looks at every node of what passes give; it runs between them where assertions are on.
TEST(Passes, TheVerifierFindsANodeThatItsRowDoesNotGive) {
  static bool lies = false;
  static const Row row{.name = "liar",
                       .type =
                           [](const Call& call) {
                             return TensorType{lies ? Shape{2} : call.shape(0), call.dtype(0)};
                           },
                       .vjp = VjpRule::stop(),
                       .kernel = [](KernelCall& call) { call.out = *call.in[0]; }};
  lies = true;
  const Traced traced = trace([](Tape& tape, std::span<const Var> in) { return Vars{tape.record(row, {in[0]})}; },
                              std::vector<TensorType>{{{8}, DType::f32}});
  verify(*traced.tape);
  lies = false;
  EXPECT_NE(thrown<Error>([&] { verify(*traced.tape); }).find("liar"), std::string::npos);
#ifndef NDEBUG
  lies = true;
  const Pass pass{"keeps", Setting::exact, [](const Traced& t, RewriteLog&) {
                    lies = false;
                    return t;
                  }};
  RewriteLog log;
  EXPECT_THROW(optimise(traced, std::span(&pass, 1), Setting::exact, log), Error);
#endif
}

// The programs' arenas hold little more than what is alive at once.
TEST(Memory, TheArenaIsLittleLargerThanWhatIsAliveAtOnce) {
  const auto expect = [](const Function& f, const std::vector<Tensor>& in, const char* what) {
    for (const Setting setting : {Setting::exact, Setting::relaxed}) {
      auto fast = compile(Function(f), {.setting = setting});
      fast(std::span<const Tensor>(in));
      const MemoryPlan& plan = fast.program().memory();
      EXPECT_LE(static_cast<double>(plan.arena_bytes), 1.15 * static_cast<double>(plan.live_bytes)) << what;
    }
  };
  expect(step, inputs({600, 100}), "batch norm");
  expect(step, inputs({16, 32, 14, 14}), "batch norm, NCHW");
  for (const std::int64_t batch : {7, 60}) {
    const std::vector<Tensor> in{wave({batch, 64}, {0}), wave({100, 64}, {1}), wave({100, 100}, {2}),
                                 wave({10, 100}, {3})};
    const auto mlp = [](std::span<const Var> x) {
      Var h = x[0];
      for (const std::size_t layer : {1, 2}) {
        h = relu(matmul(h, x[layer], {.transpose_b = true}));
        h = h - mean(h, 0);
      }
      const Var loss = mean(square(matmul(h, x[3], {.transpose_b = true})));
      return grad(loss, Vars{x[1], x[2], x[3]});
    };
    expect(mlp, in, "mlp");
  }
}

}  // namespace
}  // namespace ebb::test
