// State: what outlives a training step.
//
// A parameter, a running statistic, an optimizer's slot, a learning rate: each is a shared handle to one named tensor
// with a version. Modules, optimizers and programs hold States, never Vars. A commit swaps the tensor, so that whatever
// a tape still holds keeps the values it was recorded with; only memory that nobody else holds is ever written over.
#pragma once

#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
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
  friend class StateHold;
  struct Impl;
  Impl& impl() const;
  std::shared_ptr<Impl> impl_;
};

/// Holds a State for whoever writes its new value over the old one. While it lives, other threads wait for the value.
class StateHold {
 public:
  /// Never waits. Holds nothing if another thread is at the State, or if anybody but it and `value` holds its memory.
  StateHold(const State& state, const Tensor& value);
  explicit operator bool() const { return lock_.owns_lock(); }

  /// The memory has the new value: counts a version.
  void commit();

 private:
  std::shared_ptr<State::Impl> impl_;
  std::unique_lock<std::mutex> lock_;
};

}  // namespace ebb
