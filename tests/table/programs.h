// Programs that are more than one op, each a function of Vars, and the drivers that run them. A later driver (a pass, a
// compiled program) is one entry in drivers(): every program is then checked under it.
#pragma once

#include <ebb/ebb.h>

#include <functional>
#include <ostream>
#include <string>
#include <vector>

namespace ebb::test {

using Function = std::function<Vars(std::span<const Var>)>;

struct Program {
  std::string name;
  std::vector<Tensor> inputs;  // f64, of values that f32 holds
  Function run;
  double f32_bound = 1e-5;  // relative to the largest element of each result
};
const std::vector<Program>& programs();
inline void PrintTo(const Program& program, std::ostream* out) { *out << program.name; }

/// Runs a function of Vars on tensors; results come back in f64.
struct Driver {
  std::string name;
  DType dtype;
  std::function<std::vector<Tensor>(const Function&, const std::vector<Tensor>&)> run;
  double f64_bound = 0;  // relative to the largest element of each result; 0 for drivers that keep every bit
};
const std::vector<Driver>& drivers();
inline void PrintTo(const Driver& driver, std::ostream* out) { *out << driver.name; }

}  // namespace ebb::test
