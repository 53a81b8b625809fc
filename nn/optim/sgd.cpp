#include <ebb/nn/optim/sgd.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <fmt/format.h>

#include <algorithm>

namespace ebb::nn {
namespace {

void check(const SgdOptions& o) {
  const auto fail = [](const std::string& what) { throw UsageError("sgd: " + what); };
  if (!(o.lr >= 0)) fail(fmt::format("lr must be >= 0, got {}.", o.lr));
  if (!(o.momentum >= 0)) fail(fmt::format("momentum must be >= 0, got {}.", o.momentum));
  if (!(o.weight_decay >= 0)) fail(fmt::format("weight_decay must be >= 0, got {}.", o.weight_decay));
  if (o.nesterov && (o.momentum == 0 || o.dampening != 0)) {
    fail(fmt::format("nesterov needs momentum and no dampening, got momentum {} and dampening {}.", o.momentum,
                     o.dampening));
  }
}

}  // namespace

Sgd::Sgd(const std::vector<State>& parameters, const SgdOptions& options)
    : Sgd(std::vector{ParameterGroup{parameters, options}}, options) {}

Sgd::Sgd(const std::vector<ParameterGroup>& groups, const SgdOptions& options) {
  for (const ParameterGroup& group : groups) add_group(group, options);
  if (parameters_.empty()) throw UsageError("sgd: there are no parameters to train.");
}

void Sgd::add_group(const ParameterGroup& group, const SgdOptions& defaults) {
  const SgdOptions options = group.options.value_or(defaults);
  check(options);
  const std::size_t index = groups_.size();
  groups_.push_back(
      {options, State(index == 0 ? "lr" : fmt::format("lr{}", index), Tensor::full({}, options.lr, DType::f64))});
  if (options.momentum != 0 && options.dampening != 0 && !steps_) {
    steps_ = State("steps", Tensor::zeros({}, DType::i64));
  }
  for (const State& parameter : group.parameters) {
    if (std::ranges::find(parameters_, parameter) != parameters_.end()) {
      throw UsageError(fmt::format("sgd: parameter {} is given twice.", parameter.name()));
    }
    const bool spared = !options.decay_vectors && parameter.shape().rank() < 2;
    Slot slot{index, spared ? 0 : options.weight_decay, State()};
    if (options.momentum != 0) {
      slot.buffer = State(parameter.name() + ".momentum", Tensor::zeros(parameter.shape(), parameter.dtype()));
    }
    parameters_.push_back(parameter);
    slots_.push_back(slot);
  }
}

void Sgd::step(const Vars& gradients, Location where) {
  if (gradients.size() != parameters_.size()) {
    throw UsageError(
        fmt::format("sgd: got {} gradients for {} parameters. Take them by grad(loss, sgd.parameters()). "
                    "({})",
                    gradients.size(), parameters_.size(), to_string(where)));
  }
  const auto given = std::ranges::find_if(gradients, [](const Var& gradient) { return gradient.alive(); });
  if (given == gradients.end()) return;
  Tape& tape = given->tape();
  const auto scope = tape.scope("sgd", where);
  for (std::size_t i = 0; i < parameters_.size(); ++i) {  // before anything is noted
    if (!gradients[i].alive()) continue;
    const State& p = parameters_[i];
    if (gradients[i].shape() == p.shape() && gradients[i].dtype() == p.dtype()) continue;
    const std::string what = fmt::format(
        "sgd: parameter {} is {}{} but its gradient is {}{}. Take gradients by grad(loss, sgd.parameters()), "
        "in their order. ({})",
        p.name(), ebb::name(p.dtype()), to_string(p.shape()), ebb::name(gradients[i].dtype()),
        to_string(gradients[i].shape()), to_string(where));
    if (gradients[i].shape() != p.shape()) throw ShapeError(what);
    throw DTypeError(what);
  }

  Var first;  // true in the first step
  if (steps_) {
    const Var steps = tape.read(steps_);
    first = equal(steps, 0.0);
    tape.update(steps_, steps + 1.0);
  }
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (!gradients[i].alive()) continue;
    const Slot& slot = slots_[i];
    const Group& group = groups_[slot.group];
    const SgdOptions& o = group.options;
    const Var p = tape.read(parameters_[i]);
    Var g = gradients[i];
    if (slot.weight_decay != 0) g = g + p * slot.weight_decay;
    Var step = g;
    if (slot.buffer) {
      const Var buffer = tape.read(slot.buffer);
      // The buffer begins at 0: without dampening the general line gives g at the first step.
      Var moved = buffer * o.momentum + (o.dampening == 0 ? g : g * (1 - o.dampening));
      if (o.dampening != 0) moved = ebb::where(first, g, moved);
      tape.update(slot.buffer, moved);
      step = o.nesterov ? g + moved * o.momentum : moved;
    }
    tape.update(parameters_[i], p - step * cast(tape.read(group.lr), p.dtype()));
  }
}

void Sgd::set_learning_rate(double lr) {
  if (!(lr >= 0)) throw UsageError(fmt::format("sgd: lr must be >= 0, got {}.", lr));
  for (Group& group : groups_) group.lr.set(Tensor::full({}, lr, DType::f64));
}

std::vector<State> Sgd::states() const {
  std::vector<State> out;
  for (const Group& group : groups_) out.push_back(group.lr);
  if (steps_) out.push_back(steps_);
  for (const Slot& slot : slots_) {
    if (slot.buffer) out.push_back(slot.buffer);
  }
  return out;
}

std::string Sgd::describe() const {
  const SgdOptions& o = groups_[0].options;
  std::string text = fmt::format("Sgd(lr={}", groups_[0].lr.value().item());
  if (o.momentum != 0) text += fmt::format(", momentum={}", o.momentum);
  if (o.dampening != 0) text += fmt::format(", dampening={}", o.dampening);
  if (o.nesterov) text += ", nesterov";
  if (o.weight_decay != 0) text += fmt::format(", weight_decay={}", o.weight_decay);
  if (groups_.size() > 1) text += fmt::format(", {} groups", groups_.size());
  return text + fmt::format(", {} parameters)", parameters_.size());
}

}  // namespace ebb::nn
