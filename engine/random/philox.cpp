#include <ebb/engine/error.h>
#include <ebb/engine/random/philox.h>
#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <span>
#include <utility>

namespace ebb {
namespace {

constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }

// The natural logarithm of x in (0, 1) to about 2 ulp. The C library's differs between platforms in its last bit.
double portable_log(double x) {
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(x);
  double exponent = static_cast<double>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffff) | 0x3ff0000000000000);  // in [1, 2)
  if (m > 1.4142135623730951) {
    m /= 2;
    exponent += 1;
  }
  // log(m) = 2 atanh(s) with |s| < 0.172; the series ends where its terms fall below 1e-18.
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double series = 0;
  for (int k = 21; k >= 3; k -= 2) series = (series + 1.0 / k) * s2;
  constexpr double kLn2High = 0x1.62e42fefa38p-1;  // few enough bits that exponent * kLn2High is exact
  constexpr double kLn2Low = 0x1.ef35793c7673p-45;
  return exponent * kLn2High + (exponent * kLn2Low + 2 * (s * series + s));
}

// (a[0] + a[1] r + ... + a[7] r^7) / (the same of b)
double ratio(const std::array<double, 8>& a, const std::array<double, 8>& b, double r) {
  double top = 0;
  double bottom = 0;
  for (std::size_t i = 8; i-- > 0;) {
    top = top * r + a[i];
    bottom = bottom * r + b[i];
  }
  return top / bottom;
}

constexpr std::array<double, 8> kCentreTop{3.3871328727963666080e0,  1.3314166789178437745e+2, 1.9715909503065514427e+3,
                                           1.3731693765509461125e+4, 4.5921953931549871457e+4, 6.7265770927008700853e+4,
                                           3.3430575583588128105e+4, 2.5090809287301226727e+3};
constexpr std::array<double, 8> kCentreBottom{1.0,
                                              4.2313330701600911252e+1,
                                              6.8718700749205790830e+2,
                                              5.3941960214247511077e+3,
                                              2.1213794301586595867e+4,
                                              3.9307895800092710610e+4,
                                              2.8729085735721942674e+4,
                                              5.2264952788528545610e+3};
constexpr std::array<double, 8> kMiddleTop{
    1.42343711074968357734e0, 4.63033784615654529590e0,  5.76949722146069140550e0,  3.64784832476320460504e0,
    1.27045825245236838258e0, 2.41780725177450611770e-1, 2.27238449892691845833e-2, 7.74545014278341407640e-4};
constexpr std::array<double, 8> kMiddleBottom{1.0,
                                              2.05319162663775882187e0,
                                              1.67638483018380384940e0,
                                              6.89767334985100004550e-1,
                                              1.48103976427480074590e-1,
                                              1.51986665636164571966e-2,
                                              5.47593808499534494600e-4,
                                              1.05075007164441684324e-9};
constexpr std::array<double, 8> kFarTop{6.65790464350110377720e0,  5.46378491116411436990e0,  1.78482653991729133580e0,
                                        2.96560571828504891230e-1, 2.65321895265761230930e-2, 1.24266094738807843860e-3,
                                        2.71155556874348757815e-5, 2.01033439929228813265e-7};
constexpr std::array<double, 8> kFarBottom{1.0,
                                           5.99832206555887937690e-1,
                                           1.36929880922735805310e-1,
                                           1.48753612908506148525e-2,
                                           7.86869131145613259100e-4,
                                           1.84631831751005468180e-5,
                                           1.42151175831644588870e-7,
                                           2.04426310338993978564e-15};

}  // namespace

double normal_quantile(double p) {
  const double q = p - 0.5;
  if (std::fabs(q) <= 0.425) return q * ratio(kCentreTop, kCentreBottom, 0.180625 - q * q);
  const double r = std::sqrt(-portable_log(q < 0 ? p : 1 - p));
  const double x = r <= 5 ? ratio(kMiddleTop, kMiddleBottom, r - 1.6) : ratio(kFarTop, kFarBottom, r - 5);
  return q < 0 ? -x : x;
}

std::uint64_t Random::bits() {
  const std::uint64_t number = position_ / 2;
  if (number != held_) {
    block_ = philox({low(seed_), high(seed_)}, {low(number), high(number), low(stream_), high(stream_)});
    held_ = number;
  }
  const std::size_t half = position_++ % 2 * 2;
  return std::uint64_t{block_[half + 1]} << 32 | block_[half];
}

double Random::uniform() { return static_cast<double>(bits() >> 11) * 0x1p-53; }

double Random::uniform(double lo, double hi) {
  const double x = lo + (hi - lo) * uniform();
  return x < hi || hi <= lo ? x : std::nextafter(hi, lo);  // the sum may round up
}

double Random::normal() {
  // The middle of one of 2^52 equal cells, so that neither 0 nor 1 comes up.
  return normal_quantile((static_cast<double>(bits() >> 12) + 0.5) * 0x1p-52);
}

std::int64_t Random::integer(std::int64_t n) {
  if (n <= 0) throw UsageError(fmt::format("integer: n must be positive, got {}.", n));
  const std::uint64_t count = static_cast<std::uint64_t>(n);
  const std::uint64_t uneven = (0 - count) % count;  // 2^64 mod n: as many words would favour small numbers
  for (;;) {
    const std::uint64_t word = bits();
    if (word >= uneven) return static_cast<std::int64_t>(word % count);
  }
}

std::vector<std::int64_t> Random::permutation(std::int64_t n) {
  if (n < 0) throw UsageError(fmt::format("permutation: n must not be negative, got {}.", n));
  std::vector<std::int64_t> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  for (std::int64_t i = n - 1; i > 0; --i) {  // Fisher and Yates
    std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(integer(i + 1))]);
  }
  return order;
}

template <class F>
void Random::fill(Tensor& tensor, const char* name, F&& draw) {
  if (!is_floating(tensor.dtype())) {
    throw DTypeError(fmt::format("{}: only floating tensors can be filled, got {}.", name, describe(tensor)));
  }
  if (!tensor.has_buffer()) tensor = Tensor::empty(tensor.shape(), tensor.dtype());
  if (tensor.dtype() == DType::f32) {
    for (float& x : tensor.mutable_data<float>()) x = static_cast<float>(draw());
  } else {
    for (double& x : tensor.mutable_data<double>()) x = draw();
  }
}

void Random::fill_uniform(Tensor& tensor, double lo, double hi) {
  const bool narrow = tensor.dtype() == DType::f32;
  fill(tensor, "fill_uniform", [&] {
    const double x = uniform(lo, hi);
    const float rounded = static_cast<float>(x);  // may round up to hi, which is outside
    if (!narrow || rounded < hi || hi <= lo) return x;
    return static_cast<double>(std::nextafter(rounded, static_cast<float>(lo)));
  });
}

void Random::fill_normal(Tensor& tensor, double mean, double deviation) {
  fill(tensor, "fill_normal", [&] { return mean + deviation * normal(); });
}

}  // namespace ebb
