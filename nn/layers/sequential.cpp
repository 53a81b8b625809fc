#include <ebb/nn/layers/sequential.h>

namespace ebb::nn {

Var Sequential::forward(const Var& x) const {
  Var y = x;
  for (const auto& child : children_) y = (*child)(y);
  return y;
}

std::unique_ptr<Module> Sequential::new_like() const {
  auto copy = std::make_unique<Sequential>(name());
  for (const auto& child : children_) copy->adopt(child->name(), child->clone_any());
  return copy;
}

}  // namespace ebb::nn
