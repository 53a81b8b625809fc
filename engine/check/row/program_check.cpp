#include <ebb/engine/check/row/program_check.h>

#include <ebb/engine/program/certify.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/engine/threads/pool.h>
#include <fmt/format.h>

#include <cmath>

namespace ebb {
namespace {

// What algebra may lose where eager mode loses nothing, in ulp of a result's largest element.
constexpr double kAlgebraUlp = 16;

class ProgramCheck {
 public:
  ProgramCheck(const RowSample& sample, std::span<const Pass> passes, std::vector<std::string>& failures)
      : sample_(sample), passes_(passes), failures_(failures), inputs_(sample.inputs) {
    Tape tape(Tape::Mode::trace);
    const Var out = sample.record(tape);
    Tensor cotangent = Tensor::empty(out.shape(), DType::f64);
    double place = 0;
    for (double& v : cotangent.mutable_data<double>()) v = std::sin(place += 1.3) + 0.25;
    inputs_.push_back(cotangent.to(is_floating(out.dtype()) ? out.dtype() : DType::f64));
  }

  std::size_t run() {
    const std::vector<Tensor> eager = eagerly();
    for (const Backend backend : {Backend::generated, Backend::interpreted}) same_bits(eager, backend);
    nearly_right();
    return checks_;
  }

 private:
  // The value, the cotangents of the inputs that have any, and the cotangents of those.
  Vars call(std::span<const Var> in) const {
    const std::size_t arity = sample_.inputs.size();
    const Var out = in[0].tape().record(*sample_.row, std::vector<Operand>(in.begin(), in.end() - 1), sample_.attrs);
    Vars results{out};
    if (!is_floating(out.dtype())) return results;
    for (std::size_t i = 0; i < arity; ++i) {
      if (!sample_.row->vjp[i].differentiable() || !is_floating(in[i].dtype())) continue;
      const Var d = pullback(out, in[arity], in[i]);
      results.push_back(d);
      results.push_back(pullback(d, in[i], in[i]));
    }
    return results;
  }

  std::vector<Tensor> eagerly() const {
    Tape tape;
    std::vector<Var> leaves;
    for (const Tensor& input : inputs_) leaves.push_back(tape.leaf(input));
    std::vector<Tensor> values;
    for (const Var& result : call(leaves)) values.push_back(result.value());
    return values;
  }

  Program program(Setting setting, Backend backend) const {
    std::vector<TensorType> types;
    for (const Tensor& input : inputs_) types.push_back({input.shape(), input.dtype()});
    return Program(trace([this](Tape&, std::span<const Var> in) { return call(in); }, types), passes_, setting,
                   backend);
  }

  void require(bool holds, const std::string& what) {
    ++checks_;
    if (!holds) failures_.push_back(fmt::format("{}: {}", sample_.what, what));
  }

  static std::string result(std::size_t i) {
    return i == 0 ? "the value" : fmt::format("cotangent {} of order {}", (i - 1) / 2, (i - 1) % 2 + 1);
  }

  void same_bits(const std::vector<Tensor>& eager, Backend backend) {
    Program exact = program(Setting::exact, backend);
    const int before = threads();
    for (const int count : {1, 3}) {
      set_threads(count);
      const Tensors got = exact.compute(inputs_);
      for (std::size_t i = 0; i < eager.size(); ++i) {
        require(identical(got[i], eager[i]),
                fmt::format("compiled with exact bits, {}, {} threads, {} has other bits than in eager mode",
                            backend == Backend::generated ? "generated" : "interpreted", count, result(i)));
      }
    }
    set_threads(before);
  }

  void nearly_right() {
    Program relaxed = program(Setting::relaxed, Backend::generated);
    const Certificate certificate = certify(relaxed, inputs_, {.samples = 0});
    for (std::size_t i = 0; i < certificate.results.size(); ++i) {
      const Certificate::Result& r = certificate.results[i];
      require(r.program_ulp <= 2 * r.eager_ulp + kAlgebraUlp,
              fmt::format("compiled, {} is {:.3g} ulp off at element {}, in eager mode {:.3g}", result(i),
                          r.program_ulp, r.element, r.eager_ulp));
    }
  }

  const RowSample& sample_;
  std::span<const Pass> passes_;
  std::vector<std::string>& failures_;
  std::vector<Tensor> inputs_;  // the sample's, and the cotangent of its value
  std::size_t checks_ = 0;
};

}  // namespace

std::size_t check_programs(const RowSample& sample, std::span<const Pass> passes, std::vector<std::string>& failures) {
  return ProgramCheck(sample, passes, failures).run();
}

}  // namespace ebb
