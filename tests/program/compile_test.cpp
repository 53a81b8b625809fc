// compile() as users meet it: arguments, States, flags, errors, derivatives.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include "tests/program/support.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

Tensor vector(std::initializer_list<float> values) {
  return Tensor::of<float>({static_cast<std::int64_t>(values.size())}, values);
}

TEST(Compile, ResultsComeBackAsTheFunctionReturnsThem) {
  const Tensor x = vector({1, 2, 3});
  EXPECT_EQ(compile([](Var a) { return sum(a); })(x).item(), 6);
  const auto [a, b] = compile([](Var v) { return std::pair(v + 1.0, v * 2.0); })(x);
  EXPECT_TRUE(identical(a, vector({2, 3, 4})));
  EXPECT_TRUE(identical(b, vector({2, 4, 6})));
  const std::array<Tensor, 2> both = compile([](Var v) { return std::array{v + 1.0, v * 2.0}; })(x);
  EXPECT_TRUE(identical(both[1], b));
  const auto three = compile([](Var v) { return std::tuple(v, v + 1.0, v); })(x);
  EXPECT_TRUE(identical(std::get<2>(three), x));
  const std::vector<Tensor> list = compile([](Var v) { return std::vector<Var>{v + 1.0}; })(x);
  EXPECT_TRUE(identical(list[0], a));
}

TEST(Compile, AFunctionMayTakeTheTape) {
  const State count("count", Tensor::full({}, 3));
  auto next = compile([&](Tape& tape) {
    const Var now = tape.read(count);
    tape.update(count, now + 1.0);
    return now;
  });
  EXPECT_EQ(next().item(), 3);
  EXPECT_EQ(next().item(), 4);
  EXPECT_EQ(count.value().item(), 5);
  EXPECT_EQ(count.version(), 2u);
}

TEST(Compile, ARunKeepsNothingOfItsArguments) {
  auto twice = compile([](Var x) { return x + x; });
  const Tensor first = twice(vector({1, 2}));
  const Tensor second = twice(vector({5, 6}));
  EXPECT_TRUE(identical(first, vector({2, 4})));
  EXPECT_TRUE(identical(second, vector({10, 12})));
}

// The program that a kernel of its own calls again.
Compiled<std::function<Var(Var)>>* running = nullptr;
const Row kCallsItsProgram{.name = "calls_its_program",
                           .type =
                               [](const Call& call) {
                                 return TensorType{call.shape(0), call.dtype(0)};
                               },
                           .vjp = VjpRule::stop(),
                           .kernel = [](KernelCall& call) { call.out = (*running)(*call.in[0]); }};

TEST(Compile, AProgramServesOneCallAtATime) {
  auto f = compile(std::function<Var(Var)>([](Var x) { return x.tape().record(kCallsItsProgram, {x + 1.0}); }));
  running = &f;
  EXPECT_EQ(thrown<UsageError>([&] {
              f(vector({1, 2}));
            }),
            "program: it is running already. A program serves one call at a time: compile the function once for each "
            "thread.");
  EXPECT_EQ(thrown<UsageError>([&] { f(vector({1, 2})); }).substr(0, 30), "program: it is running already") << "again";
}

TEST(Compile, TracesAnewForNewTypesAndSaysWhy) {
  auto f = compile([](Var x) { return sum(x); });
  f(vector({1, 2}));
  f(vector({3, 4}));
  EXPECT_EQ(f.traces(), 1u);
  f(vector({1, 2, 3}));
  f(vector({1, 2}));  // the first program is still there
  f(vector({4, 5, 6}));
  EXPECT_EQ(f.traces(), 2u);
  EXPECT_EQ(f.reasons(), (std::vector<std::string>{"first call", "argument 0 is f32[3], before f32[2]"}));
}

TEST(Compile, TracesAnewWhenAModuleChangesItsMode) {
  nn::BatchNorm bn(2);
  auto f = compile([&](Var x) { return bn(x); });
  const Tensor x = Tensor::of<float>({3, 2}, {1, 2, 3, 4, 5, 7});
  const Tensor trained = f(x);
  bn.eval();
  const Tensor evaluated = f(x);
  EXPECT_FALSE(identical(trained, evaluated));
  EXPECT_TRUE(identical(evaluated, eager([&](std::span<const Var> in) { return Vars{bn(in[0])}; }, {x})[0]));
  bn.train();
  f(x);
  EXPECT_EQ(f.traces(), 2u);
  EXPECT_EQ(f.reasons()[1], "a flag that the function asks for has changed, such as a module's training mode");
  EXPECT_EQ(bn.num_batches_tracked().value().item(), 2);
}

