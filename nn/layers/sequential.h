// One module after another.
#pragma once

#include <ebb/nn/module.h>

namespace ebb::nn {

/// A module and the name it gets in its parent.
template <std::derived_from<Module> M>
struct Named {
  std::string name;
  M module;
};
template <std::derived_from<Module> M>
Named<M> named(std::string_view name, M module) {
  return {std::string(name), std::move(module)};
}

/// Calls its children in turn.
///
/// Example   nn::Sequential net("net", nn::named("fc1", nn::Linear(64, 100, random)), nn::Sigmoid());
class Sequential : public Module {
 public:
  /// Parts are modules, which are named by their place (`0`, `1`), or named() ones.
  template <class... Parts>
  explicit Sequential(std::string_view name, Parts... parts) : Module(name) {
    (append(std::move(parts)), ...);
  }

  /// Appends a module and returns it.
  using Module::add;
  template <std::derived_from<Module> M>
  M& add(M module) {
    return add(std::to_string(size()), std::move(module));
  }

  std::size_t size() const { return children_.size(); }
  /// Throws UsageError if there is no part i.
  Module& operator[](std::size_t i) const;
  std::string_view kind() const override { return "Sequential"; }

 protected:
  Var forward(const Var& x) const override;
  std::unique_ptr<Module> new_like() const override;

 private:
  template <std::derived_from<Module> M>
  void append(M module) {
    add(std::move(module));
  }
  template <std::derived_from<Module> M>
  void append(Named<M> part) {
    add(part.name, std::move(part.module));
  }
};

}  // namespace ebb::nn
