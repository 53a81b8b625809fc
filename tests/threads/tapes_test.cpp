// Several threads: each with a tape of its own, sharing Tensors and States, and the pool below. Numbers do not depend
// on any of it.
#include <ebb/ebb.h>
#include <ebb/engine/random/philox.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace ebb {
namespace {

Tensor normal(const Shape& shape, std::uint64_t seed) {
  Tensor x = Tensor::empty(shape, DType::f32);
  Random(seed).fill_normal(x);
  return x;
}

// Trains a little network and returns its losses and weights.
std::vector<Tensor> train(std::uint64_t seed, int steps) {
  const State w1("w1", normal({8, 16}, seed));
  const State w2("w2", normal({16, 4}, seed + 1));
  const std::vector<State> parameters{w1, w2};
  const Tensor data = normal({32, 8}, seed + 2);
  Tape tape;
  std::vector<Tensor> out;
  for (int i = 0; i < steps; ++i) {
    out.push_back(tape.step([&] {
      const Var h = tanh(matmul(tape.leaf(data), tape.read(w1)));
      const Var loss = mean(square(matmul(h, tape.read(w2))));
      const Vars d = grad(loss, parameters);
      for (std::size_t k = 0; k < parameters.size(); ++k) {
        tape.update(parameters[k], tape.read(parameters[k]) - 0.1 * d[k]);
      }
      return loss.value();
    }));
  }
  out.push_back(w1.value());
  out.push_back(w2.value());
  return out;
}

TEST(Tapes, FourThreadsTrainWhatOneWould) {
  std::vector<std::vector<Tensor>> alone(4), together(4);
  for (std::size_t t = 0; t < 4; ++t) alone[t] = train(10 * t, 30);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { together[t] = train(10 * t, 30); });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t t = 0; t < 4; ++t) {
    ASSERT_EQ(alone[t].size(), together[t].size());
    for (std::size_t i = 0; i < alone[t].size(); ++i)
      EXPECT_TRUE(identical(alone[t][i], together[t][i])) << t << " " << i;
  }
}

