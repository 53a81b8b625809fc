#include <ebb/nn/layers/sequential.h>

#include <fmt/format.h>

namespace ebb::nn {

Module& Sequential::operator[](std::size_t i) const {
  if (i >= size()) throw UsageError(fmt::format("module: {} has {} parts, there is no part {}.", kind(), size(), i));
  return *children_[i];
}

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
