// Tensors, shapes and the allocator below them.
#include <ebb/engine/error.h>
#include <ebb/engine/tensor/tensor.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <sstream>
#include <thread>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

// --- shapes ----------------------------------------------------------------------------------------------------------

TEST(Shape, Limits) {
  const Shape eight{1, 2, 3, 4, 5, 6, 7, 8};
  EXPECT_EQ(eight.numel(), 40320);
  EXPECT_EQ(thrown<ShapeError>([] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; }), "shape: more than 8 axes are not supported");
  EXPECT_EQ(thrown<ShapeError>([] { Shape{2, -1}; }), "shape: sizes must not be negative, got -1");
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ((Shape{3, 0}).numel(), 0);
  const std::int64_t big = std::int64_t{1} << 40;
  EXPECT_EQ(thrown<ShapeError>([&] {
              static_cast<void>((Shape{big, big}).numel());
            }),
            "shape: [1099511627776, 1099511627776] holds more than 2^63 - 1 elements");
  EXPECT_EQ(thrown<ShapeError>([&] { Tensor::zeros({std::int64_t{1} << 61}, DType::f64); }),
            "tensor: f64[2305843009213693952] holds more than 2^63 - 1 bytes");
  EXPECT_THROW(Tensor::zeros({std::int64_t{1} << 58}), std::bad_alloc);
}

TEST(Shape, Broadcasting) {
  EXPECT_EQ(broadcast({4, 1}, {3}), (Shape{4, 3}));
  EXPECT_EQ(broadcast({}, {2, 2}), (Shape{2, 2}));
  EXPECT_EQ(broadcast({0}, {1}), (Shape{0}));
  EXPECT_EQ(broadcast({2}, {3}), std::nullopt);
  EXPECT_TRUE(broadcasts_to({1, 3}, {5, 4, 3}));
  EXPECT_FALSE(broadcasts_to({5, 3}, {3}));
  EXPECT_FALSE(broadcasts_to({3}, {1}));
}

// --- tensors ---------------------------------------------------------------------------------------------------------

TEST(Tensor, CopiesShareUntilOneIsWritten) {
  Tensor a = Tensor::of({3}, {1.0F, 2.0F, 3.0F});
  const Tensor b = a;
  EXPECT_TRUE(a.shares_buffer_with(b));
  a.mutable_data<float>()[0] = 9;
  EXPECT_FALSE(a.shares_buffer_with(b));
  EXPECT_EQ(b.at(0), 1);
  EXPECT_EQ(a.at(0), 9);
  EXPECT_EQ(a.at(2), 3);
  const float* place = a.data<float>().data();
  a.mutable_data<float>()[1] = 8;  // alone: no copy
  EXPECT_EQ(a.data<float>().data(), place);
  const Tensor flat = b.reshaped({3, 1});
  EXPECT_TRUE(flat.shares_buffer_with(b));
  EXPECT_FALSE(b.clone().shares_buffer_with(b));
}

TEST(Tensor, Errors) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_EQ(thrown<ShapeError>([] {
              Tensor::of({2, 2}, {1.0, 2.0});
            }),
            "tensor: 2 values do not fill shape [2, 2], which holds 4");
  EXPECT_EQ(thrown<ShapeError>([&] { static_cast<void>(x.item()); }),
            "item: expected one element, got f32[2, 3]. Reduce it first, or read the elements with data<T>().");
  EXPECT_EQ(thrown<ShapeError>([&] { x.reshaped({5}); }), "reshape: f32[2, 3] has 6 elements, shape [5] holds 5");
  EXPECT_EQ(thrown<DTypeError>([&] { x.data<double>(); }),
            "data: asked for f64 elements of f32[2, 3]. Convert it first with to(f64).");
  EXPECT_EQ(thrown<ShapeError>([&] { static_cast<void>(x.at(6)); }),
            "at: element 6 is outside of f32[2, 3], which holds 6");
  EXPECT_THROW(static_cast<void>(x.at(-1)), ShapeError);
  EXPECT_EQ(thrown<UsageError>([] { static_cast<void>(Tensor::abstract({}, DType::f64).item()); }),
            "at: the tensor f64[] has no values.");
}

TEST(Tensor, Conversions) {
  const Tensor x = Tensor::of({4}, {1.9, -1.9, 0.0, 1e-30});
  EXPECT_EQ(to_string(x.to(DType::i64)), "[1, -1, 0, 0]");
  EXPECT_EQ(to_string(x.to(DType::boolean)), "[true, true, false, true]");
  EXPECT_EQ(x.to(DType::f32).to(DType::f64).at(0), static_cast<double>(1.9F));
  EXPECT_TRUE(x.to(DType::f64).shares_buffer_with(x));
  EXPECT_EQ(Tensor::of<std::int64_t>({1}, {std::int64_t{1} << 60}).to(DType::i64).at(0), std::ldexp(1, 60));
}

TEST(Tensor, ConversionsOfWhatIntegersCannotHold) {
  const double inf = std::numeric_limits<double>::infinity();
  const Tensor x = Tensor::of({5}, {inf, -inf, std::nan(""), 1e30, -1e30});
  EXPECT_EQ(to_string(x.to(DType::i64)),
            "[9223372036854775807, -9223372036854775808, 0, 9223372036854775807, "
            "-9223372036854775808]");
}

