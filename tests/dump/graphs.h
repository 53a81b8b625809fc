// The graphs that the dumps are tested on. They live in a file of their own, since their lines are in the golden files.
#pragma once

#include <ebb/ebb.h>

namespace ebb::test {

struct NineSteps {
  Var x, gamma, beta, dout, out;
  Vars gradients;  // dx, dgamma, dbeta
};

/// The nine steps of batchnorm on a [4, 3] batch, and their pullback.
NineSteps nine_steps(Tape& tape);

}  // namespace ebb::test
