#include <ebb/ops/elementwise/elementwise.h>

#include <ebb/engine/lanes/elementwise_row.h>
#include <ebb/ops/elementwise/elementwise_ops.h>

#include <algorithm>

namespace ebb {

inline constexpr std::size_t kCount = std::tuple_size_v<decltype(kElementwiseOps)>;
namespace base {
extern const std::array<LaneTable, kCount> kElementwiseLanes;
}
namespace avx2 {
extern const std::array<LaneTable, kCount> kElementwiseLanes;
}
namespace avx512 {
extern const std::array<LaneTable, kCount> kElementwiseLanes;
}

namespace {

constexpr std::array kRows = make_rows<kElementwiseOps>(
    [](std::size_t i) {
      return per_isa(base::kElementwiseLanes, avx2::kElementwiseLanes, avx512::kElementwiseLanes, i);
    },
    std::make_index_sequence<kCount>());

const Row kCast{
    .name = "cast",
    .kind = Kind::elementwise,
    .type =
        [](const Call& call) {
          return TensorType{call.shape(0), DType(call.attrs().integer("dtype"))};
        },
    .vjp = [](const Vjp& g) { return cast(g.ct, g.in[0].dtype()); },
    .kernel = [](KernelCall& call) { call.out = call.in[0]->to(call.out.dtype()); },
    .examples =
        [] {
          const auto to = [](DType dtype) { return Attr{"dtype", static_cast<std::int64_t>(dtype)}; };
          return std::vector<Example>{{{{{3, 4}}}, {to(DType::f64)}}, {{{{3, 4}}}, {to(DType::i64)}}};
        },
};

// The row of a name, found while compiling.
template <std::size_t N>
struct Name {
  constexpr Name(const char (&text)[N]) { std::copy_n(text, N, this->text); }
  char text[N];
};
template <Name kName>
constexpr const Row& row() {
  return kRows[index_of(kRows, std::string_view(kName.text))];
}

template <class... More>
Var record(const Row& row, const Operand& first, const More&... more) {
  const Operand* any = &first;
  ((any = any->is_literal() ? &more : any), ...);
  return any->tape().record(row, {first, more...});
}

}  // namespace

Var neg(const Operand& x) { return record(row<"neg">(), x); }
Var square(const Operand& x) { return record(row<"square">(), x); }
Var sqrt(const Operand& x) { return record(row<"sqrt">(), x); }
Var reciprocal(const Operand& x) { return record(row<"reciprocal">(), x); }
Var exp(const Operand& x) { return record(row<"exp">(), x); }
Var log(const Operand& x) { return record(row<"log">(), x); }
Var tanh(const Operand& x) { return record(row<"tanh">(), x); }
Var sigmoid(const Operand& x) { return record(row<"sigmoid">(), x); }
Var relu(const Operand& x) { return record(row<"relu">(), x); }
Var sub(const Operand& a, const Operand& b) { return record(row<"sub">(), a, b); }
Var mul(const Operand& a, const Operand& b) { return record(row<"mul">(), a, b); }
Var div(const Operand& a, const Operand& b) { return record(row<"div">(), a, b); }
Var less(const Operand& a, const Operand& b) { return record(row<"less">(), a, b); }
Var less_equal(const Operand& a, const Operand& b) { return record(row<"less_equal">(), a, b); }
Var greater(const Operand& a, const Operand& b) { return record(row<"greater">(), a, b); }
Var greater_equal(const Operand& a, const Operand& b) { return record(row<"greater_equal">(), a, b); }
Var equal(const Operand& a, const Operand& b) { return record(row<"equal">(), a, b); }
Var not_equal(const Operand& a, const Operand& b) { return record(row<"not_equal">(), a, b); }
Var where(const Operand& condition, const Operand& a, const Operand& b) {
  return record(row<"where">(), condition, a, b);
}

Var cast(const Operand& x, DType dtype) {
  if (x.var().dtype() == dtype) return x;
  return x.tape().record(kCast, {x}, {{"dtype", static_cast<std::int64_t>(dtype)}});
}

std::span<const Row* const> elementwise_rows() {
  static const auto rows = [] {
    std::array<const Row*, kCount + 1> out;
    std::ranges::transform(kRows, out.begin(), [](const Row& row) { return &row; });
    out.back() = &kCast;
    return out;
  }();
  return rows;
}

}  // namespace ebb
