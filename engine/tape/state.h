// State: what outlives a training step.
//
// A parameter, a running statistic, an optimizer's slot, a learning rate: each is a shared handle to one named tensor
// with a version. Modules, optimizers and programs hold States, never Vars. A State is never written through: a commit
// swaps the tensor, so that whatever a tape still holds keeps the values it was recorded with.
#pragma once

#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ebb {

class State {
 public:
  /// An empty handle.
  State() = default;
  State(std::string_view name, Tensor value);

  explicit operator bool() const { return static_cast<bool>(impl_); }

  /// The tensor as of the last commit; shares its buffer.
  Tensor value() const;
  /// How often it was set or committed.
  std::uint64_t version() const;
  std::string name() const { return *shared_name(); }
  std::shared_ptr<const std::string> shared_name() const;  ///< the same, without a copy
  void rename(std::string_view name);

  const Shape& shape() const;  ///< fixed at birth
  DType dtype() const;         ///< fixed at birth

  /// Replaces the tensor. Throws ShapeError or DTypeError, with nothing changed, if it is of another shape or dtype.
  void set(const Tensor& value) const;

  /// A new State with a copy of the tensor.
  State clone() const;

  /// Two handles of the same State.
  bool operator==(const State&) const = default;

 private:
  friend class Tape;
  struct Impl;
  Impl& impl() const;
  std::shared_ptr<Impl> impl_;
};

}  // namespace ebb
