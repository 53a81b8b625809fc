// check_row on rows that are wrong in one way each: it finds every one, and says which call it was. That rows from
// outside of the library pass is what examples/own_ops.cpp shows; that the library's own do, tests/table.
#include <ebb/ebb.h>
#include <ebb/engine/lanes/own_row.h>

#include <atomic>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

const Row kTriple = own_row([] {
  return lane::unary(
      "triple", {.takes = lane::Takes::numbers, .linear = 1}, [](auto x) { return x * lane::lit(x, 3); },
      [](const auto& g) { return 3.0 * g.ct; });
});
const Row kHypotenuse = own_row([] {
  return lane::binary(
      "hypotenuse", {.lo = 0.2, .hi = 3, .ulp = 2, .commutative = true},
      [](auto a, auto b) {
        using lane::sqrt;
        return sqrt(a * a + b * b);
      },
      [](const auto& g) { return g.ct * g.in[0] / g.out; }, [](const auto& g) { return g.ct * g.in[1] / g.out; });
});

bool mentions(const RowReport& report, std::string_view text) {
  return !report.passed() && report.text().find(text) != std::string::npos;
}

TEST(CheckRow, RowsFromOutsidePass) {
  for (const Row* row : {&kTriple, &kHypotenuse}) {
    const RowReport report = report_row(*row);
    EXPECT_TRUE(report.passed()) << report.text();
    EXPECT_GT(report.checks, 1000u);
    EXPECT_EQ(report.text(), std::string(row->name) + ": passed, " + std::to_string(report.checks) + " checks on " +
                                 std::to_string(report.samples) + " samples");
    check_row(*row);
  }
}

TEST(CheckRow, AnOwnOpIsRecordedLikeAnyOther) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<float>({2}, {3, 5}), "x");
  const Var y = tape.record(kHypotenuse, {x, 4.0});
  EXPECT_EQ(to_string(y.value()), "[5, 6.40312]");
  EXPECT_FLOAT_EQ(static_cast<float>(grad(sum(y), x).value().at(0)), 0.6F);
  EXPECT_EQ(tape.record(kTriple, {tape.leaf(Tensor::of<std::int64_t>({1}, {14}))}).item(), 42);
  const Var three = tape.leaf(Tensor::zeros({3}), "three");
  const std::string text = thrown<ShapeError>([&] { tape.record(kHypotenuse, {x, three}); });
  EXPECT_EQ(text.substr(0, text.find(", f32[3]")),
            "hypotenuse: shapes [2] and [3] do not broadcast; got f32[2] (%0 \"x\")");
  verify(tape);
}

TEST(CheckRow, FindsAWrongRule) {
  static const Row row = own_row([] {
    return lane::unary(
        "cube", {.ulp = 1}, [](auto x) { return x * x * x; },
        [](const auto& g) { return 2.9 * square(g.in[0]) * g.ct; });
  });
  EXPECT_TRUE(mentions(report_row(row), "cube f64[3]: order 1, input 0 f64[3]: wrong at element"))
      << report_row(row).text();
}

// The first order is right: the rule reads a constant where it should read a Var.
TEST(CheckRow, FindsAWrongSecondDerivative) {
  static const Row row = own_row([] {
    return lane::unary(
        "cube", {.ulp = 1}, [](auto x) { return x * x * x; },
        [](const auto& g) { return 3.0 * detach(square(g.in[0])) * g.ct; });
  });
  const RowReport report = report_row(row);
  EXPECT_TRUE(mentions(report, "order 2, input 0")) << report.text();
  EXPECT_FALSE(mentions(report, "order 1, input 0")) << report.text();
}

TEST(CheckRow, FindsABoundThatDoesNotHold) {
  static const Row row = own_row([] {
    return lane::unary(
        "third", {}, [](auto x) { return x * lane::lit(x, 1.0 / 3) + x * lane::lit(x, 2.0 / 3); },
        [](const auto& g) { return g.ct; });
  });
  EXPECT_TRUE(mentions(report_row(row), " to 0.5 ulp")) << report_row(row).text();
}

