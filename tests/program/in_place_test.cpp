// Results that are written over what they are made of: the same bits as anywhere else, nothing that anybody else holds
// is touched, and an error comes before the first State has changed.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/program/support.h"

namespace ebb::test {
namespace {

std::vector<double> elements(const Tensor& t) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < t.numel(); ++i) out.push_back(t.at(i));
  return out;
}

// Momentum and a norm's statistics; sizes that fill no pack.
struct Model {
  Model()
      : net("net", nn::Linear(13, 7, {.bias = false}, random), nn::BatchNorm(7, {.kernel = BatchNormKernel::staged}),
            nn::Relu(), nn::Linear(7, 3, random)) {
    sgd.emplace(net.parameters(), nn::SgdOptions{.lr = 0.1, .momentum = 0.9});
  }
  Var step(const Var& x, const Var& labels) {
    const Var loss = cross_entropy(net(x), labels, {.kernel = CrossEntropyKernel::staged});
    sgd->step(grad(loss, sgd->parameters()));
    return loss;
  }
  Random random{3};
  nn::Sequential net;
  std::optional<nn::Sgd> sgd;
};

Tensor labels_of(std::int64_t fourth) { return Tensor::of<std::int64_t>({5}, {0, 1, 2, fourth, 1}); }

TEST(InPlace, AStepHasTheBitsOfEagerMode) {
  const Tensor x = wave({5, 13}), labels = labels_of(2);
  Model eager;
  Tape tape;
  for (int i = 0; i < 3; ++i) tape.step([&] { eager.step(tape.leaf(x), tape.leaf(labels)); });
  for (const Backend backend : {Backend::generated, Backend::interpreted}) {
    Model model;
    auto step = compile([&](Var a, Var b) { return model.step(a, b); }, {Setting::exact, backend});
    for (int i = 0; i < 3; ++i) step(x, labels);
    EXPECT_FALSE(step.program().memory().over.empty());
    const auto want = eager.net.parameters(), got = model.net.parameters();
    for (std::size_t p = 0; p < want.size(); ++p) {
      EXPECT_TRUE(identical(want[p].value(), got[p].value())) << got[p].name();
    }
  }
}

TEST(InPlace, AStateThatNobodyElseHoldsKeepsItsMemory) {
  const State w("w", wave({3, 7}));
  auto f = compile([&](Var x) {
    Tape& tape = x.tape();
    tape.update(w, tape.read(w) * 0.5 + x);
    return x * 2.0;
  });
  const Tensor x = wave({3, 7}, {.phase = 1});
  f(x);
  ASSERT_EQ(f.program().memory().over.size(), 1u);
  EXPECT_EQ(f.program().memory().result_bytes, x.bytes());
  const std::byte* const memory = w.value().raw();
  f(x);
  EXPECT_EQ(w.value().raw(), memory);
  EXPECT_EQ(w.version(), 2u);

  const Tensor mine = w.value();
  const std::vector<double> before = elements(mine);
  f(x);
  EXPECT_NE(w.value().raw(), memory);
  EXPECT_EQ(elements(mine), before);
  EXPECT_NE(elements(w.value()), before);
}

TEST(InPlace, AnErrorComesBeforeTheFirstStateHasChanged) {
  Model model;
  auto step = compile([&](Var a, Var b) { return model.step(a, b); });
  const Tensor x = wave({5, 13});
  step(x, labels_of(2));
  EXPECT_FALSE(step.program().memory().over.empty());
  const auto snapshot = [&] {  // of copies: a tensor that is held is not written over
    std::vector<std::vector<double>> all;
    for (const State& state : model.net.parameters()) all.push_back(elements(state.value()));
    return all;
  };
  const auto before = snapshot();
  EXPECT_THROW(step(x, labels_of(3)), UsageError);
  EXPECT_EQ(snapshot(), before);
  step(x, labels_of(2));
  EXPECT_NE(snapshot(), before);
}

// What has to stay: a value that is also a result, or another State's, or that is read at another place.
TEST(InPlace, AnOldValueThatIsStillWantedIsNotWrittenOver) {
  const State a("a", wave({4, 4})), b("b", wave({4, 4}, {.phase = 1})), c("c", wave({4, 4}, {.phase = 2}));
  const auto f = [&](Tape& tape, const Var& x) {
    const Var old = tape.read(a), other = tape.read(b), third = tape.read(c);
    tape.update(a, other + x);
    tape.update(b, old + x);
    tape.update(c, third + sum(third, {0}) * x);
    return matmul(third, x) + old;
  };
  const Tensor x = wave({4, 4}, {.phase = 3});
  const State a0 = a.clone(), b0 = b.clone(), c0 = c.clone();
  Tape tape;
  std::vector<Tensor> want;
  tape.step([&] {
    const Var y = f(tape, tape.leaf(x));
    want = {y.value()};
  });
  for (const State* s : {&a, &b, &c}) want.push_back(s->value());
  for (const Backend backend : {Backend::generated, Backend::interpreted}) {
    a.set(a0.value().clone());
    b.set(b0.value().clone());
    c.set(c0.value().clone());
    auto fast = compile([&](Tape& t, Var v) { return f(t, v); }, {Setting::exact, backend});
    EXPECT_TRUE(identical(fast(x), want[0]));
    EXPECT_TRUE(identical(a.value(), want[1]));
    EXPECT_TRUE(identical(b.value(), want[2]));
    EXPECT_TRUE(identical(c.value(), want[3]));
  }
}

TEST(InPlace, ValuesBetweenLoopsShareMemory) {
  const auto f = [](std::span<const Var> in) {
    const Var y = exp(matmul(in[0], in[1]));
    return Vars{matmul(y, in[1])};
  };
  auto fast = compile([f](std::span<const Var> in) { return f(in); }, {Setting::exact});
  const std::vector<Tensor> in{wave({40, 40}), wave({40, 40}, {.phase = 1})};
  const Tensors got = fast(std::span<const Tensor>(in));
  EXPECT_EQ(fast.program().memory().live_bytes, in[0].bytes());
  const std::vector<Tensor> want = eager(f, in);
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << i;
}

TEST(InPlace, OthersSeeAStateBeforeARunOrAfterIt) {
  const State w("w", Tensor::full({1000}, 1));
  auto f = compile([&](Var x) {
    x.tape().update(w, x.tape().read(w) + x);
    return x * 2.0;
  });
  const Tensor x = Tensor::full({1000}, 1);
  f(x);
  std::atomic<bool> stop = false;
  std::int64_t torn = 0;
  std::thread reader([&] {
    while (!stop) {
      const Tensor now = w.value();
      for (std::int64_t i = 1; i < now.numel(); ++i) torn += now.at(i) != now.at(0) ? 1 : 0;
    }
  });
  for (int i = 0; i < 300; ++i) f(x);
  stop = true;
  reader.join();
  EXPECT_EQ(torn, 0);
  EXPECT_EQ(w.value().at(0), 302);
}

}  // namespace
}  // namespace ebb::test
