// The pool: workers that wait for an epoch to advance, and ranges that are claimed rather than
// assigned.
//
// Each range belongs to a worker, but whoever moves its slot from the previous epoch to this one
// runs it. A worker claims its own slot as soon as it sees the epoch; the caller, done with its
// range, claims what is still unclaimed. So a worker that sleeps or has lost its core delays
// nobody, and a forked child without workers still computes. A worker reads the job only after a
// successful claim, and the caller leaves only when every claimed range is done: that is what makes
// the job, which lives on the caller's stack, safe to share.
#include <ebb/engine/error.h>
#include <ebb/engine/threads/pool.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace ebb {
namespace {

constexpr int kMaxThreads = 1024;
// How long a worker looks out for the next loop before it sleeps: longer than the serial code
// between two loops of a training step, short enough that an idle program burns nothing.
constexpr std::chrono::microseconds kSpin{50};

using Body = FunctionRef<void(std::int64_t, std::int64_t)>;

// True in a thread that is inside a parallel loop.
thread_local bool inside_loop = false;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Returns the value once it differs from `old`: looks for kSpin, then sleeps.
std::uint32_t await_change(const std::atomic<std::uint32_t>& value, std::uint32_t old) {
  const auto start = std::chrono::steady_clock::now();
  do {
    for (int i = 0; i < 64; ++i) {
      const std::uint32_t now = value.load(std::memory_order_acquire);
      if (now != old) return now;
      relax();
    }
  } while (std::chrono::steady_clock::now() - start < kSpin);
  for (;;) {
    value.wait(old, std::memory_order_acquire);
    const std::uint32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
  }
}

struct Job {
  Body body;
  std::int64_t tasks;
  std::int64_t ranges;
  std::exception_ptr error;
  std::atomic_flag failed = ATOMIC_FLAG_INIT;

  void run(std::int64_t rank) noexcept {
    const std::int64_t share = tasks / ranges;
    const std::int64_t rest = tasks % ranges;
    const std::int64_t begin = rank * share + std::min(rank, rest);
    try {
      body(begin, begin + share + (rank < rest ? 1 : 0));
    } catch (...) {
      if (!failed.test_and_set()) error = std::current_exception();
    }
  }
};

class Pool {
 public:
  explicit Pool(int threads) : threads_(threads) {}

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  void resize(int threads) {
    const std::lock_guard lock(mutex_);
    if (threads == this->threads()) return;
    stop();
    threads_.store(threads, std::memory_order_relaxed);
  }

  /// Ends the workers and leaves one thread: loops in later static destructors run inline.
  void shut_down() {
    const std::lock_guard lock(mutex_);
    stop();
    threads_.store(1, std::memory_order_relaxed);
  }

  /// False if another thread holds the pool: nothing was run.
  bool run(std::int64_t tasks, Body body) {
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock.owns_lock() || threads() == 1) return false;
    if (workers_.empty()) start();
    Job job{body, tasks, std::min<std::int64_t>(threads(), tasks), {}};
    share_out(job);
    if (job.error) std::rethrow_exception(job.error);
    return true;
  }

 private:
  struct alignas(64) Slot {
    std::atomic<std::uint32_t> claimed;  // The last epoch in which this slot's range was taken.
  };

  void share_out(Job& job) {
    const std::uint32_t epoch = epoch_.load(std::memory_order_relaxed) + 1;
    const auto ranges = static_cast<std::size_t>(job.ranges);
    // Slots without a range count as taken, so that every slot advances by one in every epoch.
    for (std::size_t rank = ranges; rank < slot_count_; ++rank) {
      slots_[rank].claimed.store(epoch, std::memory_order_relaxed);
    }
    job_ = &job;
    pending_.store(static_cast<std::uint32_t>(ranges - 1), std::memory_order_relaxed);
    epoch_.store(epoch, std::memory_order_seq_cst);
    epoch_.notify_all();  // A system call only if somebody sleeps.

    inside_loop = true;
    job.run(0);
    for (std::size_t rank = 1; rank < ranges; ++rank) take(rank, epoch);
    inside_loop = false;
    std::uint32_t left = pending_.load(std::memory_order_acquire);
    while (left != 0) left = await_change(pending_, left);
  }