TEST(Tensor, Identical) {
  EXPECT_TRUE(identical(Tensor::zeros({2}), Tensor::zeros({2})));
  EXPECT_FALSE(identical(Tensor::zeros({2}), Tensor::zeros({1, 2})));
  EXPECT_FALSE(identical(Tensor::zeros({2}), Tensor::zeros({2}, DType::i64)));
  EXPECT_FALSE(identical(Tensor::full({1}, 0.0), Tensor::full({1}, -0.0)));
  EXPECT_TRUE(identical(Tensor::full({1}, NAN), Tensor::full({1}, NAN)));
}

TEST(Tensor, Printing) {
  EXPECT_EQ(to_string(Tensor::full({}, 2.5)), "2.5");
  EXPECT_EQ(to_string(Tensor::of({2, 2}, {1.0F, -0.0F, 1e-20F, 123456789.0F})), "[[1, -0],\n [1e-20, 1.23457e+08]]");
  EXPECT_EQ(to_string(Tensor::of<bool>({2}, {true, false})), "[true, false]");
  EXPECT_EQ(to_string(Tensor::of<std::int64_t>({1}, {std::numeric_limits<std::int64_t>::max()})),
            "[9223372036854775807]");
  EXPECT_EQ(to_string(Tensor::zeros({0})), "[]");
  EXPECT_EQ(to_string(Tensor::zeros({2, 0})), "[[],\n []]");
  EXPECT_EQ(to_string(Tensor::of({3}, {std::nan(""), -std::nan(""), 1 / 0.0})), "[nan, nan, inf]");
  EXPECT_EQ(to_string(Tensor::abstract({2}, DType::f32)), "f32[2] without values");
  EXPECT_EQ(to_string(Tensor::of({2}, {1.0 / 3, 2.0 / 3}), 3), "[0.333, 0.667]");
  Tensor longer = Tensor::empty({9}, DType::i64);
  for (std::int64_t i = 0; i < 9; ++i) longer.mutable_data<std::int64_t>()[static_cast<std::size_t>(i)] = i;
  EXPECT_EQ(to_string(longer), "[0, 1, 2, ..., 6, 7, 8]");
  std::ostringstream out;
  out << Tensor::zeros({2, 1, 2});
  EXPECT_EQ(out.str(), "[[[0, 0]],\n [[0, 0]]]");
  EXPECT_EQ(describe(longer), "i64[9]");
}

// --- the allocator ---------------------------------------------------------------------------------------------------

TEST(Allocator, AlignsAndReuses) {
  std::set<void*> seen;
  for (std::size_t bytes = 1; bytes < (std::size_t{1} << 24); bytes = bytes * 5 / 3 + 1) {
    void* block = allocate_cached(bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u) << bytes;
    std::memset(block, 0x5a, bytes);
    free_cached(block);
    void* again = allocate_cached(bytes);
    EXPECT_EQ(again, block) << bytes;
    free_cached(again);
  }
  free_cached(nullptr);
}

TEST(Allocator, LargeBlocksAreStaggered) {
  std::vector<void*> blocks;
  std::set<std::uintptr_t> offsets;
  for (int i = 0; i < 8; ++i) {
    blocks.push_back(allocate_cached(1 << 20));
    offsets.insert(reinterpret_cast<std::uintptr_t>(blocks.back()) % 4096);
  }
  EXPECT_GE(offsets.size(), 7u);
  for (void* block : blocks) free_cached(block);
}

TEST(Allocator, Reports) {
  const MemoryReport before = memory_report();
  reset_peak_memory();
  {
    const Tensor x = Tensor::zeros({1000, 1000});
    EXPECT_GE(memory_report().live, before.live + 4000000);
    EXPECT_LE(memory_report().live, before.live + 4000200);
  }
  EXPECT_EQ(memory_report().live, before.live);
  EXPECT_GE(memory_report().peak, before.live + 4000000);
  EXPECT_GE(memory_report().cached, 4000000u);
  reset_peak_memory();
  EXPECT_EQ(memory_report().peak, memory_report().live);
  release_cached_memory();
  EXPECT_EQ(memory_report().cached, 0u);
}

TEST(Allocator, ManyThreads) {
  const std::size_t live = memory_report().live;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      std::vector<Tensor> held;
      for (int i = 0; i < 2000; ++i) {
        held.push_back(Tensor::full({(i * 37 + t) % 300 + 1}, t));
        if (held.size() > 20) held.erase(held.begin() + i % 20);
        for (const Tensor& x : held) ASSERT_EQ(x.at(x.numel() - 1), t);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(memory_report().live, live);
}

TEST(Allocator, FreedByAnotherThread) {
  Tensor x = Tensor::full({1000}, 3);
  std::thread([y = std::move(x)]() mutable {
    EXPECT_EQ(y.at(999), 3);
    y = Tensor();
  }).join();
}

}  // namespace
}  // namespace ebb
