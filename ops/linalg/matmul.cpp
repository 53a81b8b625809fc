// The row sees matrices only, with leading axes that broadcast; the function makes them of vectors.
#include <ebb/ops/linalg/matmul.h>

#include <ebb/ops/composition.h>
#include <ebb/ops/linalg/gemm.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

Shape leading(const Shape& shape) { return Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - 2))); }

gemm::Product product_of(const Shape& a, const Shape& b, const Attrs& attrs) {
  const bool ta = attrs.flag("transpose_a");
  const bool tb = attrs.flag("transpose_b");
  return {a[a.rank() - (ta ? 1 : 2)], b[b.rank() - (tb ? 2 : 1)], a[a.rank() - (ta ? 2 : 1)], ta, tb};
}

TensorType matmul_type(const Call& call) {
  call.require_floating(0);
  call.require_floating(1);
  const DType dtype = call.common_dtype();
  const Shape& a = call.shape(0);
  const Shape& b = call.shape(1);
  const gemm::Product p = product_of(a, b, call.attrs());
  const int a_axis = a.rank() - (p.transpose_a ? 2 : 1);
  const int b_axis = b.rank() - (p.transpose_b ? 1 : 2);
  if (p.k != b[b_axis]) {
    const bool flipped = p.k == b[b_axis == b.rank() - 1 ? b.rank() - 2 : b.rank() - 1];
    call.fail_shape(
        fmt::format("inner dimensions differ, a.shape[{}] is {} but b.shape[{}] is {}", a_axis, p.k, b_axis, b[b_axis]),
        flipped ? fmt::format("Did you mean matmul(a, b, {{.transpose_b = {}}})?", !p.transpose_b) : "");
  }
  if (a.rank() == 2 && b.rank() == 2) return {{p.m, p.n}, dtype};
  const std::optional<Shape> batch = broadcast(leading(a), leading(b));
  if (!batch) {
    call.fail_shape(
        fmt::format("leading axes {} and {} do not broadcast", to_string(leading(a)), to_string(leading(b))));
  }
  Shape out = *batch;
  out.push_back(p.m);
  out.push_back(p.n);
  return {out, dtype};
}

// Where the matrix of batch index `batch` begins in an operand whose leading axes broadcast to `out`.
std::int64_t matrix_offset(const Shape& shape, const Shape& out, std::int64_t batch) {
  std::int64_t offset = 0;
  std::int64_t step = shape[shape.rank() - 1] * shape[shape.rank() - 2];
  for (int i = shape.rank() - 3, o = out.rank() - 3; o >= 0; --i, --o) {
    if (i >= 0) {
      if (shape[i] != 1) offset += batch % out[o] * step;
      step *= shape[i];
    }
    batch /= out[o];
  }
  return offset;
}

void matmul_kernel(KernelCall& call) {
  const Shape& a = call.in[0]->shape();
  const Shape& b = call.in[1]->shape();
  gemm::Product p = product_of(a, b, call.attrs);
  with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      T* const out = call.allocate<T>();
      std::int64_t count = call.out.numel() == 0 ? 0 : call.out.numel() / (p.m * p.n);
      if (count == 0) return;
      if (p.k == 0) {
        std::fill_n(out, call.out.numel(), T(0));
        return;
      }
      // One matrix for a whole batch of rows: the rows of all are those of one product.
      if (!p.transpose_a && b.numel() == p.k * p.n && a.numel() == count * p.m * p.k) {
        p.m *= count;
        count = 1;
      }
      if (count == 1) {
        constexpr std::int64_t kStart = 0;
        gemm::run(p, {1, &kStart, &kStart}, call.data<T>(0), call.data<T>(1), out);
        return;
      }
      CachedVector<std::int64_t> starts(static_cast<std::size_t>(2 * count));
      for (std::int64_t i = 0; i < count; ++i) {
        starts[static_cast<std::size_t>(i)] = matrix_offset(a, call.out.shape(), i);
        starts[static_cast<std::size_t>(count + i)] = matrix_offset(b, call.out.shape(), i);
      }
      gemm::run(p, {count, starts.data(), starts.data() + count}, call.data<T>(0), call.data<T>(1), out);
    }
  });
}