  /// Runs the range of `rank` unless somebody else has taken it in this epoch.
  void take(std::size_t rank, std::uint32_t epoch) {
    std::uint32_t previous = epoch - 1;
    if (!slots_[rank].claimed.compare_exchange_strong(previous, epoch, std::memory_order_acq_rel)) {
      return;
    }
    job_->run(static_cast<std::int64_t>(rank));
    if (pending_.fetch_sub(1, std::memory_order_seq_cst) == 1) pending_.notify_one();
  }

  void work(std::size_t rank, std::uint32_t seen) {
    inside_loop = true;
    for (;;) {
      seen = await_change(epoch_, seen);
      if (stopping_.load(std::memory_order_acquire)) return;
      take(rank, seen);
    }
  }

  void start() {
    slot_count_ = static_cast<std::size_t>(threads());
    const std::uint32_t epoch = epoch_.load(std::memory_order_relaxed);
    slots_ = std::make_unique<Slot[]>(slot_count_);
    for (std::size_t rank = 0; rank < slot_count_; ++rank) slots_[rank].claimed.store(epoch);
    stopping_.store(false, std::memory_order_relaxed);
    workers_.reserve(slot_count_ - 1);
    try {
      for (std::size_t rank = 1; rank < slot_count_; ++rank) {
        workers_.emplace_back([this, rank, epoch] { work(rank, epoch); });
      }
    } catch (const std::system_error&) {
      // The system gives no more threads: the caller runs the shares of those that are missing.
    }
  }

  void stop() {
    stopping_.store(true, std::memory_order_release);
    epoch_.fetch_add(1, std::memory_order_seq_cst);
    epoch_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
  }

  std::mutex mutex_;  // Held by the thread whose loop is running.
  std::atomic<int> threads_;
  std::vector<std::thread> workers_;
  std::unique_ptr<Slot[]> slots_;
  std::size_t slot_count_ = 0;
  std::atomic<bool> stopping_ = false;
  Job* job_ = nullptr;
  alignas(64) std::atomic<std::uint32_t> epoch_ = 0;
  alignas(64) std::atomic<std::uint32_t> pending_ = 0;
};

void check_threads(long n, const std::string& given) {
  if (n >= 1 && n <= kMaxThreads) return;
  throw UsageError(given + " must be a whole number from 1 to " + std::to_string(kMaxThreads));
}

int initial_threads() {
  if (const char* text = std::getenv("EBB_THREADS"); text != nullptr && *text != '\0') {
    const char* end = text + std::strlen(text);
    long n = 0;
    const auto parsed = std::from_chars(text, end, n);
    if (parsed.ec != std::errc{} || parsed.ptr != end) n = 0;
    check_threads(n, "threads: EBB_THREADS is '" + std::string(text) + "', it");
    return static_cast<int>(n);
  }
  const auto cores = static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(cores, 1, kMaxThreads);
}

// Never destroyed, so that static destructors may still run loops; at exit only its workers end.
Pool* the_pool = nullptr;

Pool& pool() {
  static const bool made = [] {
    the_pool = new Pool(initial_threads());
    std::atexit([] { the_pool->shut_down(); });
    // A forked child has no workers, and the parent may have held the lock: it starts with a pool
    // of its own.
    pthread_atfork(nullptr, nullptr, [] { the_pool = new Pool(the_pool->threads()); });
    return true;
  }();
  static_cast<void>(made);
  return *the_pool;
}

}  // namespace

int threads() { return pool().threads(); }

void set_threads(int n) {
  check_threads(n, "set_threads: n is " + std::to_string(n) + ", it");
  if (inside_loop) throw UsageError("set_threads: called inside a parallel loop");
  pool().resize(n);
}

void parallel_for(std::int64_t tasks, Body body) {
  if (tasks <= 0) return;
  if (tasks == 1 || inside_loop || pool().threads() == 1 || !pool().run(tasks, body)) {
    body(0, tasks);
  }
}

}  // namespace ebb
