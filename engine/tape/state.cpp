#include <ebb/engine/error.h>
#include <ebb/engine/tape/state.h>
#include <fmt/format.h>

namespace ebb {

struct State::Impl {
  Impl(std::string_view name, Tensor value)
      : shape(value.shape()),
        dtype(value.dtype()),
        tensor(std::move(value)),
        name(std::make_shared<std::string>(name)) {}

  const Shape shape;
  const DType dtype;
  mutable std::mutex mutex;
  Tensor tensor;
  std::uint64_t version = 0;
  std::shared_ptr<const std::string> name;
};

State::State(std::string_view name, Tensor value) {
  if (!value.has_buffer()) {
    throw UsageError(fmt::format("state {}: the tensor {} has no values.", name, describe(value)));
  }
  impl_ = std::make_shared<Impl>(name, std::move(value));
}

State::Impl& State::impl() const {
  if (!impl_) throw UsageError("state: this State is empty. Make one with State(name, tensor).");
  return *impl_;
}

Tensor State::value() const {
  const std::lock_guard lock(impl().mutex);
  return impl().tensor;
}

std::uint64_t State::version() const {
  const std::lock_guard lock(impl().mutex);
  return impl().version;
}

std::shared_ptr<const std::string> State::shared_name() const {
  const std::lock_guard lock(impl().mutex);
  return impl().name;
}

void State::rename(std::string_view name) {
  auto copy = std::make_shared<const std::string>(name);
  const std::lock_guard lock(impl().mutex);
  impl().name = std::move(copy);
}

const Shape& State::shape() const { return impl().shape; }
DType State::dtype() const { return impl().dtype; }

void State::set(const Tensor& value) const {
  if (value.dtype() != dtype()) {
    throw DTypeError(fmt::format("state {}: expected {}{}, got {}. Convert it first with to({}).", name(),
                                 ebb::name(dtype()), to_string(shape()), describe(value), ebb::name(dtype())));
  }
  if (value.shape() != shape()) {
    throw ShapeError(fmt::format("state {}: expected {}{}, got {}.", name(), ebb::name(dtype()), to_string(shape()),
                                 describe(value)));
  }
  if (!value.has_buffer()) {
    throw UsageError(fmt::format("state {}: the tensor {} has no values.", name(), describe(value)));
  }
  const std::lock_guard lock(impl().mutex);
  impl().tensor = value;
  ++impl().version;
}

StateHold::StateHold(const State& state, const Tensor& value)
    : impl_(state.impl_), lock_(impl_->mutex, std::try_to_lock) {
  if (lock_ && !(impl_->tensor.shares_buffer_with(value) && value.holders() == 2)) lock_.unlock();
}
void StateHold::commit() { ++impl_->version; }

State State::clone() const { return State(name(), value().clone()); }

}  // namespace ebb
