#include <ebb/engine/tensor/buffer.h>
#include <ebb/engine/tensor/reserve.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <thread>

#if defined(__SANITIZE_ADDRESS__)
#define EBB_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EBB_ASAN 1
#endif
#endif
#ifdef EBB_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace ebb {
namespace {

// In front of every block lies one cache line that says what it is.
struct alignas(64) Header {
  void* base;             // what the system gave
  std::size_t mapped;     // bytes of the mapping, 0 if it came from aligned_alloc
  std::size_t capacity;   // usable bytes
  std::size_t requested;  // bytes asked for by the holder
  Header* next;           // in the list of free blocks
  int size_class;
};

constexpr std::size_t kLine = 64;
constexpr std::size_t kPage = 4096;
constexpr std::size_t kLarge = 64 * 1024;       // from here on blocks are staggered
constexpr std::size_t kHuge = 4 * 1024 * 1024;  // from here on they are mapped with huge pages
constexpr int kSteps = 8;                       // classes per doubling: at most an eighth is wasted
constexpr int kClasses = 48 * kSteps;

// Class c holds blocks of (8 + c % 8) << (c / 8 + 3) bytes: 64, 72, ... 120, 128, 144, ...
std::size_t capacity_of(int c) { return static_cast<std::size_t>(kSteps + c % kSteps) << (c / kSteps + 3); }

int class_of(std::size_t bytes) {
  bytes = std::max(bytes, kLine);
  const int shift = std::bit_width(bytes - 1) - 4;                             // bytes <= 16 << shift
  const std::size_t units = (bytes + (std::size_t{1} << shift) - 1) >> shift;  // 9 .. 16
  return (shift - 3) * kSteps + static_cast<int>(units) - kSteps;
}

void poison([[maybe_unused]] Header* header) {
#ifdef EBB_ASAN
  __asan_poison_memory_region(header + 1, header->capacity);
#endif
}

void unpoison([[maybe_unused]] Header* header) {
#ifdef EBB_ASAN
  __asan_unpoison_memory_region(header + 1, header->capacity);
#endif
}

}  // namespace

// What the cache does with reserves. Those in use are few, and looked at only when all is lost.
class ReserveAccess {
 public:
  static void count(int size_class) {
    const std::lock_guard lock(mutex());
    Reserve* const reserve = rehearsed.load(std::memory_order_relaxed);
    if (!reserve) return;
    const auto kind = std::ranges::find(reserve->kinds_, size_class, &Reserve::Kind::size_class);
    if (kind != reserve->kinds_.end()) {
      ++kind->wanted;
    } else {
      reserve->kinds_.push_back({size_class, 1});
    }
  }
  static Header* take(int size_class) {
    const std::lock_guard lock(mutex());
    for (Reserve* reserve = in_use; reserve; reserve = reserve->next_) {
      const auto kind = std::ranges::find(reserve->kinds_, size_class, &Reserve::Kind::size_class);
      if (kind == reserve->kinds_.end() || kind->blocks.empty()) continue;
      void* const block = kind->blocks.back();
      kind->blocks.pop_back();
      return static_cast<Header*>(block);
    }
    return nullptr;
  }
  static std::mutex& mutex() {
    static std::mutex* const instance = new std::mutex;
    return *instance;
  }
  static std::atomic<Reserve*> rehearsed;
  static Reserve* in_use;
};
std::atomic<Reserve*> ReserveAccess::rehearsed{nullptr};
Reserve* ReserveAccess::in_use = nullptr;

namespace {

// Held for a few instructions, many times a step: a mutex costs more than what it would guard.
class SpinLock {
 public:
  void lock() {
    while (held_.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
  }
  void unlock() { held_.clear(std::memory_order_release); }

 private:
  std::atomic_flag held_;
};

class Cache {
 public:
  void* allocate(std::size_t bytes) {
    const int c = class_of(bytes);
    if (c >= kClasses) throw std::bad_alloc();
    if (ReserveAccess::rehearsed.load(std::memory_order_relaxed)) ReserveAccess::count(c);
    Header* header = take(c);
    if (!header) header = fresh_or_reserved(c);
    unpoison(header);
    header->requested = bytes;
    const std::size_t live = live_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
    std::size_t peak = peak_.load(std::memory_order_relaxed);
    while (live > peak && !peak_.compare_exchange_weak(peak, live, std::memory_order_relaxed)) {
    }
    return header + 1;
  }

  void free(void* block) noexcept {
    Header* header = static_cast<Header*>(block) - 1;
    live_.fetch_sub(header->requested, std::memory_order_relaxed);
    poison(header);
    put(header);
  }

  void release() {
    for (List& list : lists_) {
      Header* header = nullptr;
      {
        const std::lock_guard guard(list.lock);
        header = std::exchange(list.head, nullptr);
        list.count = 0;
      }
      while (header) {
        Header* next = header->next;
        unpoison(header);
        if (header->mapped) {
          munmap(header->base, header->mapped);
        } else {
          std::free(header->base);
        }
        header = next;
      }
    }
  }

  MemoryReport report() {
    std::size_t cached = 0;
    for (int c = 0; c < kClasses; ++c) {
      List& list = lists_[static_cast<std::size_t>(c)];
      const std::lock_guard guard(list.lock);
      cached += list.count * capacity_of(c);
    }
    return {live_.load(), peak_.load(), cached, system_.load()};
  }
  void reset_peak() { peak_.store(live_.load()); }

