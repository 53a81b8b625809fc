// Whole trainings on several threads at once, each with a tape, a network and an optimizer of its own, share only the
// allocator, the pool and the table of tapes: they must end bit for bit where the same trainings end one after another.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace ebb::test {
namespace {

std::vector<Tensor> train(std::uint64_t seed) {
  Random random(seed);
  const auto [data, rest] = nn::split(nn::read_digits(), 300, random);
  nn::Sequential net("net", nn::named("fc1", nn::Linear(64, 30, {.bias = false}, random)),
                     nn::named("bn1", nn::BatchNorm(30)), nn::Sigmoid(), nn::named("fc2", nn::Linear(30, 10, random)));
  nn::Sgd sgd(net.parameters(), {.lr = 0.2, .momentum = 0.9, .weight_decay = 1e-4});
  nn::Batches batches(data, 60, {.seed = seed});
  Tape tape;
  for (int epoch = 0; epoch < 4; ++epoch) {
    for (const nn::Dataset& batch : batches.epoch(epoch)) {
      tape.step(
          [&] { sgd.step(grad(cross_entropy(net(tape.leaf(batch.x)), tape.leaf(batch.labels)), sgd.parameters())); });
    }
  }
  std::vector<Tensor> out;
  for (const State& state : net.parameters()) out.push_back(state.value());
  for (const State& state : net.buffers()) out.push_back(state.value());
  return out;
}

TEST(Training, OnFourThreadsIsBitEqualToSequential) {
  std::vector<std::vector<Tensor>> alone, together(4);
  for (std::uint64_t seed = 0; seed < 4; ++seed) alone.push_back(train(seed));
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t seed = 0; seed < 4; ++seed) {
      threads.emplace_back([&together, seed] { together[seed] = train(seed); });
    }
  }
  for (std::size_t seed = 0; seed < 4; ++seed) {
    for (std::size_t i = 0; i < alone[seed].size(); ++i) {
      EXPECT_TRUE(identical(alone[seed][i], together[seed][i])) << "training " << seed << ", state " << i;
    }
  }
  EXPECT_FALSE(identical(alone[0][0], alone[1][0]));
}

// T52: one network may serve evaluations on many threads, as it holds States and no Vars.
TEST(Evaluation, OfOneNetworkOnFourThreads) {
  Random random(1);
  nn::Sequential net("net", nn::Linear(64, 30, random), nn::BatchNorm(30), nn::Sigmoid(), nn::Linear(30, 10, random));
  net.eval();
  const Tensor x = nn::read_digits().x;
  const auto evaluate = [&] {
    Tape tape;
    return tape.step([&] { return net(tape.leaf(x)).value(); });
  };
  const Tensor expected = evaluate();
  std::vector<Tensor> got(4);
  {
    std::vector<std::jthread> threads;
    for (Tensor& result : got) threads.emplace_back([&result, &evaluate] { result = evaluate(); });
  }
  for (const Tensor& result : got) EXPECT_TRUE(identical(result, expected));
}

}  // namespace
}  // namespace ebb::test
