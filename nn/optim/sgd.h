// Stochastic gradient descent, with momentum and weight decay.
//
// A step is recorded like everything else: it reads the parameters, the slots and the learning rate from their States
// and notes their next values, so the same code runs eagerly and in a compiled program, and a step that throws has
// changed nothing. The learning rate is a State, so that changing it needs no new program.
#pragma once

#include <ebb/engine/grad/grad.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ebb::nn {

struct SgdOptions {
  double lr = 0.01;
  double momentum = 0;
  double dampening = 0;
  bool nesterov = false;
  double weight_decay = 0;  ///< adds weight_decay * parameter to the gradient
  /// False: no weight decay on parameters of rank below 2, which are biases and the scale and shift of norms.
  bool decay_vectors = true;
};

/// Parameters that share their options; those of the optimizer hold where a group says nothing.
struct ParameterGroup {
  std::vector<State> parameters;
  std::optional<SgdOptions> options = std::nullopt;
};

/// With g the gradient plus weight_decay * parameter: buffer = g at the first step, then momentum * buffer +
/// (1 - dampening) * g; parameter -= lr * buffer, or lr * (g + momentum * buffer) with nesterov.
///
/// Throws    UsageError for options that mean nothing, no parameters or one given twice.
/// Example   nn::Sgd sgd(net.parameters(), {.lr = 0.1, .momentum = 0.9});
///           tape.step([&] { sgd.step(grad(loss(), sgd.parameters())); });
class Sgd {
 public:
  explicit Sgd(const std::vector<State>& parameters, const SgdOptions& options = {});
  explicit Sgd(const std::vector<ParameterGroup>& groups, const SgdOptions& options = {});

  /// In the order in which step() takes gradients.
  const std::vector<State>& parameters() const { return parameters_; }

  /// Records the next values and notes them; the tape's commit (the end of tape.step) makes them so. A parameter whose
  /// gradient is an empty Var (Unused::none) is left alone.
  ///
  /// Throws    UsageError if there are not as many gradients as parameters; ShapeError or DTypeError if one does not
  /// fit.
  void step(const Vars& gradients, Location where = Location::current());

  /// The learning rate of a group, f64 [].
  const State& learning_rate(std::size_t group = 0) const { return groups_.at(group).lr; }
  void set_learning_rate(double lr);

  /// Learning rates, momentum buffers and the count of steps: what a checkpoint has to keep.
  std::vector<State> states() const;
  /// The momentum buffer of a parameter; empty without momentum.
  const State& momentum_buffer(std::size_t parameter) const { return slots_.at(parameter).buffer; }

  /// `Sgd(lr=0.1, momentum=0.9, weight_decay=0.0001, 8 parameters)`
  std::string describe() const;

 private:
  struct Group {
    SgdOptions options;
    State lr;
  };
  struct Slot {
    std::size_t group;
    double weight_decay;
    State buffer;
  };
  void add_group(const ParameterGroup& group, const SgdOptions& defaults);

  std::vector<State> parameters_;
  std::vector<Slot> slots_;
  std::vector<Group> groups_;
  State steps_;  // i64 []; only with dampening, which spares the first step
};

}  // namespace ebb::nn
