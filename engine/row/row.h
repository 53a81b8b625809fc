// A row: everything the library knows about one op.
//
// The engine knows kinds of ops, never ops. A row says what its op takes and gives, how it is computed, how it is
// differentiated, where it is smooth and how exact it is; eager mode, grad, compile, dumps, tests and the reference are
// loops over rows. Derivative rules are functions of Vars that record ops, one per input, so that a derivative is again
// a graph.
#pragma once

#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/lanes/symbol.h>
#include <ebb/engine/row/attrs.h>
#include <ebb/engine/tape/var.h>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ebb {

struct Row;
struct Fold;
namespace codegen {
class Formula;
}

/// What the engine may do with an op.
enum class Kind : std::uint8_t {
  source,       ///< no inputs: leaf, constant
  elementwise,  ///< a function of the elements at one place
  reduction,    ///< an accumulator over axes
  scan,         ///< an accumulator along an axis that keeps every step
  movement,     ///< an index map: element i of the output is element m(i) of the input
  contraction,  ///< sums of products over inner axes
  opaque,       ///< a kernel, with nothing known of its inside
};
std::string_view name(Kind kind);

struct TensorType {
  Shape shape;
  DType dtype = DType::f32;
  bool operator==(const TensorType&) const = default;
};
/// `f32[32, 10]`.
std::string to_string(const TensorType& type);

/// The call that a type rule judges. Its fail functions add the op, the inputs and the place to the author's words.
class Call {
 public:
  Call(const Tape& tape, const Row& row, std::span<const NodeId> inputs, Attrs attrs, Location where)
      : tape_(tape), row_(row), inputs_(inputs), attrs_(attrs), where_(where) {}

  std::size_t arity() const { return inputs_.size(); }
  const Shape& shape(std::size_t i) const;
  DType dtype(std::size_t i) const;
  const Attrs& attrs() const { return attrs_; }

  /// Throw `<op>: <what>; got <inputs>. <advice> (file:line)`.
  [[noreturn]] void fail_shape(std::string_view what, std::string_view advice = {}) const;
  [[noreturn]] void fail_dtype(std::string_view what, std::string_view advice = {}) const;
  [[noreturn]] void fail_usage(std::string_view what, std::string_view advice = {}) const;

  /// The broadcast shape of the inputs. Throws ShapeError if they do not broadcast.
  Shape broadcast() const;
  /// The dtype that the inputs from `first` on share. Throws DTypeError if they differ.
  DType common_dtype(std::size_t first = 0) const;
  /// Throws DTypeError unless input i is floating.
  void require_floating(std::size_t i) const;
  void require_dtype(std::size_t i, DType dtype) const;
  /// `axis` counted from the front. Throws ShapeError if it is outside input i.
  int axis(std::int64_t axis, std::size_t i = 0) const;

 private:
  std::string message(std::string_view what, std::string_view advice) const;

  const Tape& tape_;
  const Row& row_;
  std::span<const NodeId> inputs_;
  Attrs attrs_;
  Location where_;
};

using TypeRule = TensorType (*)(const Call&);

/// What a kernel reads and writes. The inputs are whole tensors; the output is made by allocate(), or is an input's
/// buffer under another shape.
struct KernelCall {
  std::span<const Tensor* const> in;
  Attrs attrs;
  Tensor& out;  // has its shape and dtype; a buffer only if a program has planned one
  const Call& call;

  /// Gives `out` a buffer and returns its elements.
  template <class T>
  T* allocate() {
    return reinterpret_cast<T*>(out.result_raw());
  }
  template <class T>
  const T* data(std::size_t i) const {
    return reinterpret_cast<const T*>(in[i]->raw());
  }
  /// Throws UsageError for values that no type rule can judge, such as a label out of range.
  [[noreturn]] void fail(std::string_view what, std::string_view advice = {}) const { call.fail_usage(what, advice); }
};
using Kernel = void (*)(KernelCall&);

/// What the lanes of an elementwise op take and give.
enum class Signature : std::uint8_t {
  same,       ///< T... -> T
  predicate,  ///< T... -> bool
  select,     ///< bool, T, T -> T
};

