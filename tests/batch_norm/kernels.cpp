#include "tests/batch_norm/kernels.h"

#include <ebb/engine/check/tolerance.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace ebb::test {

Tensor samples(const Shape& shape, std::uint64_t seed, DType dtype, double mean, double deviation) {
  Tensor tensor = Tensor::empty(shape, dtype);
  Random(seed).fill_normal(tensor, mean, deviation);
  return tensor;
}

std::int64_t Problem::channels() const {
  return x.shape()[options.channel_axis < 0 ? options.channel_axis + x.rank() : options.channel_axis];
}

std::int64_t Problem::channel_of(std::int64_t i) const {
  const int axis = options.channel_axis < 0 ? options.channel_axis + x.rank() : options.channel_axis;
  for (int a = x.rank() - 1; a > axis; --a) i /= x.shape()[a];
  return i % x.shape()[axis];
}

Problem problem(const Shape& shape, DType dtype, double mean, double deviation, std::uint64_t seed, int channel_axis) {
  Problem p;
  p.options.channel_axis = channel_axis;
  p.x = samples(shape, 4 * seed, dtype, mean, deviation);
  p.dout = samples(shape, 4 * seed + 1, dtype, 0.2, 1);
  p.gamma = samples({p.channels()}, 4 * seed + 2, dtype, 1, 0.5);
  p.beta = samples({p.channels()}, 4 * seed + 3, dtype, 0, 1);
  return p;
}

Results run(const Problem& p, BatchNormKernel kernel) {
  Tape tape;
  BatchNormOptions options = p.options;
  options.kernel = kernel;
  Vars wrt{tape.leaf(p.x)};
  const auto leaf = [&](const std::optional<Tensor>& t) {
    if (t) wrt.push_back(tape.leaf(*t));
    return t ? std::optional(wrt.back()) : std::nullopt;
  };
  const std::optional<Var> gamma = leaf(p.gamma);
  const std::optional<Var> beta = leaf(p.beta);
  const Var out = batch_norm(wrt[0], gamma, beta, options);
  const Vars d = pullback(out, tape.leaf(p.dout), wrt);
  return {out.value(), d[0].value(), gamma ? d[1].value() : Tensor(), beta ? d.back().value() : Tensor()};
}

Results truth(const Problem& p) {
  using Real = long double;
  const std::size_t channels = static_cast<std::size_t>(p.channels());
  const Real n = static_cast<Real>(p.count());
  std::vector<Real> mean(channels), var(channels), ivar(channels), sum(channels), dot(channels);
  const auto each = [&](auto&& f) {
    for (std::int64_t i = 0; i < p.x.numel(); ++i) f(i, static_cast<std::size_t>(p.channel_of(i)));
  };
  const auto gamma = [&](std::size_t c) {
    return p.gamma ? static_cast<Real>(p.gamma->at(static_cast<std::int64_t>(c))) : 1;
  };
  const auto beta = [&](std::size_t c) {
    return p.beta ? static_cast<Real>(p.beta->at(static_cast<std::int64_t>(c))) : 0;
  };
  each([&](std::int64_t i, std::size_t c) { mean[c] += p.x.at(i) / n; });
  each([&](std::int64_t i, std::size_t c) { var[c] += (p.x.at(i) - mean[c]) * (p.x.at(i) - mean[c]) / n; });
  for (std::size_t c = 0; c < channels; ++c) {
    const Real deviation = std::sqrt(var[c] + static_cast<Real>(p.options.eps));
    ivar[c] = deviation == 0 ? 0 : 1 / deviation;
  }
  const auto xhat = [&](std::int64_t i, std::size_t c) { return (p.x.at(i) - mean[c]) * ivar[c]; };
  each([&](std::int64_t i, std::size_t c) {
    sum[c] += p.dout.at(i);
    dot[c] += p.dout.at(i) * xhat(i, c);
  });
  Results r{Tensor::empty(p.x.shape(), DType::f64), Tensor::empty(p.x.shape(), DType::f64), Tensor(), Tensor()};
  const std::span<double> out = r.out.mutable_data<double>();
  const std::span<double> dx = r.dx.mutable_data<double>();
  each([&](std::int64_t i, std::size_t c) {
    const std::size_t k = static_cast<std::size_t>(i);
    out[k] = static_cast<double>(xhat(i, c) * gamma(c) + beta(c));
    dx[k] = static_cast<double>(gamma(c) * ivar[c] / n * (n * p.dout.at(i) - sum[c] - xhat(i, c) * dot[c]));
  });
  const auto narrow = [&](const std::vector<Real>& v) {
    return Tensor::from<double>({p.channels()}, std::vector<double>(v.begin(), v.end()));
  };
  if (p.gamma) r.dgamma = narrow(dot);
  if (p.beta) r.dbeta = narrow(sum);
  return r;
}

void expect_identical(const Results& a, const Results& b, const std::string& what) {
  EXPECT_TRUE(identical(a.out, b.out)) << "out, " << what;
  EXPECT_TRUE(identical(a.dx, b.dx)) << "dx, " << what;
  EXPECT_TRUE(identical(a.dgamma, b.dgamma)) << "dgamma, " << what;
  EXPECT_TRUE(identical(a.dbeta, b.dbeta)) << "dbeta, " << what;
}

double relative_difference(const Tensor& a, const Tensor& b) {
  EXPECT_EQ(a.shape(), b.shape());
  double largest = 0;
  double worst = 0;
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    if (std::isnan(a.at(i)) && std::isnan(b.at(i))) continue;
    largest = std::max(largest, std::abs(b.at(i)));
    const double difference = std::abs(a.at(i) - b.at(i));
    worst = std::isnan(difference) ? std::numeric_limits<double>::infinity() : std::max(worst, difference);
  }
  return worst == 0 ? 0 : worst / largest;
}

double worst_ulp(const Problem& p, const Tensor& out, const Tensor& truth) {
  std::vector<double> largest(static_cast<std::size_t>(p.channels()));
  const auto of = [&](std::int64_t i) -> double& { return largest[static_cast<std::size_t>(p.channel_of(i))]; };
  for (std::int64_t i = 0; i < out.numel(); ++i) of(i) = std::max(of(i), std::abs(truth.at(i)));
  double worst = 0;
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    worst = std::max(worst, std::abs(out.at(i) - truth.at(i)) / ulp_of(p.x.dtype(), of(i)));
  }
  return worst;
}

}  // namespace ebb::test
