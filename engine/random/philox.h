// Random numbers: Philox4x32-10, and a host-side source of numbers over it.
//
// Philox (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011) is a pure function of a
// key and a counter. So any number of a stream can be had without the ones before it, a recomputation draws what the
// first run drew, and any number of threads gives the same numbers. Everything here is integer arithmetic and + - * /
// sqrt, which are exact or correctly rounded: the same numbers on every platform.
#pragma once

#include <ebb/engine/tensor/tensor.h>

#include <array>
#include <cstdint>
#include <vector>

namespace ebb {

using PhiloxKey = std::array<std::uint32_t, 2>;
using PhiloxBlock = std::array<std::uint32_t, 4>;

/// The 128 random bits that belong to a key and a counter.
constexpr PhiloxBlock philox(PhiloxKey key, PhiloxBlock counter) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t a = std::uint64_t{0xD2511F53} * counter[0];
    const std::uint64_t b = std::uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<std::uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(b),
               static_cast<std::uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(a)};
    key[0] += 0x9E3779B9;  // the golden ratio, and sqrt(3) - 1
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// The quantile of the standard normal distribution at p in (0, 1), to 1e-15 (Wichura 1988, algorithm AS 241).
double normal_quantile(double p);

/// A stream of numbers for the host: initial weights, shuffles, test data. Streams of one seed are independent.
class Random {
 public:
  explicit Random(std::uint64_t seed, std::uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  std::uint64_t seed() const { return seed_; }
  std::uint64_t stream() const { return stream_; }
  /// How many 64-bit words were drawn; seek() goes to any of them.
  std::uint64_t position() const { return position_; }
  void seek(std::uint64_t position) { position_ = position; }

  std::uint64_t bits();
  /// In [0, 1), with 53 random bits. One word.
  double uniform();
  /// In [lo, hi).
  double uniform(double lo, double hi);
  /// Standard normal. One word.
  double normal();
  /// In 0 .. n - 1, each equally likely. Throws UsageError unless n is positive.
  std::int64_t integer(std::int64_t n);
  /// 0 .. n - 1 in random order. Throws UsageError if n is negative.
  std::vector<std::int64_t> permutation(std::int64_t n);

  /// Fill a tensor. Throw DTypeError unless it is floating.
  void fill_uniform(Tensor& tensor, double lo = 0, double hi = 1);
  void fill_normal(Tensor& tensor, double mean = 0, double deviation = 1);

 private:
  template <class F>
  void fill(Tensor& tensor, const char* name, F&& draw);

  std::uint64_t seed_;
  std::uint64_t stream_;
  std::uint64_t position_ = 0;
  std::uint64_t held_ = ~std::uint64_t{0};  // the number of the block in block_
  PhiloxBlock block_{};
};

}  // namespace ebb
