// What the loops over the rows share: ways to call a row with samples from its domain, and what the result should be,
// computed by naive loops in long double that know nothing of the kernels.
#pragma once

#include <ebb/ebb.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ebb::test {

/// A tensor in long double.
struct Dense {
  Shape shape;
  std::vector<long double> at;

  static Dense of(const Tensor& tensor);
};

/// One call of a row.
struct Sample {
  const Row* row;
  std::vector<Tensor> inputs;
  std::vector<Attr> attrs;
  std::string what;  // `mul f32[3, 4], f32[1, 4]`

  Var record(Tape& tape) const;
};

/// Calls of an elementwise row over the broadcast groups, or of another row over its examples, with floating inputs in
/// `dtype`. Empty if the row does not take the dtype or cannot be called alone.
std::vector<Sample> samples_of(const Row& row, DType dtype);

/// True if the rows of the table are to be called by these tests; sources are not, and private rows have tests of their
/// own that know what their inputs mean.
bool callable(const Row& row);

/// What a call should give, and what an error of `ulp` is relative to, element by element.
struct Expected {
  Dense value;
  std::vector<long double> scale;
};
Expected expected(const Sample& sample, const std::vector<Dense>& inputs);

/// True if there is an oracle for the row.
bool has_oracle(const Row& row);

/// `got` may be off by `ulp` units in the last place of a value of size `scale`; a denormal may be 0.
bool within_ulp(double got, long double want, long double scale, double ulp, DType dtype);

/// The value of a formula, as rows print it, with letters standing for inputs. Throws std::runtime_error for text that is
/// no formula.
long double evaluate(std::string_view formula, const std::map<char, long double>& values);

}  // namespace ebb::test
