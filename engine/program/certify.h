// certify: how far a program's results are from those of its function in f64.
#pragma once

#include <ebb/engine/program/program.h>

#include <string>
#include <vector>

namespace ebb {

struct CertifyOptions {
  int samples = 4;             ///< how many perturbed inputs, besides the given ones
  double perturbation = 0.01;  ///< each floating element is multiplied by 1 + u, u uniform within this
  std::uint64_t seed = 1;
};

struct Certificate {
  struct Result {
    std::string name;        ///< its name in the traced graph, or `output 0`; `update of bn.running_mean`
    double program_ulp = 0;  ///< the largest difference from f64, in ulp of the result's largest element
    double eager_ulp = 0;    ///< the same for eager mode
    std::int64_t element = 0;
  };
  std::vector<Result> results;
  /// The largest of all.
  double program_ulp() const;
  double eager_ulp() const;
  std::string text() const;
};

/// Runs the program on `inputs` and on perturbations of them that keep every sign, and compares each result with that
/// of the recorded function in f64, which knows nothing of passes and loops. No State changes.
///
/// Throws    what Program::compute throws.
Certificate certify(Program& program, std::span<const Tensor> inputs, const CertifyOptions& options = {});

}  // namespace ebb
