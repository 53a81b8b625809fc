// Random numbers as ops: which numbers, and when they are new.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>

namespace ebb {
namespace {

// The numbers themselves are fixed: a file that holds a key and a counter means the same on every machine, for every
// instruction set (CI runs the tests once for each), compiler and number of threads.
TEST(RandomOps, NumbersAreThoseOfTheHostsGenerator) {
  const int before = threads();
  for (const int n : {1, 3}) {
    set_threads(n);
    Tape tape;
    const Generator generator(7);
    generator.counter.set(Tensor::full({}, 5, DType::i64));
    const Var x = uniform(tape, generator, {100, 33}, {.dtype = DType::f64});
    const Var y = normal(tape, generator, {100, 33}, {.dtype = DType::f64});
    Tensor want = Tensor::empty({100, 33}, DType::f64);
    Random(7, 5).fill_uniform(want);
    EXPECT_TRUE(identical(x.value(), want));
    Random(7, 6).fill_normal(want);
    EXPECT_TRUE(identical(y.value(), want));
  }
  set_threads(before);
}

TEST(RandomOps, KnownNumbers) {
  Tape tape;
  const Generator generator(1);
  const Tensor u = uniform(tape, generator, {3}).value();
  const Tensor n = normal(tape, generator, {3}).value();
  const Tensor b = random_bits(tape.read(generator.key), tape.read(generator.counter), {3}, 63).value();
  EXPECT_TRUE(
      identical(u, Tensor::of<float>({3}, {14936070.0F / 0x1p24F, 15010318.0F / 0x1p24F, 9826850.0F / 0x1p24F})));
  EXPECT_TRUE(identical(n, Tensor::of<float>({3}, {-1.91963144F, -0.6439555F, -0.762789237F})));
  EXPECT_TRUE(
      identical(b, Tensor::of<std::int64_t>({3}, {5077495124349026919, 361834908416707483, 7890966431764471993})));
}

TEST(RandomOps, EachDrawOfAStepIsNewAndSoIsTheNextStep) {
  Tape tape;
  const Generator generator(3);
  const auto draw = [&] { return uniform(tape, generator, {8}).value(); };
  const auto step = [&] { return tape.step([&] { return std::pair(draw(), draw()); }); };
  const auto [a, b] = step();
  const auto [c, d] = step();
  EXPECT_FALSE(identical(a, b));
  EXPECT_FALSE(identical(a, c));
  EXPECT_FALSE(identical(b, c));
  EXPECT_EQ(generator.counter.value().item(), 4);
  // A step that fails has drawn nothing.
  EXPECT_THROW(tape.step([&] {
    draw();
    throw UsageError("stop");
  }),
               UsageError);
  EXPECT_EQ(generator.counter.value().item(), 4);
  // Put back, the counter gives the same numbers again.
  generator.counter.set(Tensor::full({}, 2, DType::i64));
  EXPECT_TRUE(identical(step().first, c));
}

TEST(RandomOps, ARecomputationDrawsTheSame) {
  const Tensor key = Tensor::full({}, 11, DType::i64);
  const Tensor counter = Tensor::full({}, 4, DType::i64);
  const auto bits = [&] {
    Tape tape;
    return random_bits(tape.leaf(key), tape.leaf(counter), {1000}, 40).value();
  };
  EXPECT_TRUE(identical(bits(), bits()));
}

TEST(RandomOps, NumbersKeepTheirBounds) {
  Tape tape;
  const Generator generator(9);
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Var u = uniform(tape, generator, {100000}, {.lo = -3, .hi = 5, .dtype = dtype});
    EXPECT_GE(min(u).item(), -3);
    EXPECT_LT(max(u).item(), 5);
    EXPECT_NEAR(mean(u).item(), 1, 0.03);
    EXPECT_NEAR(var(u).item(), 64.0 / 12, 0.1);
    const Var n = normal(tape, generator, {100000}, {.mean = 2, .deviation = 3, .dtype = dtype});
    EXPECT_NEAR(mean(n).item(), 2, 0.05);
    EXPECT_NEAR(ebb::std(n).item(), 3, 0.05);
  }
  // 1 + 2^-24 rounds up to hi in f32 for a third of all numbers.
  const Var narrow = uniform(tape, generator, {1000}, {.lo = 1, .hi = 1 + 0x1p-23});
  EXPECT_EQ(max(narrow).item(), 1);
  const Var mask = bernoulli(tape, generator, {100000}, 0.3);
  EXPECT_NEAR(sum(cast(mask, DType::f64)).item() / 1e5, 0.3, 0.01);
  EXPECT_FALSE(any(bernoulli(tape, generator, {1000}, 0)).value().data<bool>()[0]);
  EXPECT_TRUE(all(bernoulli(tape, generator, {1000}, 1)).value().data<bool>()[0]);
}

TEST(RandomOps, QuantilesReachTheEnds) {
  Tape tape;
  const Var p = tape.leaf(Tensor::of<double>({5}, {0, 0.5, 1, -1, 2}));
  const Tensor x = normal_quantile(p).value();
  EXPECT_EQ(x.at(0), -INFINITY);
  EXPECT_EQ(x.at(1), 0);
  EXPECT_EQ(x.at(2), INFINITY);
  EXPECT_TRUE(std::isnan(x.at(3)) && std::isnan(x.at(4)));
}

// Gradients go through what is done with the numbers, as in the reparametrised normal distribution.
TEST(RandomOps, GradientsPassByTheNumbers) {
  Tape tape;
  const Generator generator(2);
  const Var deviation = tape.leaf(Tensor::of<double>({}, {3}));
  const Var z = normal(tape, generator, {50}, {.dtype = DType::f64});
  EXPECT_EQ(grad(sum(z * deviation), deviation).item(), sum(z).item());
}

}  // namespace
}  // namespace ebb
