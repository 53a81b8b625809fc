// The pool: every task runs exactly once whatever the number of threads, errors come back, and the
// awkward callers (nested, concurrent, resizing, forked) get their work done too. Run under TSan it
// is also the pool's race check.
#include <ebb/engine/error.h>
#include <ebb/engine/threads/pool.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <numeric>
#include <set>
#include <stdexcept>
#include <thread>
#include <utility>
#include <vector>

namespace ebb {
namespace {

class PoolTest : public ::testing::Test {
 protected:
  PoolTest() : before_(threads()) {}
  ~PoolTest() override { set_threads(before_); }

 private:
  int before_;
};

TEST_F(PoolTest, RunsEveryTaskOnce) {
  for (const int n : {1, 2, 3, 8}) {
    set_threads(n);
    EXPECT_EQ(threads(), n);
    for (const std::int64_t tasks : {0, 1, 2, 3, 7, 8, 9, 1000}) {
      std::vector<std::atomic<int>> seen(static_cast<std::size_t>(tasks));
      parallel_for(tasks, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
      });
      for (const auto& count : seen) EXPECT_EQ(count, 1) << n << " threads, " << tasks << " tasks";
    }
  }
}

TEST_F(PoolTest, CutsAtTheSamePlaces) {
  set_threads(3);
  std::mutex mutex;
  std::set<std::pair<std::int64_t, std::int64_t>> ranges;
  for (int repeat = 0; repeat < 50; ++repeat) {
    parallel_for(10, [&](std::int64_t begin, std::int64_t end) {
      const std::lock_guard lock(mutex);
      ranges.emplace(begin, end);
    });
  }
  const std::set<std::pair<std::int64_t, std::int64_t>> expected{{0, 4}, {4, 7}, {7, 10}};
  EXPECT_EQ(ranges, expected);
}

TEST_F(PoolTest, ManyShortLoops) {
  set_threads(4);
  std::array<std::int64_t, 4> sums{};
  for (int repeat = 0; repeat < 20000; ++repeat) {
    parallel_for(4, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) sums[static_cast<std::size_t>(i)] += i;
    });
  }
  EXPECT_EQ(sums, (std::array<std::int64_t, 4>{0, 20000, 40000, 60000}));
}

TEST_F(PoolTest, NestedLoopsRunInline) {
  set_threads(4);
  std::atomic<int> inner = 0;
  parallel_for(4, [&](std::int64_t begin, std::int64_t end) {
    const auto self = std::this_thread::get_id();
    for (std::int64_t i = begin; i < end; ++i) {
      parallel_for(100, [&](std::int64_t b, std::int64_t e) {
        EXPECT_EQ(std::this_thread::get_id(), self);
        inner += static_cast<int>(e - b);
      });
    }
  });
  EXPECT_EQ(inner, 400);
}

TEST_F(PoolTest, RethrowsAndStaysUsable) {
  for (const int n : {1, 4}) {
    set_threads(n);
    for (const std::int64_t guilty : {0, 3}) {
      const auto run = [&] {
        parallel_for(4, [&](std::int64_t begin, std::int64_t end) {
          if (begin <= guilty && guilty < end) throw std::runtime_error("task failed");
        });
      };
      EXPECT_THROW(run(), std::runtime_error);
    }
    std::atomic<int> count = 0;
    parallel_for(8, [&](std::int64_t begin, std::int64_t end) { count += static_cast<int>(end - begin); });
    EXPECT_EQ(count, 8);
  }
}

TEST_F(PoolTest, ConcurrentCallersAndResizing) {
  set_threads(3);
  std::atomic<bool> done = false;
  std::thread resizer([&] {
    for (int n = 1; !done; n = n % 5 + 1) {
      set_threads(n);
      std::this_thread::yield();
    }
  });
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller) {
    callers.emplace_back([] {
      for (int repeat = 0; repeat < 500; ++repeat) {
        std::atomic<std::int64_t> sum = 0;
        parallel_for(100, [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t i = begin; i < end; ++i) sum += i;
        });
        EXPECT_EQ(sum, 4950);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  done = true;
  resizer.join();
}

TEST_F(PoolTest, IdleWorkersSleep) {
  set_threads(4);
  parallel_for(4, [](std::int64_t, std::int64_t) {});
  const auto cpu_seconds = [] {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
  };
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = cpu_seconds();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(cpu_seconds() - before, 0.1);
}

TEST_F(PoolTest, RefusesBadNumbers) {
  EXPECT_THROW(set_threads(0), UsageError);
  EXPECT_THROW(set_threads(-1), UsageError);
  EXPECT_THROW(set_threads(1025), UsageError);
  set_threads(2);
  EXPECT_THROW(parallel_for(2, [](std::int64_t, std::int64_t) { set_threads(3); }), UsageError);
  EXPECT_EQ(threads(), 2);
}

#if !defined(__SANITIZE_THREAD__)
TEST_F(PoolTest, WorksInAForkedChild) {
  set_threads(3);
  parallel_for(3, [](std::int64_t, std::int64_t) {});
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    std::atomic<std::int64_t> sum = 0;
    parallel_for(100, [&](std::int64_t begin, std::int64_t end) { sum += end - begin; });
    _exit(sum == 100 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
#endif

}  // namespace
}  // namespace ebb
