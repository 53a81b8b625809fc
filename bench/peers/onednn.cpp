// oneDNN's batch normalization: training forward and full backward, primitives made once, memory used in place.
// [N, D] is described as {N, D, 1, 1} nhwc: as plain nc it falls to a slow reference kernel.
#include <dlfcn.h>

#include <oneapi/dnnl/dnnl.hpp>
#include <optional>
#include <unordered_map>

#include "bench/peers/contender.h"

namespace ebb::bench {
namespace {

/// oneDNN takes its threads from OpenMP, which this program is not itself compiled with.
void set_openmp_threads(int threads) {
  using Setter = void (*)(int);
  static const auto setter = reinterpret_cast<Setter>(dlsym(RTLD_DEFAULT, "omp_set_num_threads"));
  if (setter != nullptr) setter(threads);
}

class OneDnn : public Contender {
 public:
  std::string name() const override { return "onednn"; }

  void set_up(const Problem& p, int threads) override {
    using dnnl::memory;
    threads_ = threads;
    activate();
    const Shape& s = p.shape;
    const auto tag = s.layout == Layout::nchw ? memory::format_tag::nchw : memory::format_tag::nhwc;
    const memory::desc data({s.n, s.c, s.h, s.w}, memory::data_type::f32, tag);
    const auto flags = dnnl::normalization_flags::use_scale | dnnl::normalization_flags::use_shift;
    const auto eps = static_cast<float>(p.eps);
    const dnnl::batch_normalization_forward::primitive_desc forward(
        {dnnl::prop_kind::forward_training, data, eps, flags}, engine_);
    const dnnl::batch_normalization_backward::primitive_desc backward(
        {dnnl::prop_kind::backward, data, data, eps, flags}, engine_, forward);
    forward_.emplace(forward);
    backward_.emplace(backward);

    for (auto* buffer : {&y_, &dx_}) buffer->emplace(s.elements());
    for (auto* buffer : {&mean_, &var_, &dgamma_, &dbeta_}) buffer->emplace(s.c);
    const memory::desc channels({s.c}, memory::data_type::f32, memory::format_tag::x);
    const auto at = [&](const memory::desc& desc, const Buffer& buffer) {
      return memory(desc, engine_, const_cast<float*>(buffer.data()));
    };
    forward_arguments_ = {{DNNL_ARG_SRC, at(data, p.x)},           {DNNL_ARG_DST, at(data, *y_)},
                          {DNNL_ARG_SCALE, at(channels, p.gamma)}, {DNNL_ARG_SHIFT, at(channels, p.beta)},
                          {DNNL_ARG_MEAN, at(channels, *mean_)},   {DNNL_ARG_VARIANCE, at(channels, *var_)}};
    backward_arguments_ = {{DNNL_ARG_SRC, at(data, p.x)},
                           {DNNL_ARG_MEAN, at(channels, *mean_)},
                           {DNNL_ARG_VARIANCE, at(channels, *var_)},
                           {DNNL_ARG_DIFF_DST, at(data, p.dout)},
                           {DNNL_ARG_SCALE, at(channels, p.gamma)},
                           {DNNL_ARG_SHIFT, at(channels, p.beta)},
                           {DNNL_ARG_DIFF_SRC, at(data, *dx_)},
                           {DNNL_ARG_DIFF_SCALE, at(channels, *dgamma_)},
                           {DNNL_ARG_DIFF_SHIFT, at(channels, *dbeta_)}};
  }

  void activate() override { set_openmp_threads(threads_); }
  void forward() override {
    forward_->execute(stream_, forward_arguments_);
    stream_.wait();
  }
  void backward() override {
    backward_->execute(stream_, backward_arguments_);
    stream_.wait();
  }
  Outputs outputs() const override { return {y_->data(), dx_->data(), dgamma_->data(), dbeta_->data()}; }

 private:
  using Arguments = std::unordered_map<int, dnnl::memory>;

  int threads_ = 1;
  dnnl::engine engine_{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream_{engine_};
  std::optional<dnnl::batch_normalization_forward> forward_;
  std::optional<dnnl::batch_normalization_backward> backward_;
  Arguments forward_arguments_, backward_arguments_;
  std::optional<Buffer> y_, dx_, mean_, var_, dgamma_, dbeta_;
};

}  // namespace

std::unique_ptr<Contender> make_onednn() { return std::make_unique<OneDnn>(); }

}  // namespace ebb::bench
