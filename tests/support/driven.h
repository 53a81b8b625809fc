// A function under a driver: op by op, or as a compiled program. Tests that run through all of them say once what is
// computed and what must come out.
#pragma once

#include <ebb/ebb.h>

#include <span>
#include <string_view>
#include <vector>

namespace ebb::test {

enum class Driver { eager, exact, relaxed };
inline constexpr Driver kDrivers[] = {Driver::eager, Driver::exact, Driver::relaxed};

constexpr std::string_view name(Driver driver) {
  return driver == Driver::eager ? "eager" : driver == Driver::exact ? "exact" : "relaxed";
}

/// Runs a function of Vars on tensors, as often as one likes, and commits what it updates.
class Driven {
 public:
  Driven(Driver driver, TracedFunction f)
      : driver_(driver),
        f_(std::move(f)),
        compiler_(f_, all_passes(), driver == Driver::exact ? Setting::exact : Setting::relaxed, Backend::generated) {}

  std::vector<Tensor> operator()(const std::vector<Tensor>& inputs) {
    if (driver_ != Driver::eager) {
      const Tensors results = compiler_.run(inputs);
      return {results.begin(), results.end()};
    }
    return tape_.step([&] {
      std::vector<Var> leaves;
      for (const Tensor& input : inputs) leaves.push_back(tape_.leaf(input));
      std::vector<Tensor> values;
      for (const Var& result : f_(tape_, leaves)) values.push_back(result.value());
      return values;
    });
  }

 private:
  Driver driver_;
  TracedFunction f_;
  Tape tape_;
  Compiler compiler_;
};

}  // namespace ebb::test