TEST(Compile, ArgumentsAreCalledAsTheCallerCallsThem) {
  const auto f = [](Var x, Var y) { return sum(exp(x) * y); };
  const Tensor x = Tensor::full({3}, 1);
  const auto names = [](const Program& program) {
    const Tape& tape = *program.optimised().tape;
    std::vector<std::string> out;
    for (const NodeId id : program.optimised().arguments) out.push_back(tape.name_of(id));
    return out;
  };
  auto plain = compile(f);
  plain(x, x);
  EXPECT_EQ(names(plain.program()), (std::vector<std::string>{"arg0", "arg1"}));
  auto named = compile(f, {.arguments = {"image", "mask"}});
  named(x, x);
  EXPECT_EQ(names(named.program()), (std::vector<std::string>{"image", "mask"}));
  auto recorded = compile(f);
  Tape tape;
  recorded(tape.leaf(x, "image"), tape.leaf(x));
  EXPECT_EQ(names(recorded.program()), (std::vector<std::string>{"image", "arg1"}));
  auto wrong = compile(f, {.arguments = {"image"}});
  EXPECT_EQ(test::thrown<UsageError>([&] { wrong(x, x); }),
            "compile: arguments has 1 names, and the function takes 2. Give one for each, or none.");
}

TEST(Compile, AValueCannotBeReadWhileTracing) {
  auto f = compile([](Var x) { return x.value().item() > 0 ? x : -x; });
  EXPECT_EQ(thrown<UsageError>([&] { f(vector({1})); }),
            "value: cannot read the value of leaf arg0 while tracing. Return it from the traced function instead.");
}

TEST(Compile, ASelectionByAConstantIsWhatItSelects) {
  const auto f = [](std::span<const Var> in) {
    const Var yes = in[0].tape().leaf(Tensor::of<bool>({}, {true})),
              no = in[0].tape().leaf(Tensor::of<bool>({1}, {false}));
    return Vars{where(yes, in[0], in[1]) * 2.0, where(no, in[0], in[1]) + in[0]};
  };
  const std::vector<Tensor> in{wave({3, 5}), wave({5}, {.phase = 1})};
  const std::vector<Tensor> want = eager(f, in);
  auto fast = compile([f](std::span<const Var> x) { return f(x); }, {Setting::exact});
  const Tensors got = fast(std::span<const Tensor>(in));
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(want[i], got[i])) << i;
  EXPECT_EQ(explain(fast.program()).text().find("= where"), std::string::npos) << explain(fast.program()).text();
  EXPECT_NE(explain(fast.program()).rewrites.find("a selection by a constant is what it selects"), std::string::npos);
}

TEST(Compile, ARunThatFailsLeavesEveryStateAsItWas) {
  const State w("w", Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  auto f = compile([&](Var labels) {
    Tape& tape = labels.tape();
    const Var rows = tape.read(w);
    tape.update(w, rows * 2.0);
    return cross_entropy(rows, labels);
  });
  EXPECT_THROW(f(Tensor::of<std::int64_t>({2}, {0, 3})), UsageError);
  EXPECT_EQ(w.version(), 0u);
  EXPECT_EQ(w.value().at(5), 6);
  f(Tensor::of<std::int64_t>({2}, {0, 2}));
  EXPECT_EQ(w.value().at(5), 12);
}

// Parameters, momentum, running statistics and counts: the labels are looked at after half the work is done.
TEST(Compile, ATrainingStepThatFailsLeavesTheWholeModelAsItWas) {
  Random random(3);
  nn::Sequential net("net", nn::Linear(4, 6, {.bias = false}, random), nn::BatchNorm(6), nn::Relu(),
                     nn::Linear(6, 3, random));
  nn::Sgd sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9});
  auto step = compile([&](Var x, Var labels) {
    const Var loss = cross_entropy(net(x), labels);
    sgd.step(grad(loss, sgd.parameters()));
    return loss;
  });
  const Tensor x = wave({5, 4});
  step(x, Tensor::of<std::int64_t>({5}, {0, 1, 2, 0, 1}));
  std::vector<State> states = net.parameters();
  for (const auto& list : {net.buffers(), sgd.states()}) states.insert(states.end(), list.begin(), list.end());
  EXPECT_GT(states.size(), 10u);
  std::vector<std::pair<Tensor, std::uint64_t>> before;
  for (const State& state : states) before.emplace_back(state.value().clone(), state.version());
  EXPECT_THROW(step(x, Tensor::of<std::int64_t>({5}, {0, 1, 2, 0, 3})), UsageError);
  for (std::size_t i = 0; i < states.size(); ++i) {
    EXPECT_TRUE(identical(states[i].value(), before[i].first)) << states[i].name();
    EXPECT_EQ(states[i].version(), before[i].second) << states[i].name();
  }
  step(x, Tensor::of<std::int64_t>({5}, {0, 1, 2, 0, 2}));
  EXPECT_FALSE(identical(states[0].value(), before[0].first));
}

