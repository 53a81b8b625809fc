// The product is cut into tiles of rows whose bounds depend on the shape alone, and each tile is one single-threaded
// BLAS call from Ebb's pool: any number of threads gives the same bits, and the BLAS never starts threads of its own.
#include <ebb/ops/linalg/matmul.h>

#include <cblas.h>
#include <ebb/engine/threads/pool.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

constexpr std::int64_t kTileWork = 1 << 20;  // multiplications worth a tile of its own
constexpr std::int64_t kMaxTiles = 16;

struct Product {
  std::int64_t m, n, k;
  bool ta, tb;
};

// Rows [row, row + rows) of one product.
template <class T>
void gemm(const Product& p, std::int64_t row, std::int64_t rows, const T* a, const T* b, T* out) {
  const CBLAS_TRANSPOSE ta = p.ta ? CblasTrans : CblasNoTrans;
  const CBLAS_TRANSPOSE tb = p.tb ? CblasTrans : CblasNoTrans;
  const T* const from = a + (p.ta ? row : row * p.k);
  const auto as_int = [](std::int64_t x) { return static_cast<blasint>(x); };
  const blasint lda = as_int(p.ta ? p.m : p.k);
  const blasint ldb = as_int(p.tb ? p.k : p.n);
  T* const to = out + row * p.n;
  if constexpr (std::is_same_v<T, float>) {
    cblas_sgemm(CblasRowMajor, ta, tb, as_int(rows), as_int(p.n), as_int(p.k), 1, from, std::max(lda, 1), b,
                std::max(ldb, 1), 0, to, std::max(as_int(p.n), 1));
  } else {
    cblas_dgemm(CblasRowMajor, ta, tb, as_int(rows), as_int(p.n), as_int(p.k), 1, from, std::max(lda, 1), b,
                std::max(ldb, 1), 0, to, std::max(as_int(p.n), 1));
  }
}

Shape leading(const Shape& shape) { return Shape(shape.sizes().first(static_cast<std::size_t>(shape.rank() - 2))); }

Product product_of(const Shape& a, const Shape& b, const Attrs& attrs) {
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
  const Product p = product_of(a, b, call.attrs());
  const int a_axis = a.rank() - (p.ta ? 2 : 1);
  const int b_axis = b.rank() - (p.tb ? 1 : 2);
  if (p.k != b[b_axis]) {
    const bool flipped = p.k == b[b_axis == b.rank() - 1 ? b.rank() - 2 : b.rank() - 1];
    call.fail_shape(
        fmt::format("inner dimensions differ, a.shape[{}] is {} but b.shape[{}] is {}", a_axis, p.k, b_axis, b[b_axis]),
        flipped ? fmt::format("Did you mean matmul(a, b, {{.transpose_b = {}}})?", !p.tb) : "");
  }
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
  // Once: the BLAS would otherwise start threads under ours. The setting is the process's.
  static const bool single = (openblas_set_num_threads(1), true);
  static_cast<void>(single);
  const Product p = product_of(call.in[0]->shape(), call.in[1]->shape(), call.attrs);
  with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
    if constexpr (std::is_floating_point_v<T>) {
      T* const out = call.allocate<T>();
      const std::int64_t batches = p.m * p.n == 0 ? 0 : call.out.numel() / (p.m * p.n);
      if (batches == 0) return;
      if (p.k == 0) {
        std::fill_n(out, call.out.numel(), T(0));
        return;
      }
      const T* const a = call.data<T>(0);
      const T* const b = call.data<T>(1);
      // Few large products are cut by rows, many small ones are grouped.
      const std::int64_t work = p.m * p.n * p.k;
      const std::int64_t tiles = std::clamp<std::int64_t>(std::min(work / kTileWork, p.m / 16), 1, kMaxTiles);
      const std::int64_t group = std::max<std::int64_t>(1, kTileWork / 4 / std::max<std::int64_t>(work, 1));
      const std::int64_t units = batches * tiles;
      parallel_for((units + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t u = begin * group; u < std::min(units, end * group); ++u) {
          const std::int64_t batch = u / tiles;
          const std::int64_t row = p.m * (u % tiles) / tiles;
          const std::int64_t rows = p.m * (u % tiles + 1) / tiles - row;
          gemm(p, row, rows, a + matrix_offset(call.in[0]->shape(), call.out.shape(), batch),
               b + matrix_offset(call.in[1]->shape(), call.out.shape(), batch), out + batch * p.m * p.n);
        }
      });
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
  if (x.rank() > 1 && y.rank() > 1) return;
  const std::array ids{a.var().id(), b.var().id()};
  const Call call(a.tape(), kMatmul, ids, {}, a.where());
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
  check_vectors(a, b, options);
  const auto as_matrix = [&](const Operand& x, bool row) -> Operand {
    const Shape& shape = x.var().shape();
    if (shape.rank() != 1) return x;
    return Operand(reshape(x, row ? Shape{1, shape[0]} : Shape{shape[0], 1}), x.where());
  };
  const bool row = a.var().rank() == 1;
  const bool column = b.var().rank() == 1;
  const Var out =
      tape.record(kMatmul, {as_matrix(a, true), as_matrix(b, false)},
                  {{"transpose_a", !row && options.transpose_a}, {"transpose_b", !column && options.transpose_b}});
  if (!row && !column) return out;
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
