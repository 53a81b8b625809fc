#include <ebb/nn/module.h>
#include <fmt/format.h>

#include <algorithm>
#include <ostream>

namespace ebb::nn {

Var Module::operator()(const Operand& x) const {
  if (name_.empty()) {  // a module without a name is no scope of its own, but an op of the user's line
    const auto scope = x.tape().scope(kind(), x.where());
    return forward(x.var());
  }
  const auto scope = x.tape().scope(name_, x.where());
  return forward(x.var());
}

// --- States
// ------------------------------------------------------------------------------------------------------------

void Module::check_name(std::string_view name) const {
  if (name.empty() || name.find('.') != name.npos) {
    throw UsageError(
        fmt::format("module: \"{}\" cannot name a part of {}. Names are not empty and have no dots.", name, kind()));
  }
  const auto same = [&](const auto& entry) { return entry.name == name; };
  if (std::ranges::any_of(states_, same) ||
      std::ranges::any_of(children_, [&](const auto& child) { return child->name_ == name; })) {
    throw UsageError(fmt::format("module: {} already has a part named \"{}\". Choose another name.", kind(), name));
  }
}

State Module::add_state(std::string_view name, Tensor value, bool trained) {
  check_name(name);
  State state(name_.empty() ? std::string(name) : fmt::format("{}.{}", name_, name), std::move(value));
  states_.push_back({std::string(name), state, trained});
  return state;
}

State Module::add_parameter(std::string_view name, Tensor value) { return add_state(name, std::move(value), true); }
State Module::add_buffer(std::string_view name, Tensor value) { return add_state(name, std::move(value), false); }

void Module::adopt(std::string_view name, std::unique_ptr<Module> child) {
  check_name(name);
  child->name_ = name;
  child->rename_states(name_);
  children_.push_back(std::move(child));
}

namespace {

std::string joined(const std::string& prefix, const std::string& name) {
  return prefix.empty() || name.empty() ? prefix + name : prefix + '.' + name;
}

}  // namespace

void Module::rename_states(const std::string& prefix) {
  const std::string path = joined(prefix, name_);
  for (Entry& entry : states_) entry.state.rename(joined(path, entry.name));
  for (const auto& child : children_) child->rename_states(path);
}

void Module::collect(const std::string& prefix, bool trained, std::vector<NamedState>& out) const {
  const std::string path = joined(prefix, name_);
  for (const Entry& entry : states_) {
    if (entry.trained == trained) out.push_back({joined(path, entry.name), entry.state});
  }
  for (const auto& child : children_) child->collect(path, trained, out);
}

std::vector<NamedState> Module::named_parameters() const {
  std::vector<NamedState> out;
  collect({}, true, out);
  return out;
}

std::vector<NamedState> Module::named_buffers() const {
  std::vector<NamedState> out;
  collect({}, false, out);
  return out;
}

namespace {

std::vector<State> states_of(std::vector<NamedState> named) {
  std::vector<State> out;
  out.reserve(named.size());
  for (NamedState& entry : named) out.push_back(std::move(entry.state));
  return out;
}

}  // namespace

std::vector<State> Module::parameters() const { return states_of(named_parameters()); }
std::vector<State> Module::buffers() const { return states_of(named_buffers()); }

State Module::state(std::string_view path) const {
  const std::size_t dot = path.rfind('.');
  const Module& owner = dot == path.npos ? *this : child(path.substr(0, dot));
  const std::string_view last = dot == path.npos ? path : path.substr(dot + 1);
  std::string known;
  for (const Entry& entry : owner.states_) {
    if (entry.name == last) return entry.state;
    known += (known.empty() ? "" : ", ") + entry.name;
  }
  throw UsageError(fmt::format("module: {} has no parameter or buffer \"{}\". There are: {}.", owner.kind(), last,
                               known.empty() ? "none" : known));
}

Module& Module::child(std::string_view path) const {
  const std::size_t dot = path.find('.');
  const std::string_view first = path.substr(0, dot);
  std::string known;
  for (const auto& child : children_) {
    if (child->name_ == first) return dot == path.npos ? *child : child->child(path.substr(dot + 1));
    known += (known.empty() ? "" : ", ") + child->name_;
  }
  throw UsageError(
      fmt::format("module: {} has no child \"{}\". There are: {}.", kind(), first, known.empty() ? "none" : known));
}

std::vector<Module*> Module::children() const {
  std::vector<Module*> out;
  for (const auto& child : children_) out.push_back(child.get());
  return out;
}

// --- modes and copies
// --------------------------------------------------------------------------------------------------

void Module::train(bool on) {
  training_.set(on);
  for (const auto& child : children_) child->train(on);
}

void Module::check_same(const Module& other) const {
  const auto fail = [&](const std::string& what) {
    throw UsageError(fmt::format("module: {} cannot take the values of {}: {}.", describe(), other.describe(), what));
  };
  if (kind() != other.kind()) fail("they are of different kinds");
  if (states_.size() != other.states_.size() || children_.size() != other.children_.size()) {
    fail("they have different parts");
  }
  for (std::size_t i = 0; i < states_.size(); ++i) {
    const Entry& mine = states_[i];
    const Entry& its = other.states_[i];
    if (mine.name != its.name) fail(fmt::format("the one has {}, the other {}", mine.name, its.name));
    if (mine.state.shape() != its.state.shape() || mine.state.dtype() != its.state.dtype()) {
      fail(fmt::format("{} is {}{} and {}{}", mine.name, ebb::name(mine.state.dtype()), to_string(mine.state.shape()),
                       ebb::name(its.state.dtype()), to_string(its.state.shape())));
    }
  }
  for (std::size_t i = 0; i < children_.size(); ++i) {
    if (children_[i]->name_ != other.children_[i]->name_) fail("their children have different names");
    children_[i]->check_same(*other.children_[i]);
  }
}

void Module::assign(const Module& other) {
  check_same(other);
  copy_settings(other);
  // A State's tensor is never written through, so sharing the buffer is as good as a copy.
  for (std::size_t i = 0; i < states_.size(); ++i) states_[i].state.set(other.states_[i].state.value());
  for (std::size_t i = 0; i < children_.size(); ++i) children_[i]->assign(*other.children_[i]);
}

std::unique_ptr<Module> Module::new_like() const {
  throw UsageError(
      fmt::format("clone: {} does not say how a new one is made. Override new_like(), or make one and call "
                  "its assign(other).",
                  kind()));
}

std::unique_ptr<Module> Module::clone_any() const {
  std::unique_ptr<Module> copy = new_like();
  copy->name_ = name_;
  copy->rename_states({});
  copy->assign(*this);
  return copy;
}

// --- printing
// ----------------------------------------------------------------------------------------------------------

namespace {

void print(const Module& module, int depth, std::string& out) {
  const std::vector<Module*> children = module.children();
  if (children.empty()) {
    out += module.describe();
    return;
  }
  out += fmt::format("{}(\n", module.kind());
  for (const Module* child : children) {
    out += fmt::format("{:{}}({}) ", "", 2 * (depth + 1), child->name());
    print(*child, depth + 1, out);
    out += '\n';
  }
  out += fmt::format("{:{}})", "", 2 * depth);
}

}  // namespace

std::string to_string(const Module& module) {
  std::string out;
  print(module, 0, out);
  return out;
}

std::ostream& operator<<(std::ostream& out, const Module& module) { return out << to_string(module); }

}  // namespace ebb::nn
