#include <ebb/ops/derivatives/jacobian.h>

#include <ebb/engine/row/structural.h>
#include <ebb/ops/indexing/slice.h>
#include <fmt/format.h>

#include <array>
#include <utility>

namespace ebb {
namespace {

// A column costs two sweeps' worth of graph, a row one, and columns must first be recorded: clearly fewer must they be.
constexpr std::int64_t kColumnsPay = 3;

// The values of a Jacobian whose sweeps were taken back, beside the y that it is of. A gradient that passed here would
// be silently wrong, so asking for it is an error and not a zero.
const Row kUnrecorded{
    .name = "unrecorded",
    .kind = Kind::movement,
    .arity = -1,
    .type =
        [](const Call& call) {
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = {[](const Vjp& g) { return g.ct; },
            [](const Vjp& g) -> Var {
              throw UsageError(fmt::format(
                  "grad: {} holds the values of a {} alone, no gradient passes through them. Record its rows with "
                  "{{.keep = true}}, or cut it off with detach. ({})",
                  g.out.name(), g.attrs.word("of"), to_string(g.tape.node(g.out.id()).where)));
            }},
    .kernel = [](KernelCall& call) { call.out = *call.in[0]; },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          return std::vector<Example>{{{{{3, 4}}}, {{"of", std::string_view("jacobian")}}}};
        },
};

Shape joined(const Shape& a, const Shape& b, std::string_view op, const Operand& y) {
  if (a.rank() + b.rank() > kMaxRank) {
    throw ShapeError(fmt::format("{}: shapes {} and {} have more than {} axes together. Reshape x or y to fewer. ({})",
                                 op, to_string(a), to_string(b), kMaxRank, to_string(y.where())));
  }
  Shape out = a;
  for (const std::int64_t size : b) out.push_back(size);
  return out;
}

// All zeros but for a one at place i.
Var one_hot(Tape& tape, const Var& like, std::int64_t i) {
  Tensor one = Tensor::zeros(like.shape(), like.dtype());
  with_type(one.dtype(),
            [&]<class T>(std::type_identity<T>) { one.mutable_data<T>()[static_cast<std::size_t>(i)] = T(1); });
  return tape.leaf(std::move(one));
}

// One block of a result: its values or its recorded Var; neither where y does not depend on x.
struct Block {
  Shape shape;
  Tensor value = Tensor::abstract({}, DType::f32);
  Var recorded{};
};

// The Jacobian of one y by all x. With values alone, each sweep fills its row of the blocks and is taken back;
// otherwise the rows are kept and put together.
class Sweeps {
 public:
  Sweeps(const Var& y, std::span<const Var> x, bool record, Unused unused, std::string_view op, const Operand& at)
      : tape_(y.tape()), y_(y), where_(at.where()), x_(x), record_(record) {
    options_ = {.keep = record, .unused = unused == Unused::error ? Unused::error : Unused::none};
    for (const Var& var : x) blocks_.push_back({joined(y.shape(), var.shape(), op, at)});
    parts_.resize(x.size());
  }

  std::vector<Block> run() {
    std::int64_t columns = 0;
    for (const Var& var : x_) columns += var.numel();
    const bool by_column = kColumnsPay * columns < y_.numel();
    by_column ? by_columns() : by_rows();
    for (std::size_t k = 0; k < x_.size(); ++k) {
      if (parts_[k].empty()) continue;
      const Var all = parts_[k].size() == 1 ? parts_[k][0].var() : concat(parts_[k], by_column ? 1 : 0);
      blocks_[k].recorded = reshape(all, blocks_[k].shape);
    }
    return std::move(blocks_);
  }

 private:
  void by_rows() {
    for (std::int64_t i = 0; i < y_.numel(); ++i) {
      const Tape::Mark mark = tape_.mark();
      const Vars row = pullback(Operand(y_, where_), one_hot(tape_, y_, i), x_, options_);
      for (std::size_t k = 0; k < x_.size(); ++k) {
        if (row[k].alive()) put(k, row[k], i * x_[k].numel(), 1, {1, x_[k].numel()});
      }
      if (!record_) tape_.rewind(mark);
    }
  }

  // One pullback of a cotangent that stays open; a column is the pullback of that along one element of x.
  void by_columns() {
    const Tape::Mark mark = tape_.mark();
    const Var zero = tape_.leaf(Tensor::zeros({}, y_.dtype()));
    const Var cotangent = broadcast_to(zero, y_.shape());
    const Vars open = pullback(Operand(y_, where_), cotangent, x_, {.keep = true, .unused = options_.unused});
    for (std::size_t k = 0; k < x_.size(); ++k) {
      if (!open[k].alive()) continue;
      for (std::int64_t j = 0; j < x_[k].numel(); ++j) {
        const Tape::Mark column = tape_.mark();
        put(k, pullback(open[k], one_hot(tape_, open[k], j), cotangent, {.keep = record_, .unused = Unused::zeros}), j,
            x_[k].numel(), {y_.numel(), 1});
        if (!record_) tape_.rewind(column);
      }
    }
    if (!record_) tape_.rewind(mark);
  }

