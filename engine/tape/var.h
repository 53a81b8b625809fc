// Handles: a Var names one node of one tape, an Operand is what an op's argument may be.
//
// A Var is sixteen bytes and owns nothing. Tapes sit in a process-wide table of slots; a slot's counter moves when its
// tape dies and at every rewind, and a node remembers the counter at its birth. So a Var whose tape is gone, or whose
// node was rewound, is recognised and reported, never followed.
#pragma once

#include <ebb/engine/error.h>
#include <ebb/engine/tensor/tensor.h>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>

namespace ebb {

class Tape;
using NodeId = std::uint32_t;
inline constexpr NodeId kNoNode = 0xffffffff;

class Var {
 public:
  Var() = default;

  /// The tape it belongs to. Throws UsageError if this Var is empty, or its tape is gone.
  Tape& tape() const;
  /// Its place on the tape. Throws UsageError if the Var is empty or stale.
  NodeId id() const;
  /// True if tape and node still exist.
  bool alive() const;

  const Shape& shape() const;
  DType dtype() const;
  int rank() const { return shape().rank(); }
  std::int64_t numel() const { return shape().numel(); }
  /// The first name it was given, or its number (`%12`).
  std::string name() const;

  /// The value. Throws UsageError while tracing, and if a sweep or a scope has released it.
  const Tensor& value() const;
  /// The only element of the value. Throws ShapeError if there are several.
  double item() const { return value().item(); }

  /// Two handles of the same node.
  bool operator==(const Var&) const = default;

 private:
  friend class Tape;
  Var(std::uint32_t slot, NodeId node, std::uint64_t generation) : slot_(slot), node_(node), generation_(generation) {}

  std::uint32_t slot_ = 0;  // 0 is no tape
  NodeId node_ = 0;
  std::uint64_t generation_ = 0;  // 32 bits would come round again within hours of small steps
};

/// Results of a sweep; their storage comes from the cache, so that a training step stays off the heap.
using Vars = CachedVector<Var>;

/// An argument of an op: a Var or a literal, with the caller's line. A literal takes the dtype of the tensors beside
/// it.
class Operand {
 public:
  Operand(const Var& var, Location where = Location::current()) : var_(var), where_(where) {}
  template <class T>
  requires std::is_arithmetic_v<T> Operand(T literal, Location where = Location::current())
      : literal_(static_cast<double>(literal)), is_literal_(true), where_(where) {
    if constexpr (std::is_integral_v<T>) is_exact_ = std::abs(literal_) < 0x1p63 && static_cast<T>(literal_) == literal;
  }

  bool is_literal() const { return is_literal_; }
  /// False for an integer with more digits than a double holds.
  bool is_exact() const { return is_exact_; }
  double literal() const { return literal_; }
  /// Throws UsageError if it is a literal: what takes a tensor alone asks for this.
  const Var& var() const {
    if (is_literal_) fail_literal();
    return var_;
  }
  const Location& where() const { return where_; }

  Tape& tape() const { return var().tape(); }
  operator Var() const { return var(); }

 private:
  [[noreturn]] void fail_literal() const;

  Var var_;
  double literal_ = 0;
  bool is_literal_ = false;
  bool is_exact_ = true;
  Location where_;
};

}  // namespace ebb