/// Planes of rows of `n` elements of an elementwise op. Along a row, input i advances if bit i of `steps` is set and is
/// one element if it is clear; from row to row it moves by `row_step[i]` bytes and the output by `out_step`, from plane
/// to plane by `plane_step[i]` and `out_plane`.
struct LaneCall {
  static constexpr std::size_t kMaxArity = 4;
  std::array<const void*, kMaxArity> in{};
  std::array<std::int64_t, kMaxArity> row_step{};
  std::array<std::int64_t, kMaxArity> plane_step{};
  void* out = nullptr;
  std::int64_t out_step = 0;
  std::int64_t out_plane = 0;
  std::int64_t planes = 1;
  std::int64_t rows = 1;
  std::int64_t n = 0;
  unsigned steps = 0;
  bool stream = false;  // the output does not survive in the cache: write around it
};
using Lane = void (*)(const LaneCall&);

/// The lanes of one elementwise op by the dtype of its last input; null where the op does not take it.
struct LaneTable {
  std::array<Lane, kDTypeCount> by_dtype{};
};

/// The steps of one reduction over one dtype. An accumulator is a cell of so many 8-byte words per kept element; two
/// reducers that differ in `finish` alone share theirs where they reduce the same operand.
struct Reducer {
  void (*init)(void* cells, std::int64_t n);
  /// Each of `count` cells takes in `runs` runs of n elements, `stride` elements apart; the first run of a cell lies
  /// `cell_stride` elements after that of the one before.
  void (*run)(const void* x, std::int64_t count, std::int64_t cell_stride, std::int64_t runs, std::int64_t stride,
              std::int64_t n, void* cells);
  /// Cell c takes in element c of each of `rows` rows, `stride` elements apart.
  void (*columns)(const void* x, std::int64_t rows, std::int64_t stride, std::int64_t n, void* cells);
  void (*merge)(void* cells, const void* others, std::int64_t n);
  void (*finish)(const void* cells, std::int64_t n, std::int64_t count, void* out);
  std::int64_t cell_words = 1;
  /// For generated code, which does by itself what lies between two carries (Row::fold, Row::accumulators). Cell i
  /// takes in what `taken` elements have left in its accumulators: element i of each; or of runs the kPartials from i *
  /// kPartials on, into cell i * cell_step.
  void (*carry_columns)(const void* const* accumulators, std::int64_t taken, std::int64_t n, void* cells) = nullptr;
  void (*carry_runs)(const void* const* accumulators, std::int64_t taken, std::int64_t n, std::int64_t cell_step,
                     void* cells) = nullptr;
};
struct ReducerTable {
  std::array<const Reducer*, kDTypeCount> by_dtype{};
};

/// Scans that run beside one another. Step `s` of lane `l` lies at element `l * lane_step + s * step` of the inputs and
/// of the output, which all have one shape. A lane's accumulator is an 8-byte cell, read at the first step and left
/// behind after the last.
struct ScanCall {
  std::array<const void*, 2> in{};
  void* out = nullptr;  // null: only the cells are wanted
  void* cells = nullptr;
  std::int64_t lanes = 1;
  std::int64_t lane_step = 1;
  std::int64_t steps = 0;
  std::int64_t step = 1;
};

/// The steps of one scan over one dtype.
struct Scanner {
  void (*init)(void* cells, std::int64_t n);
  void (*run)(const ScanCall&);
  /// Cell i takes in what `others` i would have added to it; null if a lane must not be cut into pieces.
  void (*merge)(void* cells, const void* others, std::int64_t n);
};
struct ScannerTable {
  std::array<const Scanner*, kDTypeCount> by_dtype{};
};

/// What a reduction with more than one accumulator does with an element between two carries, on symbols: each
/// accumulator before the first element, which it may look at, and after another one.
struct Accumulators {
  std::size_t count = 0;
  lane::Symbol (*first)(std::size_t k, const lane::Symbol& x) = nullptr;
  lane::Symbol (*next)(std::size_t k, std::span<const lane::Symbol> accumulators, const lane::Symbol& x) = nullptr;
};

/// One table per instruction set; a set that is not compiled in repeats the one below it.
template <class Table>
using PerIsa = std::array<const Table*, kIsaCount>;

/// What a derivative rule may look at: the cotangent of the output, the output, the inputs; it returns the cotangent of
/// input `i`. Rules are linear in `ct` and read nothing else.
struct Vjp {
  Tape& tape;
  Var ct;
  Var out;
  std::span<const Var> in;
  Attrs attrs;
  std::size_t i;
};

