// The golden family `training`: whole runs, from the same start over the same batches to the same end, in f64 within
// the tolerance and in f32 within it and near the deviation that the reference measured for itself, each step by step
// and as a compiled program. And the runs of `optim` that SGD can make. What waits for layers or optimizers is printed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <tuple>

#include "tests/golden/missing.h"
#include "tests/support/driven.h"
#include "tests/support/golden_ops.h"

namespace ebb::test {
namespace {

bool listed(std::string_view name) { return std::ranges::find(kMissingTraining, name) != std::end(kMissingTraining); }

class TrainingGolden : public testing::TestWithParam<std::tuple<DType, Driver>> {
 protected:
  DType dtype() const { return std::get<0>(GetParam()); }
  Driver driver() const { return std::get<1>(GetParam()); }
  std::string text() const { return fmt::format("{} {}", name(dtype()), name(driver())); }
};
INSTANTIATE_TEST_SUITE_P(All, TrainingGolden,
                         testing::Combine(testing::Values(DType::f64, DType::f32), testing::ValuesIn(kDrivers)),
                         [](const auto& instance) {
                           return fmt::format("{}_{}", name(std::get<0>(instance.param)),
                                              name(std::get<1>(instance.param)));
                         });

// The optimizer, unless it is one that Ebb lacks.
std::optional<nn::SgdOptions> sgd_options(const Json& attrs) {
  if (attrs.at("name") != "sgd") return std::nullopt;
  return nn::SgdOptions{.lr = attrs.at("lr").get<double>(),
                        .momentum = attrs.value("momentum", 0.0),
                        .dampening = attrs.value("dampening", 0.0),
                        .nesterov = attrs.value("nesterov", false),
                        .weight_decay = attrs.value("weight_decay", 0.0)};
}

// The largest |got - reference|, relative to the largest reference.
double deviation(const GoldenTensor& reference, const Tensor& got) {
  double largest = 0;
  double difference = 0;
  for (std::size_t i = 0; i < reference.reals.size(); ++i) {
    largest = std::max(largest, std::abs(reference.reals[i]));
    difference = std::max(difference, std::abs(reference.reals[i] - got.at(static_cast<std::int64_t>(i))));
  }
  return difference / largest;
}

// A run of the family, with its network built from the description.
class Training {
 public:
  Training(const GoldenCase& c, DType dtype, Kernels kernels)
      : c_(c), dtype_(dtype), tolerance_(*tolerance_of(c, dtype)), net_("net") {
    if (kernels == Kernels::staged) loss_.kernel = CrossEntropyKernel::staged;
    nn::BatchNormLayerOptions norm;
    norm.eps = c.attrs.at("batchnorm_eps").get<double>();
    norm.momentum = nn::Momentum::new_weight(c.attrs.at("batchnorm_momentum").get<double>());
    norm.dtype = dtype;
    norm.kernel = kernels == Kernels::staged ? BatchNormKernel::staged : BatchNormKernel::fused;
    Random random(0);
    for (const Json& layer : c.description.at("layers")) {
      const std::string type = layer.at("type");
      if (type == "linear") {
        const Tensor weight = initial(layer.at("weight"));
        const bool bias = !layer.at("bias").is_null();
        nn::Linear& linear =
            net_.add(nn::Linear(weight.shape()[1], weight.shape()[0], {.bias = bias, .dtype = dtype}, random));
        take(linear.weight(), layer.at("weight"));
        if (bias) take(linear.bias(), layer.at("bias"));
      } else if (type == "batch_norm") {
        nn::BatchNorm& bn = net_.add(nn::BatchNorm(initial(layer.at("gamma")).numel(), norm));
        take(bn.weight(), layer.at("gamma"));
        take(bn.bias(), layer.at("beta"));
        buffers_.push_back({layer.at("running_mean"), bn.running_mean()});
        buffers_.push_back({layer.at("running_var"), bn.running_var()});
      } else if (type == "sigmoid") {
        net_.add(nn::Sigmoid());
      } else if (type == "tanh") {
        net_.add(nn::Tanh());
      } else {
        net_.add(nn::Relu());
      }
    }
  }