  /// A block that is handed out to nobody, and back.
  void* set_aside(int c) {
    Header* const header = take(c);
    return header ? header : fresh(c);
  }
  void give_back(void* set_aside) noexcept { put(static_cast<Header*>(set_aside)); }

 private:
  struct List {
    SpinLock lock;
    Header* head = nullptr;
    std::size_t count = 0;
  };

  void put(Header* header) noexcept {
    List& list = lists_[static_cast<std::size_t>(header->size_class)];
    const std::lock_guard guard(list.lock);
    header->next = list.head;
    list.head = header;
    ++list.count;
  }

  Header* fresh_or_reserved(int c) {
    try {
      return fresh(c);
    } catch (const std::bad_alloc&) {
      Header* const header = ReserveAccess::take(c);
      if (!header) throw;
      return header;
    }
  }

  Header* take(int c) {
    List& list = lists_[static_cast<std::size_t>(c)];
    const std::lock_guard guard(list.lock);
    Header* header = list.head;
    if (header) {
      list.head = header->next;
      --list.count;
    }
    return header;
  }

  Header* fresh(int c) {
    const std::size_t capacity = capacity_of(c);
    // Each large block begins seven cache lines further into its page than the one before.
    const std::size_t stagger =
        capacity < kLarge ? 0 : (turn_.fetch_add(1, std::memory_order_relaxed) * 7 * kLine) % kPage;
    const std::size_t total = (capacity + sizeof(Header) + stagger + kPage - 1) / kPage * kPage;
    void* base = nullptr;
    std::size_t mapped = 0;
    if (capacity >= kHuge) {
      base = mmap(nullptr, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (base == MAP_FAILED) throw std::bad_alloc();
      madvise(base, total, MADV_HUGEPAGE);  // advice only: without it the block is merely slower
      mapped = total;
    } else {
      const std::size_t bytes = capacity < kLarge ? (capacity + sizeof(Header) + kLine - 1) / kLine * kLine : total;
      base = std::aligned_alloc(kLine, bytes);
      if (!base) throw std::bad_alloc();
    }
    system_.fetch_add(1, std::memory_order_relaxed);
    return new (static_cast<std::byte*>(base) + stagger) Header{base, mapped, capacity, 0, nullptr, c};
  }

  std::array<List, kClasses> lists_;
  std::atomic<std::size_t> live_{0}, peak_{0}, system_{0}, turn_{0};
};

Cache& cache() {
  static Cache* instance = new Cache;  // never destroyed: tensors with static lifetime outlive any order
  return *instance;
}

}  // namespace

MemoryReport memory_report() { return cache().report(); }
void reset_peak_memory() { cache().reset_peak(); }
void release_cached_memory() { cache().release(); }
void* allocate_cached(std::size_t bytes) { return cache().allocate(bytes); }
void free_cached(void* block) noexcept {
  if (block) cache().free(block);
}

Reserve::~Reserve() {
  for (Kind& kind : kinds_) {
    for (void* block : kind.blocks) cache().give_back(block);
  }
}

void Reserve::fill() {
  for (Kind& kind : kinds_) {
    kind.blocks.reserve(kind.wanted);
    while (kind.blocks.size() < kind.wanted) kind.blocks.push_back(cache().set_aside(kind.size_class));
  }
}

Reserve::Rehearsal::Rehearsal(Reserve& reserve) {
  const std::lock_guard lock(ReserveAccess::mutex());
  Reserve* nobody = nullptr;
  counts_ = ReserveAccess::rehearsed.compare_exchange_strong(nobody, &reserve);
  for (Kind& kind : reserve.kinds_) kind.wanted = counts_ ? 0 : kind.wanted;
}
Reserve::Rehearsal::~Rehearsal() {
  const std::lock_guard lock(ReserveAccess::mutex());
  if (counts_) ReserveAccess::rehearsed.store(nullptr);
}

Reserve::Use::Use(Reserve& reserve) : reserve_(reserve) {
  const std::lock_guard lock(ReserveAccess::mutex());
  reserve_.next_ = std::exchange(ReserveAccess::in_use, &reserve_);
}
Reserve::Use::~Use() {
  const std::lock_guard lock(ReserveAccess::mutex());
  Reserve** at = &ReserveAccess::in_use;
  while (*at != &reserve_) at = &(*at)->next_;
  *at = reserve_.next_;
}

Buffer::Buffer(std::size_t bytes) {
  void* memory = allocate_cached(sizeof(Block) + bytes);
  block_ = new (memory) Block;
  block_->data = static_cast<std::byte*>(memory) + sizeof(Block);
}

Buffer::Buffer(const Buffer& whole, std::size_t offset) {
  block_ = new (allocate_cached(sizeof(Block))) Block;
  block_->data = whole.data() + offset;
  block_->whole = whole.block_;
  whole.block_->count.fetch_add(1, std::memory_order_relaxed);
}

void Buffer::destroy() noexcept {
  Buffer whole;
  whole.block_ = block_->whole;  // gives its count back
  block_->~Block();
  free_cached(block_);
}

}  // namespace ebb
