// A bench problem as Ebb's tensors.
#pragma once

#include <ebb/ebb.h>

#include <span>
#include <vector>

#include "bench/peers/contender.h"

namespace ebb::bench {

inline int channel_axis(const Shape& shape) { return shape.layout == Layout::nhwc ? -1 : 1; }

/// x, gamma, beta, dout, as copies.
inline std::vector<Tensor> tensors_of(const Problem& p) {
  const Shape& s = p.shape;
  ebb::Shape shape{s.n, s.c};
  if (s.layout == Layout::nchw) shape = {s.n, s.c, s.h, s.w};
  if (s.layout == Layout::nhwc) shape = {s.n, s.h, s.w, s.c};
  const auto tensor = [](const Buffer& buffer, const ebb::Shape& as) {
    return Tensor::from(as, std::span(buffer.data(), static_cast<std::size_t>(buffer.size())));
  };
  return {tensor(p.x, shape), tensor(p.gamma, {s.c}), tensor(p.beta, {s.c}), tensor(p.dout, shape)};
}

}  // namespace ebb::bench