  // The elements of `part` go to places first, first + step, ... of block k.
  void put(std::size_t k, const Var& part, std::int64_t first, std::int64_t step, const Shape& as) {
    if (record_) {
      parts_[k].emplace_back(reshape(part, as));
      return;
    }
    Block& block = blocks_[k];
    if (!block.value.has_buffer()) block.value = Tensor::zeros(block.shape, y_.dtype());
    with_type(y_.dtype(), [&]<class T>(std::type_identity<T>) {
      T* to = block.value.mutable_data<T>().data() + first;
      for (const T v : part.value().data<T>()) {
        *to = v;
        to += step;
      }
    });
  }

  Tape& tape_;
  Var y_;
  Location where_;
  std::span<const Var> x_;
  bool record_;
  SweepOptions options_;
  std::vector<Block> blocks_;
  std::vector<std::vector<Operand>> parts_;
};

Var result(const Operand& y, std::string_view op, Block& block, Unused unused) {
  if (block.recorded.alive()) return block.recorded;
  Tape& tape = y.tape();
  if (block.value.has_buffer()) {
    const Var value = tape.leaf(std::move(block.value), {}, y.where());
    return tape.record(kUnrecorded, {Operand(value, y.where()), y}, {{"of", op}});
  }
  if (unused == Unused::none && block.shape.numel() > 0) return {};
  return broadcast_to(tape.constant(0, y.var().dtype()), block.shape);
}

bool records(const Tape& tape, const JacobianOptions& options) {
  return options.keep || tape.mode() == Tape::Mode::trace;
}

Vars jacobian_of(const Operand& y, const Wrt& wrt, const JacobianOptions& options) {
  Tape& tape = y.tape();
  return detail::all_or_nothing(tape, [&] {
    const Vars x = wrt.on(tape, y.where());
    std::vector<Block> blocks = Sweeps(y, x, records(tape, options), options.unused, "jacobian", y).run();
    Vars out;
    for (Block& block : blocks) out.push_back(result(y, "jacobian", block, options.unused));
    return out;
  });
}

std::vector<Vars> hessian_of(const Operand& y, const Wrt& wrt, const JacobianOptions& options) {
  Tape& tape = y.tape();
  return detail::all_or_nothing(tape, [&] {
    const Vars x = wrt.on(tape, y.where());
    const Tape::Mark mark = tape.mark();
    const bool record = records(tape, options);
    const Unused unused = options.unused == Unused::zeros ? Unused::none : options.unused;
    const Vars gradients = grad(y, x, {.keep = true, .unused = unused});
    std::vector<std::vector<Block>> blocks;
    std::vector<bool> used;
    for (std::size_t i = 0; i < x.size(); ++i) {
      used.push_back(gradients[i].alive());
      if (used[i]) {
        blocks.push_back(Sweeps(gradients[i], x, record, Unused::none, "hessian", y).run());
      } else {
        blocks.emplace_back();
        for (const Var& var : x) blocks[i].push_back({joined(x[i].shape(), var.shape(), "hessian", y)});
      }
    }
    if (!record) tape.rewind(mark);
    std::vector<Vars> out(x.size());
    for (std::size_t i = 0; i < x.size(); ++i) {
      for (std::size_t k = 0; k < x.size(); ++k) {
        // Zero for two inputs that y depends on one by one: only an unused one is left out.
        const Unused here = used[i] && used[k] ? Unused::zeros : options.unused;
        out[i].push_back(result(y, "hessian", blocks[i][k], here));
      }
    }
    return out;
  });
}

}  // namespace

Var jacobian(const Operand& y, const Var& x, const JacobianOptions& options) {
  return jacobian_of(y, std::span(&x, 1), options)[0];
}
Var jacobian(const Operand& y, const State& x, const JacobianOptions& options) {
  return jacobian_of(y, std::span(&x, 1), options)[0];
}
Vars jacobian(const Operand& y, const Wrt& x, const JacobianOptions& options) { return jacobian_of(y, x, options); }
std::vector<Vars> jacobian(const VarList& y, const Wrt& x, const JacobianOptions& options) {
  std::vector<Vars> out;
  for (const Var& var : y.list()) out.push_back(jacobian_of(Operand(var, y.where()), x, options));
  return out;
}

Var hessian(const Operand& y, const Var& x, const JacobianOptions& options) {
  return hessian_of(y, std::span(&x, 1), options)[0][0];
}
Var hessian(const Operand& y, const State& x, const JacobianOptions& options) {
  return hessian_of(y, std::span(&x, 1), options)[0][0];
}
std::vector<Vars> hessian(const Operand& y, const Wrt& x, const JacobianOptions& options) {
  return hessian_of(y, x, options);
}

std::span<const Row* const> derivative_rows() {
  static const std::array<const Row*, 1> rows{&kUnrecorded};
  return rows;
}

}  // namespace ebb
