// What libtorch holds, counted by an allocator of ours that stands in for its own. (No C++20 here: with Clang 14,
// libtorch's headers want an older standard.)
#pragma once

#include <c10/core/CPUAllocator.h>

#include <atomic>
#include <cstdlib>

namespace ebb::bench {

/// libtorch's own allocation, counted: 64-byte aligned blocks with their size in front.
class CountingAllocator : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) const override {
    if (bytes == 0) return {nullptr, nullptr, &free, c10::Device(c10::DeviceType::CPU)};
    auto* block = static_cast<char*>(std::aligned_alloc(kFront, (bytes + 2 * kFront - 1) / kFront * kFront));
    *reinterpret_cast<size_t*>(block) = bytes;
    const size_t live = live_ += bytes;
    if (live > peak_) peak_ = live;
    return {block + kFront, block + kFront, &free, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &free; }

  /// The most that `run` holds beside what is there when it begins.
  template <class Run>
  static size_t peak_of(Run run) {
    static CountingAllocator allocator;
    c10::Allocator* const usual = c10::GetCPUAllocator();
    c10::SetCPUAllocator(&allocator, 1);
    peak_ = live_.load();
    const size_t before = live_;
    run();
    const size_t peak = peak_ - before;
    c10::SetCPUAllocator(usual, 1);
    return peak;
  }

 private:
  static constexpr size_t kFront = 64;
  static void free(void* data) {
    if (data == nullptr) return;
    char* block = static_cast<char*>(data) - kFront;
    live_ -= *reinterpret_cast<size_t*>(block);
    std::free(block);
  }
  static inline std::atomic<size_t> live_{0}, peak_{0};
};

}  // namespace ebb::bench
