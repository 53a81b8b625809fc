// The traffic twin: what the memory allows. Loops with the reads and the writes of the fused batchnorm and no
// arithmetic but the one operation that keeps each load alive; streaming stores where the tensor exceeds the caches.
// Forward reads x, then reads x and writes y (3 units); backward reads x and dout, then both again and writes dx (5).
#include <ebb/engine/threads/pool.h>

#include <optional>

#include "bench/peers/contender.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace ebb::bench {
namespace {

constexpr std::int64_t kLine = 16;

#if defined(__x86_64__)
/// Reads `lines` cache lines of each tensor; b may be null.
[[gnu::target("avx2")]] float read(const float* a, const float* b, std::int64_t lines) {
  __m256 kept[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
  for (std::int64_t i = 0; i < lines; ++i, a += kLine) {
    kept[0] = _mm256_or_ps(kept[0], _mm256_loadu_ps(a));
    kept[1] = _mm256_or_ps(kept[1], _mm256_loadu_ps(a + 8));
    if (b == nullptr) continue;
    kept[2] = _mm256_or_ps(kept[2], _mm256_loadu_ps(b));
    kept[3] = _mm256_or_ps(kept[3], _mm256_loadu_ps(b + 8));
    b += kLine;
  }
  const __m256 all = _mm256_or_ps(_mm256_or_ps(kept[0], kept[1]), _mm256_or_ps(kept[2], kept[3]));
  return _mm256_cvtss_f32(all);
}

[[gnu::target("avx2")]] void copy(const float* a, const float* b, float* y, std::int64_t lines, bool stream) {
  for (std::int64_t i = 0; i < lines; ++i, a += kLine, y += kLine) {
    __m256 low = _mm256_loadu_ps(a), high = _mm256_loadu_ps(a + 8);
    if (b != nullptr) {
      low = _mm256_or_ps(low, _mm256_loadu_ps(b));
      high = _mm256_or_ps(high, _mm256_loadu_ps(b + 8));
      b += kLine;
    }
    if (stream) {
      _mm256_stream_ps(y, low);
      _mm256_stream_ps(y + 8, high);
    } else {
      _mm256_storeu_ps(y, low);
      _mm256_storeu_ps(y + 8, high);
    }
  }
  _mm_sfence();
}

bool has_lines() { return __builtin_cpu_supports("avx2") != 0; }
#else
float read(const float*, const float*, std::int64_t) { return 0; }
void copy(const float*, const float*, float*, std::int64_t, bool) {}
bool has_lines() { return false; }
#endif

class Twin : public Contender {
 public:
  std::string name() const override { return "twin"; }
  bool supports(const Shape&) const override { return has_lines(); }

  void set_up(const Problem& problem, int threads) override {
    problem_ = &problem;
    threads_ = threads;
    lines_ = problem.shape.elements() / kLine;
    y_.emplace(problem.shape.elements());
    dx_.emplace(problem.shape.elements());
  }

  void activate() override { set_threads(threads_); }
  void forward() override { pass(problem_->x.data(), nullptr, y_->data()); }
  void backward() override { pass(problem_->x.data(), problem_->dout.data(), dx_->data()); }
  Outputs outputs() const override { return {}; }

 private:
  void pass(const float* a, const float* b, float* y) {
    const bool stream = lines_ * 64 >= (std::int64_t{1} << 20);
    parallel_for(lines_, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t at = begin * kLine;
      volatile float kept = read(a + at, b == nullptr ? b : b + at, end - begin);
      static_cast<void>(kept);
      copy(a + at, b == nullptr ? b : b + at, y + at, end - begin, stream);
    });
  }

  const Problem* problem_ = nullptr;
  int threads_ = 1;
  std::int64_t lines_ = 0;
  std::optional<Buffer> y_, dx_;
};

}  // namespace

std::unique_ptr<Contender> make_twin() { return std::make_unique<Twin>(); }

}  // namespace ebb::bench
