// Ebb's fused batchnorm, its kernels called directly: what they cost without a tape.
#include <ebb/engine/threads/pool.h>
#include <ebb/ops/batch_norm/fused_kernels.h>

#include <cmath>
#include <optional>

#include "bench/peers/contender.h"

namespace ebb::bench {
namespace {

class Kernels : public Contender {
 public:
  std::string name() const override { return "kernels"; }

  void set_up(const Problem& problem, int threads) override {
    problem_ = &problem;
    threads_ = threads;
    const Shape& s = problem.shape;
    extent_ = {s.outer(), s.c, s.inner()};
    m_.resize(static_cast<std::size_t>(2 * s.c));
    sums_.resize(static_cast<std::size_t>(2 * s.c));
    for (auto* buffer : {&y_, &dx_}) buffer->emplace(s.elements());
    for (auto* buffer : {&dgamma_, &dbeta_}) buffer->emplace(s.c);
  }

  void activate() override { set_threads(threads_); }

  void forward() override {
    const Problem& p = *problem_;
    fused::bn_moments(p.x.data(), extent_, m_.data());
    fused::bn_apply(p.x.data(), m_.data(), p.gamma.data(), p.beta.data(), p.eps, extent_, y_->data());
  }

  void backward() override {
    const Problem& p = *problem_;
    fused::bn_sums(p.x.data(), m_.data(), p.dout.data(), extent_, sums_.data());
    const auto channels = static_cast<std::size_t>(extent_.channels);
    for (std::size_t c = 0; c < channels; ++c) {
      dbeta_->data()[c] = static_cast<float>(sums_[c]);
      dgamma_->data()[c] = static_cast<float>(sums_[channels + c] / std::sqrt(m_[channels + c] + p.eps));
    }
    fused::bn_dx(p.x.data(), m_.data(), p.gamma.data(), sums_.data(), p.dout.data(), p.eps, extent_, dx_->data());
  }

  Outputs outputs() const override { return {y_->data(), dx_->data(), dgamma_->data(), dbeta_->data()}; }

 private:
  const Problem* problem_ = nullptr;
  int threads_ = 1;
  fused::Extent extent_{};
  std::vector<double> m_, sums_;
  std::optional<Buffer> y_, dx_, dgamma_, dbeta_;
};

}  // namespace

std::unique_ptr<Contender> make_kernels() { return std::make_unique<Kernels>(); }

}  // namespace ebb::bench