TEST(Compile, AProgramRefusesArgumentsOfOtherTypes) {
  auto f = compile([](Var x) { return sum(x); });
  f(vector({1, 2}));
  Program& program = f.program();
  const std::vector<Tensor> wrong{vector({1, 2, 3})};
  EXPECT_EQ(
      thrown<ShapeError>([&] { program.run(wrong); }),
      "program: argument 0 is f32[3], the program was traced with f32[2]. Call the compiled function, which traces "
      "anew.");
}

TEST(Compile, DerivativesOfACompiledFunctionAreThoseOfTheFunction) {
  const auto f = [](Var x) { return sum(exp(x) * sigmoid(x) + square(x)); };
  auto fast = compile(f, {.setting = Setting::exact});
  const Tensor at = vector({0.5F, -1, 2}).to(DType::f64);
  Tape tape;
  const Var x = tape.leaf(at);
  const Var y = fast(x);
  const Var dy = grad(y, x);
  const Var ddy = grad(sum(dy), x);
  Tape plain;
  const Var px = plain.leaf(at);
  const Var py = f(px);
  const Var pdy = grad(py, px);
  EXPECT_TRUE(identical(y.value(), py.value()));
  EXPECT_TRUE(identical(dy.value(), pdy.value()));
  EXPECT_TRUE(identical(ddy.value(), grad(sum(pdy), px).value()));
  EXPECT_EQ(tape.node(y.id()).row->name, "call");
}

// By an argument and by a State that the function reads, three times over.
TEST(Compile, DerivativesOfACallAreRightToTheThirdOrder) {
  const State w("w", vector({0.3F, -0.7F, 1.1F}).to(DType::f64));
  const auto f = [&](Var x) { return sum(tanh(x * x.tape().read(w)) * exp(x)); };
  auto fast = compile(f, {.setting = Setting::exact});
  const auto derivatives = [&](auto&& function) {
    Tape tape;
    const Var x = tape.leaf(vector({0.5F, -1, 2}).to(DType::f64), "x");
    const Var y = function(x);
    std::vector<Tensor> all{y.value()};
    for (const Var& by : {x, tape.read(w)}) {
      Var d = y;
      for (int order = 1; order <= 3; ++order) {
        d = grad(sum(d), by, {.keep = true});
        all.push_back(d.value());
      }
    }
    return all;
  };
  const std::vector<Tensor> want = derivatives(f);
  const std::vector<Tensor> got = derivatives(fast);
  for (std::size_t i = 0; i < want.size(); ++i) {
    EXPECT_GT(largest(want[i]), 0.01);
    EXPECT_TRUE(identical(got[i], want[i])) << "result " << i;
  }
}

TEST(Compile, ACompiledFunctionInsideAnotherBecomesPartOfIt) {
  auto inner = compile([](Var x) { return square(x); });
  auto outer = compile([&](Var x) { return sum(inner(x)); });
  EXPECT_EQ(outer(vector({1, 2, 3})).item(), 14);
  EXPECT_EQ(inner.traces(), 0u);
}

TEST(Compile, ACallReadsAndNotesStatesOnTheTapeThatRecordsIt) {
  const State s("s", Tensor::full({}, 2));
  auto f = compile([&](Var x) {
    Tape& tape = x.tape();
    const Var before = tape.read(s);
    tape.update(s, before * x);
    return before;
  });
  Tape tape;
  tape.step([&] {
    const Var x = tape.leaf(Tensor::full({}, 5));
    EXPECT_EQ(f(x).item(), 2);
    EXPECT_EQ(f(x).item(), 10);  // the noted value
  });
  EXPECT_EQ(s.value().item(), 50);
}

}  // namespace
}  // namespace ebb::test
