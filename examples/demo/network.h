// The demo's network: three hidden layers of 100 sigmoids over the pixels of a digit, as in section 4.1 of Ioffe and
// Szegedy 2015, with or without batch normalization before each of them.
#pragma once

#include <ebb/ebb.h>

#include <cstdint>
#include <string>

namespace demo {

// As in the paper: small normal weights. Both networks draw the same numbers, as biases begin at 0.
inline ebb::nn::Sequential network(bool normed, std::uint64_t seed) {
  using namespace ebb;
  Random random(seed, 1);
  nn::Sequential net("net");
  std::int64_t in = 64;
  for (const char* i : {"1", "2", "3"}) {
    net.add(std::string("fc") + i, nn::Linear(in, 100,
                                              {.bias = !normed,  // the mean would take it away again
                                               .initial_weight = nn::gaussian(0.1),
                                               .initial_bias = nn::constant(0)},
                                              random));
    if (normed) {
      net.add(std::string("bn") + i, nn::BatchNorm(100, {.kernel = BatchNormKernel::staged}));
    }
    net.add(std::string("sigmoid") + i, nn::Sigmoid());
    in = 100;
  }
  net.add("fc4", nn::Linear(100, 10, {.initial_weight = nn::gaussian(0.1), .initial_bias = nn::constant(0)}, random));
  return net;
}

}  // namespace demo
