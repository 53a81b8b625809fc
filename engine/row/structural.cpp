#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/engine/lanes/fold.h>
#include <ebb/engine/lanes/structural_ops.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>

namespace ebb {

namespace base {
extern const std::array<LaneTable, 1> kStructuralLanes;
extern const std::array<ReducerTable, 1> kStructuralReducers;
}  // namespace base
namespace avx2 {
extern const std::array<LaneTable, 1> kStructuralLanes;
extern const std::array<ReducerTable, 1> kStructuralReducers;
}  // namespace avx2
namespace avx512 {
extern const std::array<LaneTable, 1> kStructuralLanes;
extern const std::array<ReducerTable, 1> kStructuralReducers;
}  // namespace avx512

namespace {

constexpr Row kAddRow = make_recorded_row<kStructuralOps, 0>(
    per_isa(base::kStructuralLanes, avx2::kStructuralLanes, avx512::kStructuralLanes, 0));

TensorType shape_attr_type(const Call& call) { return {call.attrs().list("shape").shape(), call.dtype(0)}; }

}  // namespace

const Row kLeaf{.name = "leaf", .kind = Kind::source, .arity = 0, .vjp = kNoGrad("a leaf has no inputs")};
const Row kConstant{.name = "constant", .kind = Kind::source, .arity = 0, .vjp = kNoGrad("a constant has no inputs")};

const Row& kAdd = kAddRow;

const Row kSum{
    .name = "sum",
    .kind = Kind::reduction,
    .type = reduction_type,
    .vjp = [](const Vjp& g) { return broadcast_to(with_reduced_axes(g, g.ct), g.in[0].shape()); },
    .reducer = per_isa(base::kStructuralReducers, avx2::kStructuralReducers, avx512::kStructuralReducers, 0),
    .fold = fold_of<EBB_ISA::Sum>,
    .ulp = 64,
    .facts = {.linear = 1},
    .examples =
        [] {
          return std::vector<Example>{
              {{{{7}}}, {{"axes", IntList{0}}, {"keepdim", false}}},
              {{{{3, 4}}}, {{"axes", IntList{0}}, {"keepdim", false}}},
              {{{{3, 4}}}, {{"axes", IntList{1}}, {"keepdim", true}}},
              {{{{2, 3, 4, 5}}}, {{"axes", IntList{0, 2, 3}}, {"keepdim", true}}},
              {{{{2, 3, 4, 5}}}, {{"axes", IntList{1, 3}}, {"keepdim", false}}},
              {{{{0, 4}}}, {{"axes", IntList{0}}, {"keepdim", false}}},
          };
        },
};

const Row kBroadcastTo{
    .name = "broadcast_to",
    .kind = Kind::movement,
    .type =
        [](const Call& call) {
          const Shape shape = call.attrs().list("shape").shape();
          if (!broadcasts_to(call.shape(0), shape)) {
            call.fail_shape(fmt::format("{} does not broadcast to {}", to_string(call.shape(0)), to_string(shape)));
          }
          return TensorType{shape, call.dtype(0)};
        },
    .vjp = [](const Vjp& g) { return sum_to(g.ct, g.in[0].shape()); },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          return std::vector<Example>{
              {{{{4}}}, {{"shape", IntList{3, 4}}}},
              {{{{3, 1}}}, {{"shape", IntList{3, 4}}}},
              {{{{}}}, {{"shape", IntList{2, 3}}}},
              {{{{2, 1, 3}}}, {{"shape", IntList{4, 2, 5, 3}}}},
          };
        },
};

const Row kReshape{
    .name = "reshape",
    .kind = Kind::movement,
    .type =
        [](const Call& call) {
          const TensorType type = shape_attr_type(call);
          if (type.shape.numel() != call.shape(0).numel()) {
            call.fail_shape(fmt::format("{} elements do not fill shape {}, which holds {}", call.shape(0).numel(),
                                        to_string(type.shape), type.shape.numel()));
          }
          return type;
        },
    .vjp = [](const Vjp& g) { return reshape(g.ct, g.in[0].shape()); },
    .kernel = [](KernelCall& call) { call.out = call.in[0]->reshaped(call.out.shape()); },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          return std::vector<Example>{
              {{{{3, 4}}}, {{"shape", IntList{12}}}},
              {{{{6}}}, {{"shape", IntList{2, 1, 3}}}},
              {{{{}}}, {{"shape", IntList{1, 1}}}},
          };
        },
};

const Row kDetach{
    .name = "detach",
    .kind = Kind::movement,
    .type =
        [](const Call& call) {
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = VjpRule::stop(),
    .kernel = [](KernelCall& call) { call.out = *call.in[0]; },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          return std::vector<Example>{{{{{3, 4}}}, {}}};
        },
};

std::span<const Row* const> structural_rows() {
  static const std::array<const Row*, 7> rows{&kLeaf, &kConstant, &kAdd, &kSum, &kBroadcastTo, &kReshape, &kDetach};
  return rows;
}

// --- recording -------------------------------------------------------------------------------------------------------

IntList Axes::resolve(int rank) const {
  IntList out;
  if (all_) {
    for (int i = 0; i < rank; ++i) out.push_back(i);
    return out;
  }
  std::array<bool, kMaxRank> seen{};
  for (std::int64_t axis : list_) {
    if (axis < -rank || axis >= rank) {
      throw ShapeError(fmt::format("axis {} is outside of {} axes", axis, rank));
    }
    bool& mark = seen[static_cast<std::size_t>(axis < 0 ? axis + rank : axis)];
    if (mark) throw ShapeError(fmt::format("axis {} is named twice", axis));
    mark = true;
  }
  for (int i = 0; i < rank; ++i) {
    if (seen[static_cast<std::size_t>(i)]) out.push_back(i);
  }
  return out;
}

