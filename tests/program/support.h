// What the tests of programs share: the same function in eager mode.
#pragma once

#include "tests/support/wave.h"

#include <ebb/ebb.h>

#include <functional>
#include <span>
#include <vector>

namespace ebb::test {

using Function = std::function<Vars(std::span<const Var>)>;

inline std::vector<Tensor> eager(const Function& f, const std::vector<Tensor>& inputs) {
  Tape tape;
  std::vector<Var> leaves;
  for (const Tensor& t : inputs) leaves.push_back(tape.leaf(t));
  std::vector<Tensor> out;
  for (const Var& result : f(leaves)) out.push_back(result.value());
  return out;
}

}  // namespace ebb::test
