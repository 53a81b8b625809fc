#include <ebb/ops/indexing/iota.h>

#include <fmt/format.h>

namespace ebb {
namespace {

const Row kIota{
    .name = "iota",
    .arity = 0,
    .type =
        [](const Call& call) {
          const std::int64_t n = call.attrs().integer("n");
          const DType dtype{static_cast<std::uint8_t>(call.attrs().integer("dtype"))};
          if (n < 0) call.fail_shape(fmt::format("n must not be negative, it is {}", n));
          if (dtype == DType::boolean) call.fail_dtype("bool does not count");
          return TensorType{Shape{n}, dtype};
        },
    .vjp = kNoGrad("a position is constant"),
    .kernel =
        [](KernelCall& call) {
          with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
            T* const out = call.allocate<T>();
            for (std::int64_t i = 0; i < call.out.numel(); ++i) out[i] = static_cast<T>(i);
          });
        },
    .examples =
        [] {
          const auto counted = [](std::int64_t n, DType dtype) {
            return Example{{}, {{"n", n}, {"dtype", static_cast<std::int64_t>(dtype)}}};
          };
          return std::vector<Example>{counted(0, DType::i64), counted(7, DType::i64), counted(100, DType::f32)};
        },
};

}  // namespace

Var iota(Tape& tape, std::int64_t n, DType dtype, Location where) {
  const auto scope = tape.scope("iota", where);
  return tape.record(kIota, {}, {{"n", n}, {"dtype", static_cast<std::int64_t>(dtype)}});
}

std::span<const Row* const> iota_rows() {
  static const std::array<const Row*, 1> rows{&kIota};
  return rows;
}

}  // namespace ebb
