// Shapes, inputs, and the f64 truth that every contender's results must meet.
#include "bench/peers/contender.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <random>
#include <sstream>
#include <stdexcept>

namespace ebb::bench {

std::string Shape::text() const {
  std::ostringstream out;
  out << n << 'x' << c;
  if (layout != Layout::rows) out << 'x' << h << 'x' << w << (layout == Layout::nchw ? ":nchw" : ":nhwc");
  return out.str();
}

Shape parse_shape(const std::string& text) {
  const auto fail = [&] {
    return std::invalid_argument("'" + text + "' is no shape; write 64x1024, 32x64x56x56:nchw or 8x512x7x7:nhwc");
  };
  std::vector<std::int64_t> sizes;
  const std::size_t colon = text.find(':');
  std::istringstream in(text.substr(0, colon));
  for (std::string part; std::getline(in, part, 'x');) {
    std::int64_t size = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), size);
    if (result.ec != std::errc{} || result.ptr != part.data() + part.size() || size < 1) throw fail();
    sizes.push_back(size);
  }
  const std::string layout = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (sizes.size() == 2 && layout.empty()) return {sizes[0], sizes[1]};
  if (sizes.size() != 4 || (layout != "nchw" && layout != "nhwc")) throw fail();
  return {sizes[0], sizes[1], sizes[2], sizes[3], layout == "nchw" ? Layout::nchw : Layout::nhwc};
}

Buffer::Buffer(std::int64_t size) : size_(size) {
  constexpr std::uintptr_t kPage = 4096;
  static std::uintptr_t made = 0;
  const std::uintptr_t offset = made++ * 1088 % kPage / 64 * 64;
  memory_ = std::make_unique<float[]>(static_cast<std::size_t>(size) + 2 * kPage / sizeof(float));
  const auto address = reinterpret_cast<std::uintptr_t>(memory_.get());
  data_ = memory_.get() + ((address + kPage - 1) / kPage * kPage + offset - address) / sizeof(float);
}

Problem::Problem(Shape s) : shape(s), x(s.elements()), dout(s.elements()), gamma(s.c), beta(s.c) {
  std::mt19937 seeds(17);
  std::uint64_t state = seeds();
  const auto uniform = [&state] {  // splitmix64: the largest shapes have 10^8 numbers.
    std::uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return static_cast<float>(z >> 40) * 0x1p-24f;
  };
  const auto bell = [&] { return (uniform() + uniform() + uniform() - 1.5f) * 2; };
  for (std::int64_t i = 0; i < x.size(); ++i) {
    x.data()[i] = 0.5f + bell();
    dout.data()[i] = bell();
  }
  for (std::int64_t i = 0; i < s.c; ++i) {
    gamma.data()[i] = 0.5f + uniform();
    beta.data()[i] = bell();
  }

  const auto channels = static_cast<std::size_t>(s.c);
  const auto n = static_cast<double>(s.per_channel());
  for (auto* v : {&mean, &var, &sum, &dot}) v->assign(channels, 0);
  const auto each = [&](auto f) {
    std::int64_t i = 0;
    for (std::int64_t o = 0; o < s.outer(); ++o) {
      for (std::size_t c = 0; c < channels; ++c) {
        for (std::int64_t k = 0; k < s.inner(); ++k, ++i) f(c, x.data()[i], dout.data()[i]);
      }
    }
  };
  each([&](std::size_t c, double a, double g) {
    mean[c] += a;
    sum[c] += g;
  });
  for (double& m : mean) m /= n;
  each([&](std::size_t c, double a, double g) {
    var[c] += (a - mean[c]) * (a - mean[c]);
    dot[c] += g * (a - mean[c]);
  });
  for (double& v : var) v /= n;
}

std::string check(const Problem& p, Contender& contender) {
  contender.activate();
  contender.step();
  const Outputs out = contender.outputs();
  if (out.y == nullptr) return {};
  const Shape& s = p.shape;
  const auto n = static_cast<double>(s.per_channel());
  constexpr double kTolerance = 1e-3;  // Float means of a million terms differ; wrong results differ by far more.
  std::ostringstream wrong;
  const auto compare = [&](const char* what, std::int64_t i, double got, double want, double size) {
    if (std::abs(got - want) <= kTolerance * size || wrong.tellp() > 0) return;
    wrong << what << "[" << i << "] is " << got << ", not " << want;
  };
  std::int64_t i = 0;
  for (std::int64_t o = 0; o < s.outer(); ++o) {
    for (std::int64_t c = 0; c < s.c; ++c) {
      const auto k = static_cast<std::size_t>(c);
      const double r = 1 / std::sqrt(p.var[k] + p.eps);
      const double gamma = p.gamma.data()[c];
      if (o == 0) {
        compare("dbeta", c, out.dbeta[c], p.sum[k], std::sqrt(n));
        compare("dgamma", c, out.dgamma[c], p.dot[k] * r, std::sqrt(n));
      }
      for (std::int64_t j = 0; j < s.inner(); ++j, ++i) {
        const double centred = p.x.data()[i] - p.mean[k];
        compare("y", i, out.y[i], gamma * centred * r + p.beta.data()[c], 1);
        const double dx = gamma * r * (p.dout.data()[i] - p.sum[k] / n - centred * r * r * p.dot[k] / n);
        compare("dx", i, out.dx[i], dx, gamma * r);
      }
    }
  }
  return wrong.str();
}

std::vector<std::unique_ptr<Contender>> all_contenders() {
  std::vector<std::unique_ptr<Contender>> list;
  list.push_back(make_staged());
  list.push_back(make_fused());
  list.push_back(make_compiled());
  list.push_back(make_compiled_exact());
  list.push_back(make_kernels());
#ifdef EBB_BENCH_ONEDNN
  list.push_back(make_onednn());
#endif
#ifdef EBB_BENCH_LIBTORCH
  list.push_back(make_libtorch());
  list.push_back(make_libtorch_autograd());
  list.push_back(make_libtorch_staged());
#endif
  list.push_back(make_twin());
  return list;
}

}  // namespace ebb::bench
