#include "bench/peers/models.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <random>
#include <stdexcept>

#include "bench/peers/contender.h"
#include "bench/peers/gemm.h"

namespace ebb::bench {
namespace {

using In = std::span<const Var>;
using ModelFunction = std::function<Vars(Tape& tape, In in)>;

std::vector<double> doubles(const Tensor& t) {
  const Tensor all = t.to(DType::f64);
  const auto values = all.data<double>();
  return {values.begin(), values.end()};
}

// The result first, then the gradients of sum(y * dout), or of the loss itself.
Vars with_gradients(const Var& y, const Vars& wrt, const Var& dout = {}) {
  Vars results = dout.alive() ? pullback(y, dout, wrt) : grad(y, wrt);
  results.insert(results.begin(), y);
  return results;
}

// The models that keep no State.
std::optional<ModelFunction> function_named(const std::string& model, bool fused) {
  const BatchNormOptions norm{.kernel = fused ? BatchNormKernel::fused : BatchNormKernel::staged};
  const CrossEntropyOptions entropy{.kernel = fused ? CrossEntropyKernel::fused : CrossEntropyKernel::staged};
  if (model == "norm_add_relu") {
    return [norm](Tape&, In in) {
      const Var y = relu(batch_norm(in[0], in[2], in[3], norm) + in[1]);
      return with_gradients(y, {in[0], in[1], in[2], in[3]}, in[4]);
    };
  }
  if (model == "layer_norm") {
    return [](Tape&, In in) { return with_gradients(layer_norm(in[0], in[1], in[2]), {in[0], in[1], in[2]}, in[3]); };
  }
  if (model == "cross_entropy") {
    return [entropy](Tape&, In in) { return with_gradients(cross_entropy(in[0], in[1], entropy), {in[0]}); };
  }
  if (model == "gelu") {
    return [](Tape&, In in) { return with_gradients(gelu(in[0]), {in[0]}, in[1]); };
  }
  return std::nullopt;
}

// The network of a training step and its optimizer.
struct Network {
  Network(bool fused, DType dtype) {
    Random random(3);
    const nn::BatchNormLayerOptions norm{.kernel = fused ? BatchNormKernel::fused : BatchNormKernel::staged,
                                         .dtype = dtype};
    std::int64_t in = 64;
    for (int block = 0; block < 3; ++block) {
      net.add(nn::Linear(in, 100, {.bias = false, .dtype = dtype}, random));
      net.add(nn::BatchNorm(100, norm));
      net.add(nn::Relu());
      in = 100;
    }
    net.add(nn::Linear(in, 10, {.dtype = dtype}, random));
    sgd.emplace(net.parameters(), nn::SgdOptions{.lr = kMlpLearningRate});
    entropy.kernel = fused ? CrossEntropyKernel::fused : CrossEntropyKernel::staged;
  }

  Vars step(In in) {
    const Var loss = cross_entropy(net(in[0]), in[1], entropy);
    sgd->step(grad(loss, sgd->parameters()));
    return {loss};
  }

  nn::Sequential net{"net"};
  std::optional<nn::Sgd> sgd;
  CrossEntropyOptions entropy;
};

class EbbRun : public EbbModel {
 public:
  EbbRun(const ModelProblem& problem, const Way& way, DType dtype) {
    const bool learns = problem.model == "mlp";
    for (const Tensor& input : problem.inputs) {
      inputs_.push_back(is_floating(input.dtype()) ? input.to(dtype) : input);
      if (learns && inputs_.size() == 2) break;  // the rest are parameters
    }
    ModelFunction f;
    if (learns) {
      network_ = std::make_unique<Network>(way.fused, dtype);
      for (std::size_t i = 0; i < network_->sgd->parameters().size(); ++i) {
        network_->sgd->parameters()[i].set(problem.inputs[i + 2].to(dtype));
      }
      f = [this](Tape&, In in) { return network_->step(in); };
    } else {
      f = *function_named(problem.model, way.fused);
    }
    f_ = f;
    if (way.compiled) compiler_.emplace(f, all_passes(), way.setting, Backend::generated);
  }

  void activate(int threads) override { set_threads(threads); }

