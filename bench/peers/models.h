// Ebb's side of compile_bench: the models as functions of Vars, run op by op or compiled.
#pragma once

#include <ebb/ebb.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/peers/model.h"

namespace ebb::bench {

/// How Ebb computes a model: its own names in the tables.
struct Way {
  const char* name;
  bool compiled;
  Setting setting;
  bool fused;  // hand-written kernels where there are any
};
constexpr Way kWays[] = {
    {"compiled", true, Setting::relaxed, false},
    {"compiled_exact", true, Setting::exact, false},
    {"fused", false, Setting::relaxed, true},
    {"staged", false, Setting::relaxed, false},
};

/// A model and its inputs at one shape.
struct ModelProblem {
  std::string model;
  std::string shape;  // as on the command line: 256x1024
  std::vector<Tensor> inputs;
  std::vector<std::vector<double>> truth;  // its results in f64
  // By result and element: how far it may be off where the argument of a relu is so near to 0 that rounding decides on
  // which side it is. Empty for a model or a result that has no such places.
  std::vector<std::vector<double>> slack;

  ModelCall call() const;
  /// Bytes of the largest input.
  std::size_t bytes() const;
};

/// Random inputs, and what the model gives for them in f64. Throws std::invalid_argument for a shape it does not take.
ModelProblem make_problem(const std::string& model, const std::string& shape);

class EbbModel : public Model {
 public:
  /// What it is made of in its program; null unless it is compiled and has run.
  virtual const Program* program() const = 0;
};
std::unique_ptr<EbbModel> make_ebb_model(const ModelProblem& problem, const Way& way);

/// What is wrong with a model's results after its first run, or nothing.
std::string check(const ModelProblem& problem, Model& model);

}  // namespace ebb::bench
