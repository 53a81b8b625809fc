// The models of compile_bench through libtorch as a C++ user writes them: its fused ops with autograd, its nn and
// optim.
#include <torch/torch.h>

#include "bench/peers/libtorch_memory.h"
#include "bench/peers/model.h"

namespace ebb::bench {
namespace {

using torch::Tensor;
using Tensors = std::vector<Tensor>;

std::vector<double> doubles(const Tensor& t) {
  const Tensor all = t.detach().to(torch::kDouble).contiguous().view({-1});
  return {all.data_ptr<double>(), all.data_ptr<double>() + all.numel()};
}

class LibtorchModel : public Model {
 public:
  explicit LibtorchModel(const ModelCall& call) {
    for (const ModelInput& in : call.inputs) {
      inputs_.push_back(
          torch::from_blob(const_cast<void*>(in.data), in.shape, in.integer ? torch::kLong : torch::kFloat));
    }
  }
  void activate(int threads) override { at::set_num_threads(threads); }
  std::vector<std::vector<double>> results() const override {
    std::vector<std::vector<double>> all;
    for (const Tensor& t : results_) all.push_back(doubles(t));
    return all;
  }
  std::size_t peak_bytes() override {
    release();
    return CountingAllocator::peak_of([this] { run(); });
  }

 protected:
  /// Lets go of what a run leaves behind.
  virtual void release() { results_.clear(); }

  Tensors inputs_, results_;
};

// A function of the inputs that are to be differentiated, and the gradients of sum(y * dout).
class Function : public LibtorchModel {
 public:
  Function(const ModelCall& call, std::size_t leaves, Tensor (*f)(const Tensors&))
      : LibtorchModel(call), leaves_(inputs_.begin(), inputs_.begin() + static_cast<std::ptrdiff_t>(leaves)), f_(f) {
    for (Tensor& leaf : leaves_) leaf.set_requires_grad(true);
  }
  void run() override {
    results_.clear();
    const Tensor y = f_(inputs_);
    results_ = torch::autograd::grad({y}, leaves_, {y.dim() == 0 ? Tensor() : inputs_.back()});
    results_.insert(results_.begin(), y);
  }

 private:
  Tensors leaves_;
  Tensor (*f_)(const Tensors&);
};

class Mlp : public LibtorchModel {
 public:
  explicit Mlp(const ModelCall& call) : LibtorchModel(call) {
    std::size_t next = 2;
    for (int block = 0; block < 3; ++block) {
      const Tensor weight = inputs_[next];
      net_->push_back(torch::nn::Linear(torch::nn::LinearOptions(weight.size(1), weight.size(0)).bias(false)));
      net_->push_back(torch::nn::BatchNorm1d(weight.size(0)));
      net_->push_back(torch::nn::ReLU());
      next += 3;
    }
    net_->push_back(torch::nn::Linear(inputs_[next].size(1), inputs_[next].size(0)));
    parameters_ = net_->parameters();
    const torch::NoGradGuard guard;
    for (std::size_t i = 0; i < parameters_.size(); ++i) parameters_[i].copy_(inputs_[i + 2]);
    sgd_ = std::make_unique<torch::optim::SGD>(parameters_, torch::optim::SGDOptions(kMlpLearningRate));
  }
  void run() override {
    sgd_->zero_grad();
    loss_ = torch::nn::functional::cross_entropy(net_->forward(inputs_[0]), inputs_[1]);
    loss_.backward();
    sgd_->step();
  }
  std::vector<std::vector<double>> results() const override {
    std::vector<std::vector<double>> all{doubles(loss_)};
    for (const Tensor& p : parameters_) all.push_back(doubles(p));
    return all;
  }

 protected:
  void release() override {
    loss_ = Tensor();
    for (Tensor& p : parameters_) p.mutable_grad() = Tensor();
  }

 private:
  torch::nn::Sequential net_;
  Tensors parameters_;
  std::unique_ptr<torch::optim::SGD> sgd_;
  Tensor loss_;
};

}  // namespace

std::unique_ptr<Model> make_libtorch_model(const ModelCall& call) {
  if (call.model == "mlp") return std::make_unique<Mlp>(call);
  if (call.model == "norm_add_relu") {
    return std::make_unique<Function>(call, 4, [](const Tensors& in) {
      return torch::relu(torch::batch_norm(in[0], in[2], in[3], {}, {}, true, 0.1, 1e-5, false) + in[1]);
    });
  }
  if (call.model == "layer_norm") {
    return std::make_unique<Function>(
        call, 3, [](const Tensors& in) { return torch::layer_norm(in[0], {in[0].size(-1)}, in[1], in[2], 1e-5); });
  }
  if (call.model == "cross_entropy") {
    return std::make_unique<Function>(
        call, 1, [](const Tensors& in) { return torch::nn::functional::cross_entropy(in[0], in[1]); });
  }
  if (call.model == "gelu") {
    return std::make_unique<Function>(call, 1, [](const Tensors& in) { return torch::gelu(in[0]); });
  }
  return nullptr;
}

}  // namespace ebb::bench
