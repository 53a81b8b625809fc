// libtorch three ways: its fused kernels called directly, the same through its autograd, and the nine steps as a user
// would write them, differentiated by its autograd. Inputs are read in place; results are libtorch's own tensors.
#include <torch/torch.h>

#include "bench/peers/contender.h"
#include "bench/peers/libtorch_memory.h"

namespace ebb::bench {
namespace {

class Libtorch : public Contender {
 public:
  void set_up(const Problem& p, int threads) override {
    threads_ = threads;
    activate();
    eps_ = p.eps;
    const Shape& s = p.shape;
    const auto wrap = [&](const Buffer& buffer) {
      auto* data = const_cast<float*>(buffer.data());
      if (buffer.size() == s.c && s.per_channel() != 1) return torch::from_blob(data, {s.c});
      if (s.layout == Layout::rows) return torch::from_blob(data, {s.n, s.c});
      if (s.layout == Layout::nchw) return torch::from_blob(data, {s.n, s.c, s.h, s.w});
      return torch::from_blob(data, {s.n, s.h, s.w, s.c}).permute({0, 3, 1, 2});  // Channels last.
    };
    x_ = wrap(p.x);
    dout_ = wrap(p.dout);
    gamma_ = wrap(p.gamma).view({s.c});
    beta_ = wrap(p.beta).view({s.c});
    channels_last_ = s.layout == Layout::nhwc;
  }

  void activate() override { at::set_num_threads(threads_); }

  std::size_t peak_bytes() override {
    for (torch::Tensor* t : {&y_, &dx_, &dgamma_, &dbeta_}) *t = torch::Tensor();
    return CountingAllocator::peak_of([this] { step(); });
  }

  Outputs outputs() const override {
    const auto format = channels_last_ ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    TORCH_CHECK(y_.is_contiguous(format) && dx_.is_contiguous(format), "the layout was not kept");
    return {y_.data_ptr<float>(), dx_.data_ptr<float>(), dgamma_.data_ptr<float>(), dbeta_.data_ptr<float>()};
  }

 protected:
  /// Makes the inputs leaves of the graph.
  void require_gradients() {
    for (torch::Tensor* leaf : {&x_, &gamma_, &beta_}) leaf->set_requires_grad(true);
  }
  void differentiate() {
    const auto gradients = torch::autograd::grad({y_}, {x_, gamma_, beta_}, {dout_}, /*retain_graph=*/true);
    dx_ = gradients[0];
    dgamma_ = gradients[1];
    dbeta_ = gradients[2];
  }

  int threads_ = 1;
  double eps_ = 0;
  bool channels_last_ = false;
  torch::Tensor x_, dout_, gamma_, beta_, y_, dx_, dgamma_, dbeta_;
};

class Direct : public Libtorch {
 public:
  std::string name() const override { return "libtorch"; }
  void forward() override {
    const torch::NoGradGuard guard;
    std::tie(y_, mean_, invstd_) = at::native_batch_norm(x_, gamma_, beta_, {}, {}, true, 0.1, eps_);
  }
  void backward() override {
    const torch::NoGradGuard guard;
    std::tie(dx_, dgamma_, dbeta_) =
        at::native_batch_norm_backward(dout_, x_, gamma_, {}, {}, mean_, invstd_, true, eps_, {true, true, true});
  }

 private:
  torch::Tensor mean_, invstd_;
};

class Autograd : public Libtorch {
 public:
  std::string name() const override { return "libtorch_autograd"; }
  void set_up(const Problem& p, int threads) override {
    Libtorch::set_up(p, threads);
    require_gradients();
  }
  void forward() override { y_ = torch::batch_norm(x_, gamma_, beta_, {}, {}, true, 0.1, eps_, false); }
  void backward() override { differentiate(); }
};

class Staged : public Libtorch {
 public:
  std::string name() const override { return "libtorch_staged"; }
  void set_up(const Problem& p, int threads) override {
    Libtorch::set_up(p, threads);
    require_gradients();
    if (x_.dim() == 4) axes_ = {0, 2, 3};
  }
  void forward() override {
    const auto per_channel = [&](const torch::Tensor& t) { return x_.dim() == 4 ? t.view({1, -1, 1, 1}) : t; };
    const auto mu = x_.mean(axes_, true);
    const auto xmu = x_ - mu;
    const auto sq = xmu.square();
    const auto var = sq.mean(axes_, true);
    const auto sqrtvar = (var + eps_).sqrt();
    const auto ivar = sqrtvar.reciprocal();
    const auto xhat = xmu * ivar;
    const auto gammax = per_channel(gamma_) * xhat;
    y_ = gammax + per_channel(beta_);
  }
  void backward() override { differentiate(); }

 private:
  std::vector<std::int64_t> axes_{0};
};

}  // namespace

std::unique_ptr<Contender> make_libtorch() { return std::make_unique<Direct>(); }
std::unique_ptr<Contender> make_libtorch_autograd() { return std::make_unique<Autograd>(); }
std::unique_ptr<Contender> make_libtorch_staged() { return std::make_unique<Staged>(); }

}  // namespace ebb::bench
