// A training loop asks for no memory after its second step: neither the system through the caching allocator, nor the
// heap through operator new, which this binary replaces by one that counts.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> heap_allocations{0};

void* counted(std::size_t size) {
  heap_allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* block = std::malloc(size == 0 ? 1 : size)) return block;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return counted(size); }
void* operator new[](std::size_t size) { return counted(size); }
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }

namespace ebb::test {
namespace {

class Allocation : public testing::TestWithParam<BatchNormKernel> {};

TEST_P(Allocation, TrainingTakesNoneAfterItsSecondStep) {
  Random random(1);
  nn::BatchNormLayerOptions norm;
  norm.kernel = GetParam();
  nn::Sequential net(
      "net", nn::named("fc1", nn::Linear(64, 100, {.bias = false}, random)), nn::named("bn1", nn::BatchNorm(100, norm)),
      nn::Sigmoid(), nn::named("fc2", nn::Linear(100, 100, {.bias = false}, random)),
      nn::named("bn2", nn::BatchNorm(100, norm)), nn::Relu(), nn::named("fc3", nn::Linear(100, 10, random)));
  nn::Sgd sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9, .dampening = 0.1, .weight_decay = 1e-4});
  nn::Batches batches(nn::read_digits(), 60, {.drop_last = true});
  Tape tape;
  int step = 0;
  std::size_t system = 0;
  std::size_t heap = 0;
  for (const nn::Dataset& batch : batches.epoch(0)) {
    if (step == 2) {
      system = memory_report().system_allocations;
      heap = heap_allocations;
    }
    ++step;
    tape.step([&] {
      const Var loss = cross_entropy(net(tape.leaf(batch.x, "x")), tape.leaf(batch.labels, "labels"));
      sgd.step(grad(loss, sgd.parameters()));
      return loss.item();
    });
  }
  const std::size_t heap_now = heap_allocations;
  EXPECT_EQ(memory_report().system_allocations, system);
  EXPECT_EQ(heap_now, heap) << "over " << step - 2 << " steps";
}

INSTANTIATE_TEST_SUITE_P(Kernels, Allocation, testing::Values(BatchNormKernel::staged, BatchNormKernel::fused),
                         [](const auto& k) { return k.param == BatchNormKernel::staged ? "staged" : "fused"; });

}  // namespace
}  // namespace ebb::test