std::vector<Example> examples() {
  const auto flags = [](bool a, bool b) { return std::vector<Attr>{{"transpose_a", a}, {"transpose_b", b}}; };
  return {
      {{{{3, 4}}, {{4, 5}}}, flags(false, false)},    {{{{4, 3}}, {{4, 5}}}, flags(true, false)},
      {{{{3, 4}}, {{5, 4}}}, flags(false, true)},     {{{{4, 3}}, {{5, 4}}}, flags(true, true)},
      {{{{2, 3, 4}}, {{4, 5}}}, flags(false, false)}, {{{{2, 1, 3, 4}}, {{3, 5, 4}}}, flags(false, true)},
      {{{{3, 0}}, {{0, 2}}}, flags(false, false)},
  };
}

const Row kMatmul{
    .name = "matmul",
    .kind = Kind::contraction,
    .arity = 2,
    .type = matmul_type,
    .vjp = {[](const Vjp& g) {
              const bool ta = g.attrs.flag("transpose_a");
              const bool tb = g.attrs.flag("transpose_b");
              return ta ? matmul(g.in[1], g.ct, {tb, true}) : matmul(g.ct, g.in[1], {false, !tb});
            },
            [](const Vjp& g) {
              const bool ta = g.attrs.flag("transpose_a");
              const bool tb = g.attrs.flag("transpose_b");
              return tb ? matmul(g.ct, g.in[0], {true, ta}) : matmul(g.in[0], g.ct, {!ta, false});
            }},
    .kernel = matmul_kernel,
    .ulp = 64,
    .facts = {.linear = 3},
    .examples = examples,
};

// Vectors are reshaped before the row sees them. What it would refuse is refused here, in terms of the user's shapes
// and before the first node.
void check_vectors(const Operand& a, const Operand& b, const MatmulOptions& options) {
  const Shape& x = a.var().shape();
  const Shape& y = b.var().shape();
  const Arguments call(kMatmul, {a, b});
  if (x.rank() == 0 || y.rank() == 0) call.fail_shape("a scalar is no matrix", "Use a * b.");
  call.require_floating(0);
  call.require_floating(1);
  call.common_dtype();
  const int i = x.rank() == 1 ? 0 : x.rank() - (options.transpose_a ? 2 : 1);
  const int j = y.rank() == 1 ? 0 : y.rank() - (options.transpose_b ? 1 : 2);
  if (x[i] != y[j]) {
    call.fail_shape(fmt::format("inner dimensions differ, a.shape[{}] is {} but b.shape[{}] is {}", i, x[i], j, y[j]));
  }
}

}  // namespace

Var matmul(const Operand& a, const Operand& b, const MatmulOptions& options) {
  Tape& tape = a.tape();
  const int a_rank = a.var().rank();
  const int b_rank = b.var().rank();
  const auto record = [&](const Operand& x, const Operand& y, bool ta, bool tb) {
    return tape.record(kMatmul, {x, y}, {{"transpose_a", ta}, {"transpose_b", tb}});
  };
  if (a_rank > 1 && b_rank > 1) return record(a, b, options.transpose_a, options.transpose_b);
  check_vectors(a, b, options);
  const auto as_matrix = [&](const Operand& x, bool row) -> Operand {
    const Shape& shape = x.var().shape();
    if (shape.rank() != 1) return x;
    return Operand(reshape(x, row ? Shape{1, shape[0]} : Shape{shape[0], 1}), x.where());
  };
  const bool row = a_rank == 1;
  const bool column = b_rank == 1;
  const Var out =
      record(as_matrix(a, true), as_matrix(b, false), !row && options.transpose_a, !column && options.transpose_b);
  Shape shape = leading(out.shape());
  if (!row) shape.push_back(out.shape()[out.rank() - 2]);
  if (!column) shape.push_back(out.shape()[out.rank() - 1]);
  return reshape(out, shape);
}

std::span<const Row* const> linalg_rows() {
  static const std::array<const Row*, 1> rows{&kMatmul};
  return rows;
}

}  // namespace ebb