TEST(Tapes, AStateIsSharedAndNeverTorn) {
  const State state("shared", Tensor::full({1000}, 0));
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      Tape tape;
      for (int i = 0; i < 200; ++i) {
        tape.step([&] {
          const Tensor seen = tape.read(state).value();
          for (const float x : seen.data<float>()) ASSERT_EQ(x, seen.at(0));
          tape.update(state, tape.leaf(Tensor::full({1000}, t + i)));
        });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(state.version(), 600u);
}

// Everything a tape can do, from Tensors and States that all threads read; every bit of it as from one thread alone.
std::vector<Tensor> whole_mechanism(std::uint64_t seed, const State& shared, const Tensor& data) {
  std::vector<Tensor> out;
  Tape tape;
  const Var w = tape.read(shared);
  const Var x = tape.leaf(data, "x");
  const Var noise = tape.leaf(normal({64, 96}, seed), "noise");  // large enough for open loops and the pool
  const auto keep = [&](const Var& v) { out.push_back(v.value()); };

  const Var h = tanh(matmul(x, w) + noise);
  const Var normalised = batch_norm(h, std::nullopt, std::nullopt, {.kernel = BatchNormKernel::fused});
  const Var picked =
      gather(normalised, tape.leaf(Tensor::full({64, 3}, static_cast<double>(seed % 96), DType::i64)), 1);
  const Var loss = mean(square(normalised * sigmoid(h))) + max(h) + sum(softmax(picked, 1) * picked);
  keep(h);
  keep(loss);
  keep(sum(h, 0));
  keep(max(h, 1));
  for (const Var& d : grad(loss, {w, x, noise})) keep(d);
  keep(jvp(loss, w, tape.leaf(normal(w.shape(), seed + 1))));
  keep(hvp(mean(square(tanh(matmul(x, w)))), w, tape.leaf(normal(w.shape(), seed + 2))));
  keep(jacobian(slice_axis(sum(h * h, 0), 0, 0, 3), w));
  Tensor bits = Tensor::empty({1000}, DType::f32);
  Random(seed).fill_normal(bits);
  out.push_back(bits);
  // Steps with an own State and the shared one, rewinds, values dropped on the way.
  const State own("own", normal({32, 96}, seed + 3));
  for (int i = 0; i < 3; ++i) {
    out.push_back(tape.step([&] {
      const Var y = mean(square(matmul(tape.leaf(data), tape.read(own)) - matmul(tape.leaf(data), tape.read(shared))));
      tape.update(own, tape.read(own) - 0.1 * grad(y, own));
      return y.value();
    }));
  }
  out.push_back(own.value());
  verify(tape);
  const std::string text = dump(tape, {.source_lines = false}) + audit(tape).text();
  std::vector<std::int64_t> letters(text.begin(), text.end());
  out.push_back(Tensor::from({static_cast<std::int64_t>(letters.size())}, std::span<const std::int64_t>(letters)));
  return out;
}

TEST(Tapes, EightThreadsDoEverythingAsOneDoes) {
  constexpr std::size_t kThreads = 8;
  const State shared("shared", normal({32, 96}, 1));
  const Tensor data = normal({64, 32}, 2);
  std::vector<std::vector<Tensor>> alone(kThreads), together(kThreads);
  for (std::size_t t = 0; t < kThreads; ++t) alone[t] = whole_mechanism(t, shared, data);
  std::vector<std::thread> running;
  for (std::size_t t = 0; t < kThreads; ++t) {
    running.emplace_back([&, t] {
      for (int round = 0; round < 3; ++round) together[t] = whole_mechanism(t, shared, data);
    });
  }
  for (std::thread& thread : running) thread.join();
  EXPECT_EQ(shared.version(), 0u);
  for (std::size_t t = 0; t < kThreads; ++t) {
    ASSERT_EQ(alone[t].size(), together[t].size());
    for (std::size_t i = 0; i < alone[t].size(); ++i) {
      EXPECT_TRUE(identical(alone[t][i], together[t][i])) << "thread " << t << ", result " << i;
    }
    EXPECT_EQ(identical(alone[t][0], alone[0][0]), t == 0);
  }
}

// A Var of another thread's tape is refused, in whatever way it is used.
TEST(Tapes, BelongToTheirThread) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2));
  const Var y = sum(x * x);
  std::thread([&] {
    EXPECT_THROW(x + 1.0, UsageError);
    EXPECT_THROW(grad(y, x), UsageError);
    EXPECT_THROW(jvp(y, x, 1.0), UsageError);
    EXPECT_THROW(hessian(y, x), UsageError);
    EXPECT_THROW(tape.leaf(x.value()), UsageError);
  }).join();
  EXPECT_EQ(tape.size(), 3u);
}

TEST(Tapes, ComeAndGoInManyThreads) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([] {
      for (int i = 0; i < 500; ++i) {
        Tape tape;
        const Var x = tape.leaf(Tensor::full({3}, 2));
        ASSERT_EQ(grad(sum(x * x), x).value().at(0), 4);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// The number of threads changes how work is cut, never a bit of the result.
TEST(Tapes, ThreadCountsAgreeToTheBit) {
  const int before = threads();
  const Tensor x = normal({300, 700}, 1);
  const Tensor row = normal({700}, 2);
  const Tensor column = normal({300, 1}, 3);
  const auto compute = [&](int n) {
    set_threads(n);
    Tape tape;
    const Var v = tape.leaf(x);
    const Var y = (v * tape.leaf(row) - tape.leaf(column)) / (square(v) + 1.0);
    std::vector<Tensor> out{y.value()};
    for (const Axes& axes : {Axes(0), Axes(1), Axes()}) {
      out.push_back(sum(y, axes).value());
      out.push_back(mean(y, axes).value());
      out.push_back(max(y, axes).value());
    }
    out.push_back(matmul(y, y, {.transpose_b = true}).value());
    out.push_back(grad(sum(y * y), v).value());
    return out;
  };
  const std::vector<Tensor> one = compute(1);
  for (const int n : {2, 3, 8}) {
    const std::vector<Tensor> many = compute(n);
    for (std::size_t i = 0; i < one.size(); ++i)
      EXPECT_TRUE(identical(one[i], many[i])) << n << " threads, result " << i;
  }
  set_threads(before);
}

}  // namespace
}  // namespace ebb
