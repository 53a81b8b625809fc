// A peer's version of one of Ebb's rows, on the same inputs. (No C++20 here: with Clang 14, libtorch's headers want an
// older standard.)
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ebb::bench {

/// One call of a row: what the peer is to do.
struct OpCall {
  struct Input {
    const void* data;
    bool truth;  // bytes 0 and 1, else f32
  };
  std::string row;
  std::vector<std::int64_t> shape;  // of every input
  std::vector<Input> inputs;
  std::vector<std::int64_t> axes;  // of a reduction; empty for other ops
  double parameter = 0;            // the last argument, of an op whose peer takes a number there
};

class OpPeer {
 public:
  virtual ~OpPeer() = default;
  virtual void activate(int threads) = 0;
  virtual void run() = 0;
  /// The elements of the latest run's result.
  virtual std::vector<double> result() const = 0;
};

/// True if the last argument of libtorch's op is a number, not a tensor.
bool libtorch_op_has_parameter(const std::string& row);

/// Null if libtorch has no such op.
std::unique_ptr<OpPeer> make_libtorch_op(const OpCall& call);

}  // namespace ebb::bench