  void run() override {
    results_.clear();
    if (compiler_) {
      results_ = compiler_->run(inputs_);
      return;
    }
    tape_.step([&] {
      Vars leaves;
      for (const Tensor& input : inputs_) leaves.push_back(tape_.leaf(input));
      for (const Var& result : f_(tape_, leaves)) results_.push_back(result.value());
    });
  }

  std::vector<std::vector<double>> results() const override {
    std::vector<std::vector<double>> all;
    for (const Tensor& t : results_) all.push_back(doubles(t));
    if (network_) {
      for (const State& p : network_->sgd->parameters()) all.push_back(doubles(p.value()));
    }
    return all;
  }

  std::size_t peak_bytes() override { return program() ? program()->memory().peak_bytes() : 0; }
  const Program* program() const override {
    return compiler_ && compiler_->traces() > 0 ? &compiler_->last() : nullptr;
  }

 private:
  std::vector<Tensor> inputs_;
  std::unique_ptr<Network> network_;
  ModelFunction f_;
  Tape tape_;
  std::optional<Compiler> compiler_;
  Tensors results_;
};

// Products of the sizes of the MLP's: forward, by the weight, and by the input for all but the first layer.
class MatmulsAlone : public Model {
 public:
  explicit MatmulsAlone(const ModelCall& call) {
    const std::int64_t n = call.inputs[0].shape[0];
    std::int64_t most = 0;
    for (const ModelInput& weight : call.inputs) {
      if (weight.integer || weight.shape.size() != 2 || weight.data == call.inputs[0].data) continue;
      const std::int64_t out = weight.shape[0], in = weight.shape[1];
      if (!products_.empty()) products_.push_back({1, n, out, in});
      products_.push_back({1, n, in, out});
      products_.push_back({1, out, n, in});
      most = std::max({most, n * in, n * out, out * in});
    }
    for (std::vector<float>* each : {&a_, &b_, &out_}) each->assign(static_cast<std::size_t>(most), 0.5F);
  }
  void activate(int threads) override { threads_ = threads; }
  void run() override {
    for (const Product& product : products_) openblas_matmul(product, a_.data(), b_.data(), out_.data(), threads_);
  }
  std::vector<std::vector<double>> results() const override { return {}; }

