// Ebb's nine steps, compiled: one program for the step, forward and derived backward together, and one for the forward
// alone.
#include <ebb/ebb.h>

#include <functional>
#include <optional>
#include <span>

#include "bench/peers/contender.h"
#include "bench/peers/tensors.h"

namespace ebb::bench {
namespace {

class CompiledSteps : public Contender {
 public:
  CompiledSteps(const char* name, Setting setting) : name_(name), setting_(setting) {}

  std::string name() const override { return name_; }

  void set_up(const Problem& p, int threads) override {
    threads_ = threads;
    BatchNormOptions options;
    options.eps = p.eps;
    options.channel_axis = channel_axis(p.shape);
    inputs_ = tensors_of(p);
    forward_.emplace([options](std::span<const Var> in) { return Vars{batch_norm(in[0], in[1], in[2], options)}; },
                     CompileOptions{setting_});
    step_.emplace(
        [options](std::span<const Var> in) {
          const Var out = batch_norm(in[0], in[1], in[2], options);
          Vars results{out};
          for (const Var& d : pullback(out, in[3], {in[0], in[1], in[2]})) results.push_back(d);
          return results;
        },
        CompileOptions{setting_});
  }

  void activate() override { set_threads(threads_); }
  void forward() override {
    results_.clear();
    results_ = (*forward_)(std::span<const Tensor>(inputs_).first(3));
  }
  void backward() override { step(); }
  void step() override {
    results_.clear();
    results_ = (*step_)(std::span<const Tensor>(inputs_));
  }

  Outputs outputs() const override {
    const auto at = [&](std::size_t i) { return results_[i].data<float>().data(); };
    return {at(0), at(1), at(2), at(3)};
  }

  std::size_t peak_bytes() override {
    step();
    return step_->program().memory().peak_bytes();
  }

 private:
  using Function = std::function<Vars(std::span<const Var>)>;
  const char* name_;
  Setting setting_;
  int threads_ = 1;
  std::vector<Tensor> inputs_;
  std::optional<Compiled<Function>> forward_, step_;
  Tensors results_;
};

}  // namespace

std::unique_ptr<Contender> make_compiled() { return std::make_unique<CompiledSteps>("compiled", Setting::relaxed); }
std::unique_ptr<Contender> make_compiled_exact() {
  return std::make_unique<CompiledSteps>("compiled_exact", Setting::exact);
}

}  // namespace ebb::bench
