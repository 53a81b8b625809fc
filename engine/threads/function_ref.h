// FunctionRef: a non-owning reference to a callable, two words wide.
//
// The pool takes its body this way: a fork must not allocate, and the callable outlives the call by
// construction, so the ownership of std::function would only cost. Never store one beyond the call
// that received it.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace ebb {

template <class Signature>
class FunctionRef;

template <class Result, class... Args>
class FunctionRef<Result(Args...)> {
 public:
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> && std::is_object_v<std::remove_reference_t<F>> &&
           std::is_invocable_r_v<Result, F&, Args...>)
      // NOLINTNEXTLINE(google-explicit-constructor): a lambda is meant to convert at the call.
      FunctionRef(F&& callable)
  noexcept
      : object_(const_cast<void*>(static_cast<const void*>(std::addressof(callable)))),
        call_([](void* object, Args... args) -> Result {
          return (*static_cast<std::remove_reference_t<F>*>(object))(std::forward<Args>(args)...);
        }) {}

  Result operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

 private:
  void* object_;
  Result (*call_)(void*, Args...);
};

}  // namespace ebb
