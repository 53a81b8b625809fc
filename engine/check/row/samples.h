// Ways to call a row, with inputs from its domain, and what the result should be: what all checks of rows share.
//
// Elementwise rows are called over groups of shapes that broadcast in every way, other rows over their examples. The
// truth is computed in long double by code that knows nothing of the kernels.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <functional>
#include <string>
#include <vector>

namespace ebb {

/// A tensor in long double.
struct Dense {
  Shape shape;
  std::vector<long double> at;

  static Dense of(const Tensor& tensor);
};

/// One call of a row.
struct RowSample {
  const Row* row;
  std::vector<Tensor> inputs;
  std::vector<Attr> attrs;
  std::string what;  ///< `mul f32[3, 4], f32[1, 4]`

  Var record(Tape& tape) const;
};

/// Calls of an elementwise row over the broadcast groups, or of another row over its examples, with floating inputs in
/// `dtype`. Empty if the row does not take the dtype or cannot be called alone.
std::vector<RowSample> samples_of(const Row& row, DType dtype);

/// True if a row can be called without knowing more of it: it has lanes and an oracle, or examples.
bool callable(const Row& row);

/// What a call should give, and what an error of Row::ulp units is relative to, element by element.
struct Expected {
  Dense value;
  std::vector<long double> scale;
};

/// Computes what a sample should give. Elementwise rows have one of their own, their lambda in long double.
using RowOracle = std::function<Expected(const RowSample&, const std::vector<Dense>&)>;

/// The oracle of an elementwise row: Row::oracle at each place.
Expected expected_elementwise(const RowSample& sample, const std::vector<Dense>& inputs);

/// The oracle of a reduction row (attributes `axes` and `keepdim`): `f` of the elements that each kept element stands
/// for gives the value, and what its error is relative to.
struct Reduced {
  long double value;
  long double scale;
};
RowOracle reduction_oracle(std::function<Reduced(std::span<const long double>)> f);

/// `got` may be off by `ulp` units in the last place of a value of size `scale`; a denormal may be 0.
bool within_ulp(double got, long double want, long double scale, double ulp, DType dtype);

}  // namespace ebb
