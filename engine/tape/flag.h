// Flag: a setting that a recorded graph depends on, such as a module's training mode.
//
// A traced program is only right while the settings it was traced under hold. A Flag is a shared handle, so that a
// program can look at it again before every run, whoever owns the setting.
#pragma once

#include <atomic>
#include <memory>

namespace ebb {

class Flag {
 public:
  explicit Flag(bool value) : value_(std::make_shared<std::atomic<bool>>(value)) {}

  bool get() const { return value_->load(std::memory_order_relaxed); }
  void set(bool value) const { value_->store(value, std::memory_order_relaxed); }

 private:
  std::shared_ptr<std::atomic<bool>> value_;
};

}  // namespace ebb