  /// Returns all that the run gave: losses, norms, final States and scores.
  std::vector<Tensor> train(Driver driver) {
    nn::Sgd sgd(parameters_, *sgd_options(c_.attrs.at("optimizer")));
    const GoldenCase& data = golden("training").find(c_.description.at("dataset").get<std::string>());
    const Tensor x = tensor_of(data.tensor("x"), dtype_);
    const Tensor labels = tensor_of(data.tensor("labels"), DType::i64);
    const GoldenTensor& batches = data.tensor("batches");
    const std::size_t size = static_cast<std::size_t>(batches.shape[1]);
    Driven step(driver, [&](Tape&, std::span<const Var> in) {
      const Var scores = net_(in[0]);
      const Var loss = cross_entropy(scores, in[1], loss_);
      const Vars gradients = grad(loss, parameters_);
      sgd.step(gradients);
      Vars results{loss, scores};
      results.insert(results.end(), gradients.begin(), gradients.end());
      return results;
    });
    std::vector<double> losses, norms;
    for (std::size_t k = 0; k < static_cast<std::size_t>(batches.shape[0]); ++k) {
      const std::span rows(batches.integers.data() + k * size, size);
      const std::vector<Tensor> got = step({nn::take_rows(x, rows), nn::take_rows(labels, rows)});
      losses.push_back(got[0].item());
      if (k == 0) {
        expect_close(c_, "logits_step0", got[1], tolerance_);
        for (std::size_t i = 0; i < names_.size(); ++i) expect_close(c_, "grad0_" + names_[i], got[i + 2], tolerance_);
      }
      if (k == 0) {
        for (const auto& [name, state] : buffers_) expect_close(c_, "step1_" + name, state.value(), tolerance_);
      }
      for (const State& p : parameters_) norms.push_back(norm(p.value()));
    }
    expect("loss", Tensor::from({static_cast<std::int64_t>(losses.size())}, std::span<const double>(losses)));
    expect("param_norms", Tensor::from(shape_of(c_.tensor("param_norms")), std::span<const double>(norms)));
    for (std::size_t i = 0; i < names_.size(); ++i) expect("final_" + names_[i], parameters_[i].value());
    for (const auto& [name, state] : buffers_) expect("final_" + name, state.value());

    const Tensor labels_eval = tensor_of(data.tensor("labels_eval"), DType::i64);
    const Tensor scores = nn::predict(net_, tensor_of(data.tensor("x_eval"), dtype_));
    expect("eval_logits", scores);
    expect("eval_loss", Driven(driver, [options = loss_](Tape&, std::span<const Var> in) {
             return Vars{cross_entropy(in[0], in[1], options)};
           })({scores, labels_eval})[0]);
    EXPECT_NEAR(nn::accuracy(scores, labels_eval), c_.description.at("eval_accuracy").get<double>(), 1e-12);
    return given_;
  }

 private:
  Tensor initial(const Json& name) const { return tensor_of(c_.tensor("init_" + name.get<std::string>()), dtype_); }
  void take(const State& state, const Json& name) {
    state.set(initial(name));
    parameters_.push_back(state);
    names_.push_back(name);
  }
  static double norm(const Tensor& t) {
    double squares = 0;
    for (std::int64_t i = 0; i < t.numel(); ++i) squares += t.at(i) * t.at(i);
    return std::sqrt(squares);
  }
  void expect(const std::string& role, const Tensor& got) {
    given_.push_back(got);
    expect_close(c_, role, got, tolerance_);
    const Json& stated = c_.description.at("float32_deviation");
    if (dtype_ != DType::f32 || !stated.contains(role)) return;
    // What the reference's own f32 run lost, times ten: a bias of ten small numbers is a few roundings either way.
    EXPECT_LE(deviation(c_.tensor(role), got), 10 * stated.at(role).get<double>()) << c_.name << " " << role;
  }

