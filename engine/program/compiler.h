// The compiler: a function of Vars and the programs that were made of it, one for each set of argument types and flags.
//
// compile(f) (ops/compile.h) is what users write; this is the part of it that knows no types. The first call with new
// arguments traces; a call with known ones runs. How often it has traced, and why, can be asked.
#pragma once

#include <ebb/engine/program/program.h>

#include <memory>
#include <span>
#include <string>
#include <vector>

namespace ebb {

class Compiler {
 public:
  /// `names` are those of the arguments, or none.
  Compiler(TracedFunction f, std::span<const Pass> passes, Setting setting, Backend backend,
           std::vector<std::string> names = {});

  /// The program for these arguments: an old one whose flags still stand, or a new one.
  Program& program_for(std::span<const TensorType> arguments);

  /// Runs on tensors and commits the States' new values.
  Tensors run(std::span<const Tensor> arguments);

  /// Of all its programs, also those to come.
  void set_anomaly(bool on) { anomaly_ = on; }

  /// How often the function was traced.
  std::size_t traces() const { return entries_.size(); }
  /// Why, a line for each trace: `argument 0 is f32[7, 64], before f32[60, 64]`.
  const std::vector<std::string>& reasons() const { return reasons_; }
  /// The program that ran last. Throws UsageError if none has.
  Program& last() const;
  /// The tape of the last call's trace if that has failed.
  const Tape* failed() const { return failed_.get(); }

 private:
  struct Entry {
    std::vector<TensorType> arguments;
    std::vector<Tape::Guard> guards;
    std::unique_ptr<Program> program;
  };
  bool fits(const Entry& entry, std::span<const TensorType> arguments) const;
  std::string reason(std::span<const TensorType> arguments) const;

  TracedFunction f_;
  std::span<const Pass> passes_;
  Setting setting_;
  Backend backend_;
  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<std::string> reasons_;
  Entry* last_ = nullptr;
  std::shared_ptr<Tape> failed_;
  bool anomaly_ = false;
};

}  // namespace ebb
