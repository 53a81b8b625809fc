// Activations as modules, and any function of one Var as a module.
#pragma once

#include <ebb/nn/module.h>
#include <ebb/ops/elementwise/elementwise.h>

#include <functional>

namespace ebb::nn {

class Sigmoid : public Module {
 public:
  std::string_view kind() const override { return "Sigmoid"; }

 protected:
  Var forward(const Var& x) const override { return sigmoid(x); }
  std::unique_ptr<Module> new_like() const override { return std::make_unique<Sigmoid>(); }
};

class Tanh : public Module {
 public:
  std::string_view kind() const override { return "Tanh"; }

 protected:
  Var forward(const Var& x) const override { return tanh(x); }
  std::unique_ptr<Module> new_like() const override { return std::make_unique<Tanh>(); }
};

class Relu : public Module {
 public:
  std::string_view kind() const override { return "Relu"; }

 protected:
  Var forward(const Var& x) const override { return relu(x); }
  std::unique_ptr<Module> new_like() const override { return std::make_unique<Relu>(); }
};

/// A function of one Var as a module.
///
/// Example   nn::Function("flatten", [](const Var& x) { return reshape(x, {x.shape()[0], -1}); })
class Function : public Module {
 public:
  Function(std::string_view kind, std::function<Var(const Var&)> function)
      : kind_(kind), function_(std::move(function)) {}
  std::string_view kind() const override { return kind_; }

 protected:
  Var forward(const Var& x) const override { return function_(x); }
  std::unique_ptr<Module> new_like() const override { return std::make_unique<Function>(kind_, function_); }

 private:
  std::string kind_;
  std::function<Var(const Var&)> function_;
};

}  // namespace ebb::nn
