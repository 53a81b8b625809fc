// The staged kernel against the fused one, on a tape of its own: forward, and backward with a fixed random cotangent.
#include <ebb/engine/check/tolerance.h>
#include <ebb/engine/random/philox.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/ops/batch_norm/staged.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace ebb {
namespace {

struct Results {
  std::vector<Tensor> tensors;  // out, dx, and dgamma, dbeta where there are such parameters
};

Results run(const Tensor& x, const std::optional<Tensor>& gamma, const std::optional<Tensor>& beta, const Tensor& dout,
            BatchNormOptions options, BatchNormKernel kernel) {
  Tape tape;
  options.kernel = kernel;
  options.single_value = SingleValue::allow;
  const Var input = tape.leaf(x);
  Vars wrt{input};
  const auto leaf = [&](const std::optional<Tensor>& t) {
    if (t) wrt.push_back(tape.leaf(*t));
    return t ? std::optional(wrt.back()) : std::nullopt;
  };
  const std::optional<Var> scale = leaf(gamma);
  const std::optional<Var> shift = leaf(beta);
  const Var out = batch_norm(input, scale, shift, options);
  Results results{{out.value()}};
  for (const Var& d : pullback(out, tape.leaf(dout), wrt)) results.tensors.push_back(d.value());
  return results;
}

// What the bound of each channel is made of.
struct Channel {
  double mean = 0, m2 = 0, max_dout = 0, sum_dout = 0, max_out = 0;
};

}  // namespace

bool Disagreement::agrees() const { return difference == 0 || (difference <= bound && std::isfinite(difference)); }

std::vector<Disagreement> compare_batch_norm_kernels(const Tensor& x, const std::optional<Tensor>& gamma,
                                                     const std::optional<Tensor>& beta,
                                                     const BatchNormOptions& options) {
  const batch_norm_detail::Statistics s(x.shape(), options.channel_axis);
  Tensor dout = Tensor::empty(x.shape(), x.dtype());
  Random(0).fill_normal(dout, 0, 1);
  const Results staged = run(x, gamma, beta, dout, options, BatchNormKernel::staged);
  const Results fused = run(x, gamma, beta, dout, options, BatchNormKernel::fused);

  std::int64_t inner = 1;
  for (int i = s.channel_axis + 1; i < x.rank(); ++i) inner *= x.shape()[i];
  const auto channel_of = [&](std::int64_t i) { return static_cast<std::size_t>(i / inner % s.channels); };
  std::vector<Channel> channels(static_cast<std::size_t>(s.channels));
  const double n = static_cast<double>(std::max<std::int64_t>(s.count, 1));
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    Channel& c = channels[channel_of(i)];
    c.mean += x.at(i) / n;
    c.max_dout = std::max(c.max_dout, std::abs(dout.at(i)));
    c.sum_dout += std::abs(dout.at(i));
    c.max_out = std::max(c.max_out, std::abs(fused.tensors[0].at(i)));
  }
  for (std::int64_t i = 0; i < x.numel(); ++i) {
    Channel& c = channels[channel_of(i)];
    c.m2 += (x.at(i) - c.mean) * (x.at(i) - c.mean);
  }

  const auto bound = [&](std::size_t channel, std::string_view name) {
    const Channel& c = channels[channel];
    const double deviation = std::sqrt(c.m2 / n + options.eps);
    if (deviation == 0) return 0.0;
    const double scale = gamma ? std::abs(gamma->at(static_cast<std::int64_t>(channel))) : 1.0;
    const double shift = beta ? std::abs(beta->at(static_cast<std::int64_t>(channel))) : 0.0;
    const double magnitude = name == "out"  ? c.max_out + scale + shift
                             : name == "dx" ? scale / deviation * c.max_dout
                                            : c.sum_dout;
    return batch_norm_bound(x.dtype(), name == "dbeta" ? 0 : std::abs(c.mean) / deviation, s.count, magnitude);
  };

  std::vector<std::string> names{"out", "dx"};
  if (gamma) names.push_back("dgamma");
  if (beta) names.push_back("dbeta");
  std::vector<Disagreement> table;
  for (std::size_t k = 0; k < names.size(); ++k) {
    Disagreement worst{names[k]};
    double ratio = -1;
    for (std::int64_t i = 0; i < staged.tensors[k].numel(); ++i) {
      const double a = staged.tensors[k].at(i);
      const double b = fused.tensors[k].at(i);
      const std::size_t channel = k < 2 ? channel_of(i) : static_cast<std::size_t>(i);
      // Both may be NaN, where the input is, or the same infinity.
      const double difference = a == b || (std::isnan(a) && std::isnan(b)) ? 0 : std::abs(a - b);
      const double allowed = bound(channel, names[k]);
      const double now = difference == 0 ? 0 : difference / allowed;
      if (now > ratio || std::isnan(now)) {
        ratio = std::isnan(now) ? std::numeric_limits<double>::infinity() : now;
        worst.difference = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
        worst.bound = allowed;
      }
    }
    table.push_back(worst);
  }
  return table;
}

}  // namespace ebb
