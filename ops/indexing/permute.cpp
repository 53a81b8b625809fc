#include <ebb/ops/indexing/permute.h>

#include <ebb/engine/tensor/strided.h>
#include <fmt/format.h>

#include <array>
#include <vector>

namespace ebb {
namespace {

std::size_t at(std::int64_t axis) { return static_cast<std::size_t>(axis); }

const Row kPermute{
    .name = "permute",
    .kind = Kind::movement,
    .type =
        [](const Call& call) {
          const IntList& dims = call.attrs().list("dims");
          const Shape& x = call.shape(0);
          bool once = dims.size() == at(x.rank());
          for (std::int64_t i = 0; i < x.rank(); ++i) once = once && dims.contains(i);
          if (!once) {
            call.fail_shape(fmt::format("{} does not name each of {} axes once", to_string(call.attrs()), x.rank()));
          }
          Shape out = x;
          for (int i = 0; i < x.rank(); ++i) out[i] = x[static_cast<int>(dims[at(i)])];
          return TensorType{out, call.dtype(0)};
        },
    .vjp =
        [](const Vjp& g) {
          const IntList& dims = g.attrs.list("dims");
          IntList back = dims;
          for (std::size_t i = 0; i < dims.size(); ++i) back[at(dims[i])] = static_cast<std::int64_t>(i);
          return permute(g.ct, back);
        },
    .kernel =
        [](KernelCall& call) {
          const IntList& dims = call.attrs.list("dims");
          const Strides strides = strides_of(call.in[0]->shape());
          Strides from{};
          for (std::size_t i = 0; i < dims.size(); ++i) from[i] = strides[at(dims[i])];
          std::byte* const out = call.allocate<std::byte>();
          copy_strided(call.out.shape(), call.out.dtype(), call.in[0]->raw(), from, out, strides_of(call.out.shape()));
        },
    .ulp = 0,
    .facts = {.linear = 1},
    .examples =
        [] {
          const auto dims = [](IntList list) { return std::vector<Attr>{{"dims", list}}; };
          return std::vector<Example>{
              {{{{3, 4}}}, dims({1, 0})},
              {{{{2, 3, 4}}}, dims({2, 0, 1})},
              {{{{2, 3, 4, 5}}}, dims({0, 2, 3, 1})},
              {{{{2, 0, 3}}}, dims({1, 2, 0})},
              {{{{}}}, dims({})},
              {{{{70, 90}}}, dims({1, 0})},
              {{{{3, 37, 41, 5}}}, dims({3, 2, 1, 0})},
          };
        },
};

}  // namespace

Var permute(const Operand& x, const IntList& dims) {
  IntList from_front = dims;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] < 0) from_front[i] += x.var().rank();
  }
  return x.tape().record(kPermute, {x}, {{"dims", from_front}});
}

Var transpose(const Operand& x, int dim0, int dim1) {
  const std::array ids{x.var().id()};
  const Call call(x.tape(), kPermute, ids, {}, x.where());
  const int a = call.axis(dim0);
  const int b = call.axis(dim1);
  IntList dims;
  for (int i = 0; i < x.var().rank(); ++i) dims.push_back(i == a ? b : i == b ? a : i);
  return permute(x, dims);
}

std::span<const Row* const> permute_rows() {
  static const std::array<const Row*, 1> rows{&kPermute};
  return rows;
}

}  // namespace ebb
