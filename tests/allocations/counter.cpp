#include "tests/allocations/counter.h"

#include <atomic>
#include <cstdlib>
#include <new>

// The cache asks for its blocks by aligned_alloc, which a program may replace where no sanitizer has.
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#if !defined(__has_feature)
#define EBB_SEES_REQUESTS 1
#elif !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define EBB_SEES_REQUESTS 1
#endif
#endif

namespace {

std::atomic<std::size_t> count{0};
std::atomic<std::size_t> total{0};

// Requests since fail_requests(), and which of them fail; none do while `failing` is false.
std::atomic<bool> failing{false};
std::atomic<std::size_t> requests{0}, first_failure{0}, failures{0};

bool refused() {
  if (!failing.load(std::memory_order_relaxed)) return false;
  const std::size_t request = requests.fetch_add(1);
  return request >= first_failure && request - first_failure < failures;
}

void* counted(std::size_t bytes, std::size_t alignment) {
  count.fetch_add(1, std::memory_order_relaxed);
  total.fetch_add(bytes, std::memory_order_relaxed);
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
#ifdef EBB_SEES_REQUESTS
  void* block = std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
#else
  void* block = refused() ? nullptr : std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
#endif
  if (block) return block;
  throw std::bad_alloc();
}

}  // namespace

#ifdef EBB_SEES_REQUESTS
extern "C" void* aligned_alloc(std::size_t alignment, std::size_t bytes) noexcept {
  void* block = nullptr;
  if (refused() || posix_memalign(&block, alignment, bytes) != 0) return nullptr;
  return block;
}
#endif

void* operator new(std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new[](std::size_t bytes) { return counted(bytes, alignof(std::max_align_t)); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return counted(bytes, static_cast<std::size_t>(alignment));
}
// As std::stable_sort asks.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return ::operator new(bytes);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* block) noexcept { std::free(block); }
void operator delete[](void* block) noexcept { std::free(block); }
void operator delete(void* block, std::size_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t) noexcept { std::free(block); }
void operator delete(void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, std::align_val_t) noexcept { std::free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }
void operator delete[](void* block, std::size_t, std::align_val_t) noexcept { std::free(block); }

namespace ebb::test {

bool fail_requests(std::size_t first, std::size_t many) {
  requests = 0;
  first_failure = first;
  failures = many;
  failing = true;
#ifdef EBB_SEES_REQUESTS
  return true;
#else
  failing = false;
  return false;
#endif
}

std::size_t stop_failing() {
  failing = false;
  return requests;
}

Allocations allocations() { return {count.load(), total.load()}; }

}  // namespace ebb::test
