// The lanes of every row on every instruction set this machine has are the same to the bit. An element's value does not
// depend on where it stands.
#include <ebb/ebb.h>
#include <ebb/engine/random/philox.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

namespace ebb {
namespace {

constexpr std::int64_t kN = 1000;

std::vector<Isa> other_sets() {
  std::vector<Isa> sets;
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (supported(isa)) sets.push_back(isa);
  }
  return sets;
}

const LaneTable& table(const Row& row, Isa isa) { return *row.lanes[static_cast<std::size_t>(isa)]; }

DType out_dtype(const Row& row, DType dtype) { return row.signature == Signature::predicate ? DType::boolean : dtype; }

Tensor sample(const Row& row, DType dtype, std::uint64_t stream) {
  Random random(1, stream);
  Tensor x = Tensor::empty({kN}, DType::f64);
  random.fill_uniform(x, row.domain.lo, row.domain.hi);
  if (dtype == DType::i64) {
    for (double& value : x.mutable_data<double>()) value *= 100;
  } else if (row.domain.margin == 0 && row.domain.lo < 0) {  // what is special, too
    const std::span<double> values = x.mutable_data<double>();
    values[3] = 0.0;
    values[5] = -0.0;
    values[7] = INFINITY;
    values[11] = -INFINITY;
    values[13] = 1e-310;
    values[17] = 1e30;
  }
  return dtype == DType::boolean ? Tensor(x).to(DType::i64).to(DType::boolean) : x.to(dtype);
}

Tensor run(const Row& row, DType dtype, Isa isa, std::int64_t first, std::int64_t n) {
  std::vector<Tensor> inputs;
  LaneCall call;
  for (int i = 0; i < row.arity; ++i) {
    const DType type = row.signature == Signature::select && i == 0 ? DType::boolean : dtype;
    inputs.push_back(sample(row, type, static_cast<std::uint64_t>(i)));
    call.in[static_cast<std::size_t>(i)] = inputs.back().raw() + first * static_cast<std::int64_t>(size_of(type));
  }
  Tensor out = Tensor::zeros({n}, out_dtype(row, dtype));
  call.out = out.mutable_raw();
  call.n = n;
  call.steps = (1u << row.arity) - 1;
  table(row, isa).by_dtype[static_cast<std::size_t>(dtype)](call);
  return out;
}

// Equal to the bit but for NaNs, whose payload and sign are nobody's promise.
void expect_same(const Tensor& a, const Tensor& b, const std::string& what) {
  for (std::int64_t i = 0; i < a.numel(); ++i) {
    const double x = a.at(i);
    const double y = b.at(i);
    if (std::isnan(x) && std::isnan(y)) continue;
    ASSERT_TRUE(x == y && std::signbit(x) == std::signbit(y)) << what << " at " << i << ": " << x << ", " << y;
  }
}

template <class F>
void for_lanes(F&& f) {
  for (const Row* row : all_rows()) {
    if (row->kind != Kind::elementwise || !row->lanes[0]) continue;
    for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) {
      if (!table(*row, Isa::base).by_dtype[static_cast<std::size_t>(dtype)]) continue;
      if (dtype == DType::i64 && row->name == "div") continue;
      f(*row, dtype, std::string(row->name) + " of " + std::string(name(dtype)));
    }
  }
}

TEST(Lanes, InstructionSetsAgree) {
  int checked = 0;
  for_lanes([&](const Row& row, DType dtype, const std::string& what) {
    const Tensor base = run(row, dtype, Isa::base, 0, kN);
    for (const Isa isa : other_sets()) {
      expect_same(run(row, dtype, isa, 0, kN), base,
                  what + " on " + std::string(kIsaNames[static_cast<std::size_t>(isa)]));
      ++checked;
    }
  });
  if (other_sets().empty()) GTEST_SKIP() << "this machine has the baseline only";
  EXPECT_GT(checked, 40);
}

TEST(Lanes, AnElementsPlaceDoesNotMatter) {
  for_lanes([&](const Row& row, DType dtype, const std::string& what) {
    for (const Isa isa : {Isa::base, Isa::avx2, Isa::avx512}) {
      if (!supported(isa)) continue;
      const Tensor whole = run(row, dtype, isa, 0, kN);
      for (const std::int64_t n : {std::int64_t{1}, std::int64_t{3}, std::int64_t{17}}) {
        const Tensor part = run(row, dtype, isa, 40 - n, n);
        const std::size_t size = size_of(part.dtype());
        EXPECT_EQ(std::memcmp(part.raw(), whole.raw() + static_cast<std::size_t>(40 - n) * size, part.bytes()), 0)
            << what;
      }
    }
  });
}

TEST(Lanes, ReductionsAgreeToTheBit) {
  int checked = 0;
  for (const Row* row : all_rows()) {
    if (row->kind != Kind::reduction || !row->reducer[0]) continue;
    for (const DType dtype : {DType::f32, DType::f64, DType::i64}) {
      const auto reducer = [&](Isa isa) {
        return row->reducer[static_cast<std::size_t>(isa)]->by_dtype[static_cast<std::size_t>(dtype)];
      };
      if (!reducer(Isa::base)) continue;
      Tensor x = Tensor::empty({64, 147}, DType::f64);
      Random(3).fill_normal(x, 0, 1e3);
      x = x.to(dtype);
      const auto runs = [&](Isa isa, std::int64_t n) {
        Tensor out = Tensor::zeros({1}, dtype);
        std::vector<std::int64_t> cell(static_cast<std::size_t>(reducer(isa)->cell_words));
        reducer(isa)->init(cell.data(), 1);
        reducer(isa)->run(x.raw(), 1, 0, 1, n, n, cell.data());
        reducer(isa)->finish(cell.data(), 1, n, out.mutable_raw());
        return out;
      };
      const auto columns = [&](Isa isa) {
        Tensor out = Tensor::zeros({147}, dtype);
        std::vector<std::int64_t> cells(static_cast<std::size_t>(147 * reducer(isa)->cell_words));
        reducer(isa)->init(cells.data(), 147);
        reducer(isa)->columns(x.raw(), 64, 147, 147, cells.data());
        reducer(isa)->finish(cells.data(), 147, 64, out.mutable_raw());
        return out;
      };
      for (const Isa isa : other_sets()) {
        for (const std::int64_t n : {1, 7, 16, 100, 1024, 9408}) {
          EXPECT_TRUE(identical(runs(isa, n), runs(Isa::base, n))) << row->name << " of " << name(dtype) << ", " << n;
        }
        EXPECT_TRUE(identical(columns(isa), columns(Isa::base))) << row->name << " of " << name(dtype);
        ++checked;
      }
    }
  }
  if (!other_sets().empty()) {
    EXPECT_GT(checked, 5);
  }
}

}  // namespace
}  // namespace ebb