  const GoldenCase& c_;
  DType dtype_;
  const Tolerance& tolerance_;
  nn::Sequential net_;
  std::vector<State> parameters_;
  std::vector<std::string> names_;
  std::vector<std::pair<std::string, State>> buffers_;
  CrossEntropyOptions loss_;
  std::vector<Tensor> given_;
};

TEST_P(TrainingGolden, Runs) {
  int done = 0;
  std::string waiting;
  for (const GoldenCase& c : golden("training").cases()) {
    if (c.op != "training") continue;
    std::string missing;
    for (const Json& layer : c.description.at("layers")) {
      const std::string type = layer.at("type");
      if (missing.empty() && listed(type)) missing = type;
    }
    if (!missing.empty()) {
      waiting += " " + c.name + " (" + missing + ")";
      continue;
    }
    SCOPED_TRACE(c.name);
    // Without algebra a program has the bits of the staged kernels, as long as it runs.
    const Kernels kernels = driver() == Driver::exact ? Kernels::staged : Kernels::usual;
    const std::vector<Tensor> got = Training(c, dtype(), kernels).train(driver());
    if (driver() == Driver::exact) {
      const std::vector<Tensor> want = Training(c, dtype(), kernels).train(Driver::eager);
      for (std::size_t i = 0; i < want.size(); ++i) EXPECT_TRUE(identical(got[i], want[i])) << "result " << i;
    }
    ++done;
  }
  std::cout << "golden training " << text() << ": " << done
            << " runs, waiting for:" << (waiting.empty() ? " nothing" : waiting) << "\n";
}

void expect_step(const GoldenCase& c, const std::string& role, std::int64_t k, const Tensor& got,
                 const Tolerance& tolerance) {
  const GoldenTensor& all = c.tensor(role);
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double reference = all.reals[static_cast<std::size_t>(k * got.numel() + i)];
    EXPECT_NEAR(got.at(i), reference, tolerance.atol.find(role)->second + tolerance.rtol * std::abs(reference))
        << role << " " << k;
  }
}

TEST_P(TrainingGolden, Optimizers) {
  const GoldenCase& problem = golden("optim").find("problem");
  int done = 0;
  std::string waiting;
  for (const GoldenCase& c : golden("optim").cases()) {
    const Tolerance* const tolerance = tolerance_of(c, dtype());
    if (c.op != "optimizer" || !tolerance) continue;
    const std::optional<nn::SgdOptions> options = sgd_options(c.attrs);
    const bool clips = !c.description.at("clip").is_null();
    if (!options || clips) {
      EXPECT_TRUE(listed(clips ? "clip" : c.attrs.at("name").get<std::string>())) << c.name;
      waiting += " " + c.name;
      continue;
    }
    SCOPED_TRACE(c.name);
    std::vector<State> parameters;
    const std::vector<std::string> names{"p", "q", "z"};
    for (const std::string& n : names) parameters.emplace_back(n, tensor_of(problem.tensor(n), dtype()));
    nn::Sgd sgd(parameters, *options);
    std::vector<Tensor> inputs;
    for (const std::string& role : problem.args) inputs.push_back(tensor_of(problem.tensor(role), dtype()));
    Driven step(driver(), [&](Tape& tape, std::span<const Var> in) {
      NamedVars values;
      for (std::size_t i = 0; i < in.size(); ++i) values[problem.args[i]] = in[i];
      for (std::size_t i = 0; i < names.size(); ++i) values[names[i]] = tape.read(parameters[i]);
      run_golden(problem, values);
      Vars results{values.at("loss")};
      const Vars gradients = grad(results[0], sgd.parameters());
      sgd.step(gradients);
      results.insert(results.end(), gradients.begin(), gradients.end());
      return results;
    });
    for (std::int64_t k = 0; k < c.description.at("steps").get<std::int64_t>(); ++k) {
      // A schedule is a learning rate that changes between the steps.
      sgd.set_learning_rate(c.tensor("lr").reals[static_cast<std::size_t>(k)]);
      const std::vector<Tensor> got = step(inputs);
      expect_step(c, "loss", k, got[0], *tolerance);
      for (std::size_t i = 0; i < names.size(); ++i) expect_step(c, "grad_" + names[i], k, got[i + 1], *tolerance);
      for (std::size_t i = 0; i < names.size(); ++i) {
        expect_step(c, "param_" + names[i], k + 1, parameters[i].value(), *tolerance);
        if (c.has("state_momentum_buffer_" + names[i])) {
          expect_step(c, "state_momentum_buffer_" + names[i], k, sgd.momentum_buffer(i).value(), *tolerance);
        }
      }
    }
    ++done;
  }
  std::cout << "golden optim " << text() << ": " << done << " runs, waiting:" << waiting << "\n";
  EXPECT_GE(done, 13);
}

}  // namespace
}  // namespace ebb::test
