// The graphs that the dumps are tested on. They live in a file of their own, since their lines are in the golden files.
#pragma once

#include <ebb/ebb.h>

#include <map>
#include <string>

namespace ebb::test {

struct NineSteps {
  Var x, gamma, beta, dout, out;
  Vars gradients;  // dx, dgamma, dbeta
};

/// The nine steps of batchnorm on a [4, 3] batch, and their pullback.
NineSteps nine_steps(Tape& tape);

/// The same as users call it, on images.
void batch_norm_of_images(Tape& tape);

/// A layer with scopes: net.fc1, net.fc2, a loss, and its gradient with respect to the weights.
Var two_layers(Tape& tape);

/// y = x^3, its derivative and the derivative's derivative.
void second_order(Tape& tape);

/// Names that no format may take for its own language.
void hostile_names(Tape& tape);

/// So many equal residual blocks, net.block1.fc and so on, a loss, and its gradient with respect to the weights.
Var blocks(Tape& tape, int count);

/// All of them, by the names of their golden files.
const std::map<std::string, void (*)(Tape&)>& graphs();

}  // namespace ebb::test
