// Scratch memory of a loop's ranges: a part for each range of a parallel loop.
//
// The caller holds them all, so that it does not matter to the memory in use which threads come in time; it keeps them
// for its next loop.
#pragma once

#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/threads/pool.h>

#include <atomic>
#include <cstddef>

namespace ebb {

class Scratch {
 public:
  explicit Scratch(std::size_t bytes) : bytes_(bytes) {
    thread_local CachedVector<std::byte> memory;
    const std::size_t all = bytes * static_cast<std::size_t>(threads());
    if (memory.size() < all) memory.resize(all);
    next_ = memory.data();
  }
  std::byte* take() { return next_.fetch_add(static_cast<std::ptrdiff_t>(bytes_), std::memory_order_relaxed); }

 private:
  std::size_t bytes_;
  std::atomic<std::byte*> next_;
};

}  // namespace ebb