 private:
  std::vector<Product> products_;
  std::vector<float> a_, b_, out_;
  int threads_ = 1;
};

// What rounding may do to norm_add_relu's results where the relu's argument is 0 within that of f32: such an element's
// cotangent counts or does not, in its own derivatives and in its channel's sums.
std::vector<std::vector<double>> slack_of_relu(const std::vector<Tensor>& inputs) {
  constexpr double kRounding = 1e-5;  // of the largest element
  Tape tape;
  const auto wide = [&](std::size_t i) { return tape.leaf(inputs[i].to(DType::f64)); };
  const Var xhat = batch_norm(wide(0), {}, {});
  const std::vector<double> before = doubles((batch_norm(wide(0), wide(2), wide(3)) + wide(1)).value());
  double largest = 0;
  for (const double v : before) largest = std::max(largest, std::abs(v));
  const std::vector<double> normal = doubles(xhat.value()), ct = doubles(inputs[4]);
  const ebb::Shape& shape = inputs[0].shape();
  const auto channels = static_cast<std::size_t>(shape[1]);
  const std::size_t inner = before.size() / static_cast<std::size_t>(shape[0]) / channels;
  std::vector<std::vector<double>> slack{
      {}, before, before, std::vector<double>(channels), std::vector<double>(channels)};
  for (std::size_t i = 0; i < before.size(); ++i) {
    const bool undecided = std::abs(before[i]) <= kRounding * largest;
    slack[1][i] = slack[2][i] = undecided ? std::numeric_limits<double>::infinity() : 0;
    if (!undecided) continue;
    slack[3][i / inner % channels] += std::abs(ct[i] * normal[i]);
    slack[4][i / inner % channels] += std::abs(ct[i]);
  }
  return slack;
}

std::vector<std::int64_t> sizes_of(const std::string& model, const std::string& text) {
  const Shape shape = parse_shape(text);
  if (shape.layout == Layout::nhwc) throw std::invalid_argument("'" + text + "': channels are at axis 1 here");
  if (shape.layout == Layout::rows) return {shape.n, shape.c};
  if (model != "norm_add_relu") throw std::invalid_argument("'" + text + "': " + model + " takes rows, such as 64x100");
  return {shape.n, shape.c, shape.h, shape.w};
}

}  // namespace

ModelCall ModelProblem::call() const {
  ModelCall call{model, {}};
  for (const Tensor& input : inputs) {
    std::vector<std::int64_t> sizes;
    for (int i = 0; i < input.rank(); ++i) sizes.push_back(input.shape()[i]);
    call.inputs.push_back({input.raw(), sizes, !is_floating(input.dtype())});
  }
  return call;
}

std::size_t ModelProblem::bytes() const {
  std::size_t most = 0;
  for (const Tensor& input : inputs) most = std::max(most, input.bytes());
  return most;
}

ModelProblem make_problem(const std::string& model, const std::string& text) {
  const std::vector<std::int64_t> sizes = sizes_of(model, text);
  const ebb::Shape shape{std::span(sizes)};
  Random random(17);
  const auto normal = [&](const ebb::Shape& s, double mean = 0) {
    Tensor t = Tensor::empty(s, DType::f32);
    random.fill_normal(t, mean);
    return t;
  };
  const auto labels = [&](std::int64_t classes) {
    Tensor t = Tensor::zeros({shape[0]}, DType::i64);
    for (std::int64_t& v : t.mutable_data<std::int64_t>()) {
      v = static_cast<std::int64_t>(random.uniform() * static_cast<double>(classes));
    }
    return t;
  };
  ModelProblem problem{model, text, {}, {}, {}};
  if (model == "norm_add_relu") {
    const ebb::Shape channels{shape[1]};
    problem.inputs = {normal(shape, 0.5), normal(shape), normal(channels, 1), normal(channels), normal(shape)};
  } else if (model == "layer_norm") {
    const ebb::Shape features{shape[1]};
    problem.inputs = {normal(shape, 0.5), normal(features, 1), normal(features), normal(shape)};
  } else if (model == "cross_entropy") {
    problem.inputs = {normal(shape), labels(shape[1])};
  } else if (model == "gelu") {
    problem.inputs = {normal(shape), normal(shape)};
  } else if (model == "mlp") {
    if (shape[1] != 64) throw std::invalid_argument("'" + text + "': the mlp takes 64 features, such as 60x64");
    problem.inputs = {normal(shape), labels(10)};
    const Network network(false, DType::f32);
    for (const State& p : network.sgd->parameters()) problem.inputs.push_back(p.value());
  } else {
    throw std::invalid_argument("there is no model '" + model + "'");
  }
  EbbRun truth(problem, {"truth", false, Setting::exact, false}, DType::f64);
  truth.run();
  problem.truth = truth.results();
  if (model == "norm_add_relu") problem.slack = slack_of_relu(problem.inputs);
  return problem;
}

std::unique_ptr<EbbModel> make_ebb_model(const ModelProblem& problem, const Way& way) {
  return std::make_unique<EbbRun>(problem, way, DType::f32);
}

std::unique_ptr<Model> make_matmuls_alone(const ModelCall& call) {
  return call.model == "mlp" ? std::make_unique<MatmulsAlone>(call) : nullptr;
}

std::string check(const ModelProblem& problem, Model& model) {
  constexpr double kTolerance = 1e-3;  // of each result's largest element; what is wrong is wrong by far more
  model.activate(1);
  model.run();
  const auto results = model.results();
  if (results.empty()) return {};
  if (results.size() != problem.truth.size())
    return fmt::format("{} results, not {}", results.size(), problem.truth.size());
  for (std::size_t r = 0; r < results.size(); ++r) {
    const std::vector<double>& want = problem.truth[r];
    if (results[r].size() != want.size()) return fmt::format("result {} has {} elements", r, results[r].size());
    double largest = 0;
    for (const double v : want) largest = std::max(largest, std::abs(v));
    const bool slack = r < problem.slack.size() && !problem.slack[r].empty();
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (std::abs(results[r][i] - want[i]) <= kTolerance * largest + (slack ? problem.slack[r][i] : 0)) continue;
      return fmt::format("result {}, element {} is {}, not {}", r, i, results[r][i], want[i]);
    }
  }
  return {};
}

}  // namespace ebb::bench
