#include <torch/torch.h>

#include "bench/peers/gemm.h"

namespace ebb::bench {

struct LibtorchMatmul::Tensors {
  torch::Tensor a, b;
  int threads;
};

LibtorchMatmul::LibtorchMatmul(const Product& p, const float* a, const float* b, int threads)
    : tensors_(new Tensors{torch::from_blob(const_cast<float*>(a), {p.batch, p.m, p.k}),
                           torch::from_blob(const_cast<float*>(b), {p.batch, p.k, p.n}), threads}) {
  if (p.batch == 1) {
    tensors_->a = tensors_->a[0];
    tensors_->b = tensors_->b[0];
  }
}
LibtorchMatmul::~LibtorchMatmul() { delete tensors_; }

void LibtorchMatmul::run(float* out) {
  const torch::InferenceMode no_graph;
  if (at::get_num_threads() != tensors_->threads) at::set_num_threads(tensors_->threads);
  const torch::Tensor result = torch::matmul(tensors_->a, tensors_->b);
  if (out) std::copy_n(result.data_ptr<float>(), result.numel(), out);
}

}  // namespace ebb::bench
