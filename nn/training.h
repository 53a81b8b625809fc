// What a training loop needs besides its loop: evaluation that leaves the modes as they were, and accuracy.
#pragma once

#include <ebb/nn/data/dataset.h>
#include <ebb/nn/module.h>

#include <utility>
#include <vector>

namespace ebb::nn {

/// Puts a module and all below it into evaluation mode until it goes out of scope, then back into the modes they were
/// in.
class Evaluating {
 public:
  explicit Evaluating(Module& module);
  ~Evaluating();
  Evaluating(const Evaluating&) = delete;
  Evaluating& operator=(const Evaluating&) = delete;

 private:
  std::vector<std::pair<Module*, bool>> before_;
};

/// The module's output for all of x in evaluation mode, computed in batches; nothing of it is kept or committed.
///
/// Shapes    x [N, ...] -> [N, ...].
/// Throws    ShapeError if x has no rows, UsageError unless batch is positive, and what the module throws.
Tensor predict(Module& module, const Tensor& x, std::int64_t batch = 256);

/// The share of rows whose largest score is at the label; the first of several largest counts, and NaN is never one.
///
/// Throws    ShapeError unless scores are [N, C] and labels [N], N and C positive; DTypeError unless labels are i64.
double accuracy(const Tensor& scores, const Tensor& labels);

/// The accuracy of a module on a data set, in evaluation mode.
double accuracy(Module& module, const Dataset& data);

}  // namespace ebb::nn