Shape reduced_shape(const Shape& shape, const IntList& axes, bool keepdim) {
  Shape out;
  for (int i = 0; i < shape.rank(); ++i) {
    if (!axes.contains(i)) {
      out.push_back(shape[i]);
    } else if (keepdim) {
      out.push_back(1);
    }
  }
  return out;
}

TensorType reduction_type(const Call& call) {
  if (call.dtype(0) == DType::boolean) {
    call.fail_dtype("does not take bool", "Convert it with cast(x, DType::i64).");
  }
  const IntList& axes = call.attrs().list("axes");
  return {reduced_shape(call.shape(0), axes, call.attrs().flag("keepdim")), call.dtype(0)};
}

IntList resolved_axes(const Row& row, const Operand& x, const Axes& axes) {
  try {
    return axes.resolve(x.var().rank());
  } catch (const ShapeError& error) {  // the words lack the op and the input
    const std::array ids{x.var().id()};
    Call(x.tape(), row, ids, {}, x.tape().line(x.where())).fail_shape(error.what());
  }
}

Var reduce(const Row& row, const Operand& x, const Axes& axes, bool keepdim, std::span<const Attr> more) {
  std::array<Attr, 4> attrs{Attr{"axes", resolved_axes(row, x, axes)}, Attr{"keepdim", keepdim}};
  std::ranges::copy(more, attrs.begin() + 2);
  return x.tape().record(row, std::span(&x, 1), std::span(attrs).first(2 + more.size()));
}

Var with_reduced_axes(const Vjp& g, const Var& v) {
  if (g.attrs.flag("keepdim")) return v;
  const IntList& axes = g.attrs.list("axes");
  const Shape& shape = g.in[0].shape();
  // Axes that were leading come back by broadcasting alone.
  bool leading = true;
  for (std::size_t i = 0; i < axes.size(); ++i) leading &= axes[i] == static_cast<std::int64_t>(i);
  return leading ? v : reshape(v, reduced_shape(shape, axes, true));
}

Var add(const Operand& a, const Operand& b) { return (a.is_literal() ? b : a).tape().record(kAdd, {a, b}); }

Var sum(const Operand& x, const Axes& axes, bool keepdim) { return reduce(kSum, x, axes, keepdim); }

Var sum_to(const Operand& x, const Shape& shape) {
  const Shape from = x.var().shape();
  if (from == shape) return x;
  const int extra = from.rank() - shape.rank();
  IntList axes;
  bool trailing = false;  // an axis kept with size 1
  for (int i = 0; i < from.rank(); ++i) {
    if (i < extra) {
      axes.push_back(i);
    } else if (shape[i - extra] == 1 && from[i] != 1) {
      axes.push_back(i);
      trailing = true;
    }
  }
  if (axes.empty()) return reshape(x, shape);
  if (!trailing) return sum(x, Axes(axes), false);
  const Var kept = sum(x, Axes(axes), true);
  return extra == 0 ? kept : reshape(kept, shape);
}

Var broadcast_to(const Operand& x, const Shape& shape) {
  if (x.var().shape() == shape) return x;
  return x.tape().record(kBroadcastTo, {x}, {{"shape", IntList(shape)}});
}

Var reshape(const Operand& x, const IntList& shape) {
  IntList sizes = shape;
  const std::int64_t numel = x.var().numel();
  std::int64_t known = 1;
  std::size_t open = sizes.size();
  bool bad = false;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == -1 && open == sizes.size()) {
      open = i;
    } else {
      bad |= sizes[i] < 0;
      known *= sizes[i];
    }
  }
  if (open < sizes.size() && known != 0) sizes[open] = numel / known;
  if (bad || (open < sizes.size() && (known == 0 || sizes[open] * known != numel))) {
    const std::array ids{x.var().id()};
    const Attr attr{"shape", shape};
    Call(x.tape(), kReshape, ids, std::span(&attr, 1), x.where())
        .fail_shape(fmt::format("{} elements do not fit {}", numel, to_string(Attrs(std::span(&attr, 1)))),
                    "One size may be -1, the others must divide the number of elements.");
  }
  const Shape resolved = sizes.shape();
  if (x.var().shape() == resolved) return x;
  return x.tape().record(kReshape, {x}, {{"shape", sizes}});
}

Var reshape(const Operand& x, const Shape& shape) { return reshape(x, IntList(shape)); }

Var detach(const Operand& x) { return x.tape().record(kDetach, {x}); }

namespace detail {

TensorType elementwise_type(const Call& call, Signature signature, lane::Takes takes) {
  const std::size_t first = signature == Signature::select ? 1 : 0;
  if (first == 1) call.require_dtype(0, DType::boolean);
  const DType dtype = call.common_dtype(first);
  if (takes == lane::Takes::floating && !is_floating(dtype)) {
    call.require_floating(call.arity() - 1);
  }
  if (takes == lane::Takes::booleans) call.require_dtype(0, DType::boolean);
  if (dtype == DType::boolean && takes != lane::Takes::all && takes != lane::Takes::booleans) {
    call.fail_dtype("does not take bool", "Convert it with cast(x, DType::f32).");
  }
  return {call.broadcast(), signature == Signature::predicate ? DType::boolean : dtype};
}

}  // namespace detail

}  // namespace ebb