/// The derivative with respect to one input: a function, or the reason why there is none.
class VjpRule {
 public:
  using Function = Var (*)(const Vjp&);
  constexpr VjpRule() = default;
  template <class F>
  requires std::convertible_to<F, Function>
  constexpr VjpRule(F function) : function_(function) {}
  VjpRule(std::nullptr_t) = delete;

  static constexpr VjpRule none(std::string_view reason) {
    VjpRule rule;
    rule.reason_ = reason;
    return rule;
  }
  /// The derivative is zero because the user said so: no error when a gradient is asked for through it.
  static constexpr VjpRule stop() { return VjpRule(); }

  bool differentiable() const { return function_ != nullptr; }
  /// Why there is no derivative; empty for a stop.
  std::string_view reason() const { return reason_; }
  Var operator()(const Vjp& g) const { return function_(g); }

 private:
  Function function_ = nullptr;
  std::string_view reason_;
};

/// Says that a row's input has no derivative, and why.
constexpr VjpRule kNoGrad(std::string_view reason) { return VjpRule::none(reason); }

/// One rule per input; the last one repeats. There is no default: a row cannot forget its derivative.
class VjpRules {
 public:
  template <class... R>
  requires(sizeof...(R) >= 1 && sizeof...(R) <= 5) constexpr VjpRules(R... rules)
      : rules_{VjpRule(rules)...}, count_(sizeof...(R)) {}
  const VjpRule& operator[](std::size_t i) const { return rules_[i < count_ ? i : count_ - 1]; }

 private:
  std::array<VjpRule, 5> rules_{};
  std::size_t count_;
};

/// Where an op is defined and smooth: samples are drawn from [lo, hi] and keep `margin` away from `kink`.
struct Domain {
  double lo = -2;
  double hi = 2;
  double kink = 0;
  double margin = 0;
};
inline constexpr Domain kPositive{0.2, 3};

/// One way to call an op, for the generic tests: inputs drawn from the domain, or integers in [0, limit).
struct Example {
  struct Input {
    Shape shape;
    DType dtype = DType::f64;
    std::int64_t limit = 0;  // for i64 inputs
  };
  std::vector<Input> inputs;
  std::vector<Attr> attrs;
};

/// Facts that rewrites rely on.
struct Facts {
  bool commutative = false;
  unsigned linear = 0;  // bit i: linear in input i, up to what does not depend on it
};

struct Row {
  std::string_view name;
  Kind kind = Kind::opaque;
  int arity = 1;  // -1: any number
  TypeRule type = nullptr;
  VjpRules vjp;
  Kernel kernel = nullptr;                // where no lanes, reducer or scanner say it all
  Signature signature = Signature::same;  // elementwise
  PerIsa<LaneTable> lanes{};              // elementwise
  PerIsa<ReducerTable> reducer{};         // reduction
  Fold (*fold)() = nullptr;               // reduction: its steps print themselves
  Accumulators accumulators{};            // reduction: the same, where it is more than one
  PerIsa<ScannerTable> scanner{};         // scan
  bool reads_broadcast = false;           // the kernel takes inputs that only broadcast to their shape
  bool over_first = false;                // and an output that lies where its first input does
  Domain domain{};
  double ulp = 0.5;  // largest error of the value, in units in the last place of f32 and f64
  Facts facts{};
  lane::Symbol (*expression)(std::span<const lane::Symbol> inputs) = nullptr;  // the lambda prints itself
  /// The lambda on packs of `dtype`, written down for generated code; nothing where that cannot be.
  std::optional<std::uint16_t> (*record)(codegen::Formula& formula, DType dtype,
                                         std::span<const std::uint16_t> operands) = nullptr;
  long double (*oracle)(const long double* inputs) = nullptr;  // the lambda in long double
  std::vector<Example> (*examples)() = nullptr;                // for rows that are not elementwise

  /// Whether a loop can hold it, as a step or as a reduction: its lanes or its reducer say it all.
  bool is_step() const { return kind == Kind::elementwise && !kernel; }
  bool is_loop_reduction() const { return kind == Kind::reduction && !kernel; }

  bool operator==(const Row& other) const { return this == &other; }
};

}  // namespace ebb
