// Ebb's batchnorm as a program records it: the nine steps, and the fused kernel. Forward records; backward is recorded
// once, swept and taken back, as every training step does.
#include <ebb/ebb.h>

#include <optional>

#include "bench/peers/contender.h"
#include "bench/peers/tensors.h"

namespace ebb::bench {
namespace {

class OnTape : public Contender {
 public:
  OnTape(const char* name, BatchNormKernel kernel) : name_(name) { options_.kernel = kernel; }

  std::string name() const override { return name_; }

  void set_up(const Problem& p, int threads) override {
    threads_ = threads;
    options_.eps = p.eps;
    options_.channel_axis = channel_axis(p.shape);
    const std::vector<Tensor> inputs = tensors_of(p);
    base_.emplace(tape_.mark());
    x_ = tape_.leaf(inputs[0], "x");
    gamma_ = tape_.leaf(inputs[1], "gamma");
    beta_ = tape_.leaf(inputs[2], "beta");
    dout_ = tape_.leaf(inputs[3], "dout");
    base_.emplace(tape_.mark());
  }

  void activate() override { set_threads(threads_); }

  void forward() override {
    tape_.rewind(*base_);
    y_ = Tensor();
    out_ = batch_norm(x_, gamma_, beta_, options_);
    y_ = out_.value();
  }

  void backward() override {
    for (Tensor& d : d_) d = Tensor();
    const Tape::Mark mark = tape_.mark();
    const Vars d = pullback(out_, dout_, {x_, gamma_, beta_}, {.keep = false});
    for (std::size_t i = 0; i < d_.size(); ++i) d_[i] = d[i].value();
    tape_.rewind(mark);
  }

  Outputs outputs() const override {
    const auto at = [](const Tensor& t) { return t.data<float>().data(); };
    return {at(y_), at(d_[0]), at(d_[1]), at(d_[2])};
  }

  std::size_t peak_bytes() override {
    y_ = Tensor();
    for (Tensor& d : d_) d = Tensor();
    tape_.rewind(*base_);
    const std::size_t before = memory_report().live;
    reset_peak_memory();
    step();
    return memory_report().peak - before;
  }

 private:
  const char* name_;
  BatchNormOptions options_;
  int threads_ = 1;
  Tape tape_;
  std::optional<Tape::Mark> base_;
  Var x_, gamma_, beta_, dout_, out_;
  Tensor y_;
  std::array<Tensor, 3> d_;
};

}  // namespace

std::unique_ptr<Contender> make_staged() { return std::make_unique<OnTape>("staged", BatchNormKernel::staged); }
std::unique_ptr<Contender> make_fused() { return std::make_unique<OnTape>("fused", BatchNormKernel::fused); }

}  // namespace ebb::bench