TEST(CheckRow, FindsALaneThatWritesPastItsEnd) {
  static const LaneTable table{{[](const LaneCall& call) {
    for (std::int64_t i = 0; i < (call.n + 3) / 4 * 4; ++i) {  // whole packs of four
      static_cast<float*>(call.out)[i] =
          static_cast<const float*>(call.in[0])[(call.steps & 1) != 0 && i < call.n ? i : 0];
    }
  }}};
  Row row = kTriple;
  row.lanes = {&table, &table, &table};
  row.oracle = [](const long double* x) { return x[0]; };
  row.examples = nullptr;
  EXPECT_TRUE(mentions(report_row(row), "lanes f32 base: wrote past the end of 1 elements"));
}

Row copying(Kernel kernel) {
  return {.name = "copying",
          .type =
              [](const Call& call) {
                return TensorType{call.shape(0), call.dtype(0)};
              },
          .vjp = [](const Vjp& g) { return g.ct; },
          .kernel = kernel,
          .ulp = 0,
          .examples =
              [] {
                return std::vector<Example>{{{{{3, 4}}}, {}}};
              }};
}
Expected same(const RowSample&, const std::vector<Dense>& in) { return {in[0], in[0].at}; }

TEST(CheckRow, FindsAKernelThatItsTypeRuleDoesNotDescribe) {
  static const Row row = copying([](KernelCall& call) { call.out = call.in[0]->reshaped({12}); });
  EXPECT_EQ(report_row(row, {.oracle = same}).failures[0],
            "copying f32[3, 4]: its kernel gives f32[12], its type rule says f32[3, 4]");
}

TEST(CheckRow, FindsAKernelThatDependsOnTheNumberOfThreads) {
  static const Row row = copying([](KernelCall& call) {
    call.out = call.in[0]->clone();
    if (call.out.dtype() == DType::f64) call.out.mutable_data<double>()[0] *= 1 + 1e-14 * (threads() - 1);
  });
  const RowReport report = report_row(row, {.oracle = [](const RowSample& s, const std::vector<Dense>& in) {
                                        Expected want = same(s, in);
                                        for (long double& scale : want.scale) scale *= 1e6L;
                                        return want;
                                      }});
  EXPECT_TRUE(mentions(report, "copying f64[3, 4]: 2 threads give other bits than one")) << report.text();
}

// What a program computes is computed again and again: a kernel with a memory shows there.
TEST(CheckRow, FindsAProgramWithOtherBits) {
  static int calls = 0;
  static const Row row = copying([](KernelCall& call) {
    call.out = call.in[0]->clone();
    if (call.out.dtype() == DType::f64) call.out.mutable_data<double>()[0] += ++calls;
  });
  EXPECT_TRUE(mentions(report_row(row, {.oracle = same}),
                       "copying f64[3, 4]: compiled with exact bits, interpreted, 3 threads, the value has other bits "
                       "than in eager mode"))
      << report_row(row, {.oracle = same}).text();
}

TEST(CheckRow, FindsACotangentOfTheWrongType) {
  Row row = copying([](KernelCall& call) { call.out = *call.in[0]; });
  row.vjp = [](const Vjp& g) { return cast(g.ct, DType::f64); };
  const RowReport report = report_row(row, {.oracle = same});
  EXPECT_TRUE(mentions(report,
                       "copying f32[3, 4]: copying: a derivative rule gave a cotangent f64[3, 4] for an input "
                       "f32[3, 4]."))
      << report.text();
}

TEST(CheckRow, FindsASlopeThatNoSampleShows) {
  static const Row row = own_row([] {
    return lane::unary(
        "nothing", {}, [](auto x) { return x * lane::lit(x, 0); }, [](const auto& g) { return 0.0 * g.ct; });
  });
  EXPECT_TRUE(mentions(report_row(row), "nothing: failed, 1 of ")) << report_row(row).text();
  EXPECT_TRUE(mentions(report_row(row), "no sample shows a slope by input 0"));
}

TEST(CheckRow, RefusesWhatCannotBeChecked) {
  Row row = copying([](KernelCall& call) { call.out = *call.in[0]; });
  EXPECT_EQ(thrown<Error>([&] { check_row(row); }),
            "copying: failed, 1 of 6 checks on 0 samples\n  it has no oracle: nothing says that its value is right");
  row.examples = nullptr;
  row.type = nullptr;
  EXPECT_EQ(report_row(row, {.oracle = same}).text(),
            "copying: failed, 2 of 6 checks on 0 samples\n  it has no type rule\n  it has neither examples, nor lanes "
            "and an oracle");
}

}  // namespace
}  // namespace ebb
