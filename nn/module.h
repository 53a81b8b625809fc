// Modules: functions of Vars with named parameters and buffers.
//
// A module holds States, never Vars, so it belongs to no tape: it finds the tape through its input, and one module may
// serve several threads' evaluations. It owns its children, which makes it movable and lets it be cloned deeply; it
// cannot be copied, since nobody can see from `b = a` whether the two should learn together. Calling a module opens a
// scope with its name and the caller's line, so that errors and dumps say `net.fc1`.
#pragma once

#include <ebb/engine/tape/tape.h>

#include <concepts>
#include <iosfwd>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ebb::nn {

struct NamedState {
  std::string path;  ///< `net.fc1.weight`
  State state;
};

class Module {
 public:
  /// The name becomes the first part of every path; a child's is given by its parent.
  explicit Module(std::string_view name = {}) : name_(name) {}
  virtual ~Module() = default;
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;
  Module(Module&&) = default;
  Module& operator=(Module&&) = default;

  /// Records this module's function of x.
  Var operator()(const Operand& x) const;

  const std::string& name() const { return name_; }
  /// The class's name, `Linear`.
  virtual std::string_view kind() const = 0;
  /// One line without the children, `Linear(64, 100)`. Never throws.
  virtual std::string describe() const { return std::string(kind()) + "()"; }

  /// What is trained, of this module and all below it, in the order of registration.
  std::vector<State> parameters() const;
  /// What is kept but not trained, such as running statistics.
  std::vector<State> buffers() const;
  std::vector<NamedState> named_parameters() const;
  std::vector<NamedState> named_buffers() const;
  /// The parameter or buffer of this path below the module, `fc1.weight`. Throws UsageError that lists what there is.
  State state(std::string_view path) const;
  /// The child of this path, `block2.bn`. Throws UsageError if there is none.
  Module& child(std::string_view path) const;
  std::vector<Module*> children() const;

  /// Sets the mode of this module and all below it. Nodes keep the mode they were recorded in.
  void train(bool on = true);
  void eval() { train(false); }
  bool training() const { return training_.get(); }

  /// Copies the values of all parameters and buffers, and the modes, from a module of the same structure. Throws
  /// UsageError, with nothing changed, where names, shapes or dtypes differ.
  void assign(const Module& other);

 protected:
  virtual Var forward(const Var& x) const = 0;

  /// The mode, as a forward function must ask for it: a program that was traced in one mode traces anew in the other.
  bool training(Tape& tape) const { return tape.guard(training_); }

  /// A new module like this one with States of its own; what clone() is made from. A module that cannot be cloned by
  /// itself overrides nothing, and clone() throws UsageError.
  virtual std::unique_ptr<Module> new_like() const;
  /// Copies what is not a State: called by clone() and assign() for each module.
  virtual void copy_settings(const Module& other) { training_.set(other.training()); }

  /// Register a State under a name without dots. Throw UsageError if the name is taken.
  State add_parameter(std::string_view name, Tensor value);
  State add_buffer(std::string_view name, Tensor value);

  /// Takes a child; the reference stays good for as long as this module lives, also after it was moved.
  template <std::derived_from<Module> M>
  M& add(std::string_view name, M child) {
    auto owned = std::make_unique<M>(std::move(child));
    M& result = *owned;
    adopt(name, std::move(owned));
    return result;
  }
  void adopt(std::string_view name, std::unique_ptr<Module> child);

 private:
  template <std::derived_from<Module> M>
  friend M clone(const M& module);
  friend class Sequential;

  struct Entry {
    std::string name;
    State state;
    bool trained;
  };
  void check_name(std::string_view name) const;
  State add_state(std::string_view name, Tensor value, bool trained);
  void rename_states(const std::string& prefix);
  void collect(const std::string& prefix, bool trained, std::vector<NamedState>& out) const;
  void check_same(const Module& other) const;
  std::unique_ptr<Module> clone_any() const;

  std::string name_;
  std::vector<Entry> states_;
  std::vector<std::unique_ptr<Module>> children_;
  Flag training_{true};
};

/// A deep copy: parameters, buffers, modes and settings, all its own.
template <std::derived_from<Module> M>
M clone(const M& module) {
  const std::unique_ptr<Module> copy = module.clone_any();
  return std::move(dynamic_cast<M&>(*copy));
}

/// The module as a tree, one line a module. Never throws.
std::string to_string(const Module& module);
std::ostream& operator<<(std::ostream& out, const Module& module);

}  // namespace ebb::nn
