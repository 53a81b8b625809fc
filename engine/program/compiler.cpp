#include <ebb/engine/program/compiler.h>

#include <fmt/format.h>

#include <algorithm>

namespace ebb {

Compiler::Compiler(TracedFunction f, std::span<const Pass> passes, Setting setting, Backend backend,
                   std::vector<std::string> names)
    : f_(std::move(f)), passes_(passes), setting_(setting), backend_(backend), names_(std::move(names)) {}

bool Compiler::fits(const Entry& entry, std::span<const TensorType> arguments) const {
  return std::ranges::equal(entry.arguments, arguments) &&
         std::ranges::all_of(entry.guards, [](const Tape::Guard& guard) { return guard.flag.get() == guard.value; });
}

std::string Compiler::reason(std::span<const TensorType> arguments) const {
  if (!last_) return "first call";
  if (arguments.size() != last_->arguments.size()) {
    return fmt::format("{} arguments, before {}", arguments.size(), last_->arguments.size());
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] == last_->arguments[i]) continue;
    return fmt::format("argument {} is {}, before {}", i, to_string(arguments[i]), to_string(last_->arguments[i]));
  }
  return "a flag that the function asks for has changed, such as a module's training mode";
}

Program& Compiler::program_for(std::span<const TensorType> arguments) {
  failed_.reset();
  if (!last_ || !fits(*last_, arguments)) {
    const auto known = std::ranges::find_if(entries_, [&](const auto& entry) { return fits(*entry, arguments); });
    if (known != entries_.end()) {
      last_ = known->get();
    } else {
      auto entry = std::make_unique<Entry>();
      failed_ = std::make_shared<Tape>(Tape::Mode::trace);  // until it is known that it has not
      Traced traced = trace(f_, arguments, names_, failed_);
      entry->arguments.assign(arguments.begin(), arguments.end());
      entry->guards = traced.tape->guards();
      entry->program = std::make_unique<Program>(std::move(traced), passes_, setting_, backend_);
      reasons_.push_back(reason(arguments));
      entries_.push_back(std::move(entry));
      last_ = entries_.back().get();
      failed_.reset();
    }
  }
  last_->program->set_anomaly(anomaly_);
  return *last_->program;
}

Tensors Compiler::run(std::span<const Tensor> arguments) {
  CachedVector<TensorType> types;
  types.reserve(arguments.size());
  for (const Tensor& argument : arguments) types.push_back({argument.shape(), argument.dtype()});
  return program_for(types).run(arguments);
}

Program& Compiler::last() const {
  if (!last_) throw UsageError("compile: the function has not run yet, so there is no program.");
  return *last_->program;
}

}  // namespace ebb
