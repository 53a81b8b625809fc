// libtorch's ops by the names of Ebb's rows: the one list of op_bench. Inputs are read in place; a result is a tensor
// of libtorch's own, as in a user's program.
#include <torch/torch.h>

#include <functional>
#include <map>

#include "bench/peers/op_peer.h"

namespace ebb::bench {
namespace {

using torch::Tensor;
using In = const std::vector<Tensor>&;
using Axes = const std::vector<std::int64_t>&;

const std::map<std::string, std::function<Tensor(In)>>& elementwise() {
  static const std::map<std::string, std::function<Tensor(In)>> ops{
      {"neg", [](In x) { return at::neg(x[0]); }},
      {"abs", [](In x) { return at::abs(x[0]); }},
      {"sign", [](In x) { return at::sign(x[0]); }},
      {"floor", [](In x) { return at::floor(x[0]); }},
      {"ceil", [](In x) { return at::ceil(x[0]); }},
      {"round", [](In x) { return at::round(x[0]); }},
      {"trunc", [](In x) { return at::trunc(x[0]); }},
      {"square", [](In x) { return at::square(x[0]); }},
      {"sqrt", [](In x) { return at::sqrt(x[0]); }},
      {"rsqrt", [](In x) { return at::rsqrt(x[0]); }},
      {"reciprocal", [](In x) { return at::reciprocal(x[0]); }},
      {"relu", [](In x) { return at::relu(x[0]); }},
      {"exp", [](In x) { return at::exp(x[0]); }},
      {"expm1", [](In x) { return at::expm1(x[0]); }},
      {"log", [](In x) { return at::log(x[0]); }},
      {"log1p", [](In x) { return at::log1p(x[0]); }},
      {"sin", [](In x) { return at::sin(x[0]); }},
      {"cos", [](In x) { return at::cos(x[0]); }},
      {"tan", [](In x) { return at::tan(x[0]); }},
      {"atan", [](In x) { return at::atan(x[0]); }},
      {"sinh", [](In x) { return at::sinh(x[0]); }},
      {"cosh", [](In x) { return at::cosh(x[0]); }},
      {"tanh", [](In x) { return at::tanh(x[0]); }},
      {"erf", [](In x) { return at::erf(x[0]); }},
      {"sigmoid", [](In x) { return at::sigmoid(x[0]); }},
      {"silu", [](In x) { return at::silu(x[0]); }},
      {"softplus", [](In x) { return at::softplus(x[0]); }},
      {"logsigmoid", [](In x) { return at::log_sigmoid(x[0]); }},
      {"gelu", [](In x) { return at::gelu(x[0]); }},
      {"add", [](In x) { return at::add(x[0], x[1]); }},
      {"sub", [](In x) { return at::sub(x[0], x[1]); }},
      {"mul", [](In x) { return at::mul(x[0], x[1]); }},
      {"div", [](In x) { return at::div(x[0], x[1]); }},
      {"maximum", [](In x) { return at::maximum(x[0], x[1]); }},
      {"minimum", [](In x) { return at::minimum(x[0], x[1]); }},
      {"pow", [](In x) { return at::pow(x[0], x[1]); }},
      {"less", [](In x) { return at::lt(x[0], x[1]); }},
      {"less_equal", [](In x) { return at::le(x[0], x[1]); }},
      {"greater", [](In x) { return at::gt(x[0], x[1]); }},
      {"greater_equal", [](In x) { return at::ge(x[0], x[1]); }},
      {"equal", [](In x) { return at::eq(x[0], x[1]); }},
      {"not_equal", [](In x) { return at::ne(x[0], x[1]); }},
      {"isfinite", [](In x) { return at::isfinite(x[0]); }},
      {"isnan", [](In x) { return at::isnan(x[0]); }},
      {"logical_and", [](In x) { return at::logical_and(x[0], x[1]); }},
      {"logical_or", [](In x) { return at::logical_or(x[0], x[1]); }},
      {"logical_not", [](In x) { return at::logical_not(x[0]); }},
      {"where", [](In x) { return at::where(x[0], x[1], x[2]); }},
  };
  return ops;
}

const std::map<std::string, std::function<Tensor(const Tensor&, double)>>& parametric() {
  static const std::map<std::string, std::function<Tensor(const Tensor&, double)>> ops{
      {"leaky_relu", [](const Tensor& x, double slope) { return at::leaky_relu(x, slope); }},
      {"elu", [](const Tensor& x, double alpha) { return at::elu(x, alpha); }},
      {"clamp_min", [](const Tensor& x, double bound) { return at::clamp_min(x, bound); }},
      {"clamp_max", [](const Tensor& x, double bound) { return at::clamp_max(x, bound); }},
  };
  return ops;
}

const std::map<std::string, std::function<Tensor(const Tensor&, Axes)>>& reductions() {
  static const std::map<std::string, std::function<Tensor(const Tensor&, Axes)>> ops{
      {"sum", [](const Tensor& x, Axes axes) { return at::sum(x, axes); }},
      {"mean", [](const Tensor& x, Axes axes) { return at::mean(x, axes); }},
      {"max", [](const Tensor& x, Axes axes) { return at::amax(x, axes); }},
      {"min", [](const Tensor& x, Axes axes) { return at::amin(x, axes); }},
      {"any", [](const Tensor& x, Axes axes) { return axes.size() == 1 ? at::any(x, axes[0]) : at::any(x); }},
      {"all", [](const Tensor& x, Axes axes) { return axes.size() == 1 ? at::all(x, axes[0]) : at::all(x); }},
      {"prod", [](const Tensor& x, Axes axes) { return axes.size() == 1 ? at::prod(x, axes[0]) : at::prod(x); }},
  };
  return ops;
}

class LibtorchOp : public OpPeer {
 public:
  LibtorchOp(const OpCall& call, std::function<Tensor(In)> op) : op_(std::move(op)) {
    for (const OpCall::Input& in : call.inputs) {
      inputs_.push_back(
          torch::from_blob(const_cast<void*>(in.data), call.shape, in.truth ? torch::kBool : torch::kFloat));
    }
  }
  void activate(int threads) override { at::set_num_threads(threads); }
  void run() override {
    const torch::NoGradGuard guard;
    out_ = op_(inputs_);
  }
  std::vector<double> result() const override {
    const Tensor all = out_.to(torch::kDouble).contiguous().view({-1});
    return {all.data_ptr<double>(), all.data_ptr<double>() + all.numel()};
  }

 private:
  std::function<Tensor(In)> op_;
  std::vector<Tensor> inputs_;
  Tensor out_;
};

}  // namespace

bool libtorch_op_has_parameter(const std::string& row) { return parametric().count(row) != 0; }

std::unique_ptr<OpPeer> make_libtorch_op(const OpCall& call) {
  if (libtorch_op_has_parameter(call.row)) {
    const auto op = parametric().at(call.row);
    const double parameter = call.parameter;
    return std::make_unique<LibtorchOp>(call, [op, parameter](In x) { return op(x[0], parameter); });
  }
  if (call.axes.empty()) {
    const auto found = elementwise().find(call.row);
    return found == elementwise().end() ? nullptr : std::make_unique<LibtorchOp>(call, found->second);
  }
  const auto found = reductions().find(call.row);
  if (found == reductions().end()) return nullptr;
  const auto op = found->second;
  const auto axes = call.axes;
  return std::make_unique<LibtorchOp>(call, [op, axes](In x) { return op(x[0], axes); });
}

}  // namespace ebb::bench
