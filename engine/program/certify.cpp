#include <ebb/engine/program/certify.h>

#include <ebb/engine/check/tolerance.h>
#include <ebb/engine/program/replay.h>
#include <ebb/engine/random/philox.h>
#include <fmt/format.h>

#include <algorithm>

namespace ebb {
namespace {

Tensor perturbed(const Tensor& x, double by, Random& random) {
  if (!is_floating(x.dtype())) return x;
  Tensor out = x.to(DType::f64).clone();
  for (double& v : out.mutable_data<double>()) v *= 1 + by * (2 * random.uniform() - 1);
  return out.to(x.dtype());
}

// In ulp of the largest element that `dtype` would hold there.
double difference(const Tensor& got, const Tensor& want, DType dtype, std::int64_t& worst) {
  const double unit = is_floating(dtype) ? ulp_of(dtype, largest(want)) : 1;
  double most = 0;
  for (std::int64_t i = 0; i < want.numel(); ++i) {
    const double error = distance(got.at(i), want.at(i)) / unit;
    if (error > most) {
      most = error;
      worst = i;
    }
  }
  return most;
}

std::vector<Tensor> replayed(const Traced& traced, std::span<const Tensor> inputs, std::optional<DType> floating) {
  Tape tape;
  const auto leaf = [&](const Tensor& t) {
    return tape.leaf(floating && is_floating(t.dtype()) ? t.to(*floating) : t);
  };
  Vars arguments, states;
  for (const Tensor& input : inputs) arguments.push_back(leaf(input));
  for (const Traced::Read& read : traced.reads) states.push_back(leaf(read.state.value()));
  const Replayed results = replay(traced, tape, arguments, states, floating);
  std::vector<Tensor> out;
  for (const Vars* list : {&results.outputs, &results.updates}) {
    for (const Var& var : *list) out.push_back(var.value());
  }
  return out;
}

}  // namespace

Certificate certify(Program& program, std::span<const Tensor> inputs, const CertifyOptions& options) {
  const Traced& traced = program.recorded();
  Certificate certificate;
  for (std::size_t i = 0; i < traced.outputs.size(); ++i) {
    const NodeId id = traced.outputs[i];
    certificate.results.push_back({traced.node(id).named ? traced.tape->name_of(id) : fmt::format("output {}", i)});
  }
  for (const Traced::Update& update : traced.updates) {
    certificate.results.push_back({fmt::format("update of {}", update.state.name())});
  }
  Random random(options.seed);
  for (int sample = 0; sample <= options.samples; ++sample) {
    std::vector<Tensor> arguments;
    for (const Tensor& input : inputs) {
      arguments.push_back(sample == 0 ? input : perturbed(input, options.perturbation, random));
    }
    const Tensors got = program.compute(arguments);
    const std::vector<Tensor> eager = replayed(traced, arguments, std::nullopt);
    const std::vector<Tensor> want = replayed(traced, arguments, DType::f64);
    for (std::size_t i = 0; i < want.size(); ++i) {
      Certificate::Result& result = certificate.results[i];
      std::int64_t element = 0, ignored = 0;
      const double ulp = difference(got[i], want[i], got[i].dtype(), element);
      if (ulp > result.program_ulp) {
        result.program_ulp = ulp;
        result.element = element;
      }
      result.eager_ulp = std::max(result.eager_ulp, difference(eager[i], want[i], got[i].dtype(), ignored));
    }
  }
  return certificate;
}

double Certificate::program_ulp() const {
  double most = 0;
  for (const Result& result : results) most = std::max(most, result.program_ulp);
  return most;
}

double Certificate::eager_ulp() const {
  double most = 0;
  for (const Result& result : results) most = std::max(most, result.eager_ulp);
  return most;
}

std::string Certificate::text() const {
  std::string text = fmt::format("{:<24} {:>14} {:>14}\n", "result", "program (ulp)", "eager (ulp)");
  for (const Result& r : results) {
    text += fmt::format("{:<24} {:>14.3g} {:>14.3g}\n", r.name, r.program_ulp, r.eager_ulp);
  }
  return text;
}

}  // namespace ebb
