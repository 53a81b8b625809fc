// Memory: a thread-safe caching allocator, and a shared handle to one block of it.
//
// Freed blocks are kept in lists by size class and handed out again, so that a training loop asks the system for
// nothing after its first steps, and no large temporary is a fresh mapping whose pages fault in. Blocks start at a
// cache line; large ones are staggered over the page, since several streams at one page offset fight for the same cache
// sets.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <new>
#include <utility>
#include <vector>

namespace ebb {

/// What the caching allocator holds, in bytes of requested memory.
struct MemoryReport {
  std::size_t live = 0;                ///< handed out now
  std::size_t peak = 0;                ///< the most that was handed out at once, since the start or reset_peak_memory()
  std::size_t cached = 0;              ///< freed and kept for reuse
  std::size_t system_allocations = 0;  ///< how often the system was asked for memory
};

MemoryReport memory_report();

/// Starts the count of `peak` anew, from what is live now.
void reset_peak_memory();

/// Gives the cached blocks back to the system.
void release_cached_memory();

/// At least `bytes` bytes, aligned to 64; throws std::bad_alloc when the system has none.
void* allocate_cached(std::size_t bytes);
void free_cached(void* block) noexcept;

/// A standard allocator over the cache, for containers on hot paths.
template <class T>
struct CachedAllocator {
  using value_type = T;
  CachedAllocator() = default;
  template <class U>
  CachedAllocator(const CachedAllocator<U>&) {}
  T* allocate(std::size_t n) {
    if (n > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
    return static_cast<T*>(allocate_cached(n * sizeof(T)));
  }
  void deallocate(T* block, std::size_t) noexcept { free_cached(block); }
  template <class U>
  bool operator==(const CachedAllocator<U>&) const {
    return true;
  }
};

template <class T>
using CachedVector = std::vector<T, CachedAllocator<T>>;

/// A shared handle to a block of memory: copies count, the last one frees.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::size_t bytes);
  /// Part of another's memory, from `offset` on, which lives on as long as the part does.
  Buffer(const Buffer& whole, std::size_t offset);
  Buffer(const Buffer& other) noexcept : block_(other.block_) {
    if (block_) block_->count.fetch_add(1, std::memory_order_relaxed);
  }
  Buffer(Buffer&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Buffer& operator=(Buffer other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Buffer() {
    if (block_ && block_->count.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

  explicit operator bool() const { return block_ != nullptr; }
  std::byte* data() const { return block_ ? block_->data : nullptr; }
  std::uint32_t holders() const { return block_ ? block_->count.load(std::memory_order_acquire) : 0; }
  bool unique() const { return holders() == 1; }
  bool operator==(const Buffer& other) const { return block_ == other.block_; }

 private:
  struct alignas(64) Block {
    std::atomic<std::uint32_t> count{1};
    std::byte* data = nullptr;
    Block* whole = nullptr;  // of which this is a part
  };
  void destroy() noexcept;

  Block* block_ = nullptr;
};

}  // namespace ebb
