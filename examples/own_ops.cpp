// Ops of your own: one block each, recorded, differentiated, drawn and checked like the library's.
//
// An op is a row. Of an elementwise one you write the lambda, of a reduction the steps, of anything else a kernel; to
// each belongs a derivative rule, written in recorded ops. check_row looks at all the rest in one line: shapes, values
// against long double, tails of loops, threads, both orders of the derivative.
#include <ebb/ebb.h>
#include <ebb/engine/lanes/own_row.h>
#include <fmt/format.h>

#include <algorithm>

using namespace ebb;

namespace {

// --- an elementwise op -----------------------------------------------------------------------------------------------

const Row kSoftSign = own_row([] {
  using namespace ebb::lane;
  return unary(
      "soft_sign", {.ulp = 2}, [](auto x) { return x / sqrt(lit(x, 1) + x * x); },
      [](const auto& g) {
        const Var s = 1.0 + square(g.in[0]);
        return g.ct / (s * sqrt(s));
      });
});
Var soft_sign(const Operand& x) { return x.tape().record(kSoftSign, {x}); }

// --- a reduction -----------------------------------------------------------------------------------------------------

struct SquaresAdded : lane::Sum {
  template <class A>
  static A step(const A& total, const A& x) {
    return total + x * x;
  }
};
const Row kEnergy{
    .name = "energy",
    .kind = Kind::reduction,
    .type = reduction_type,
    .vjp = [](const Vjp& g) { return 2.0 * g.in[0] * with_reduced_axes(g, g.ct); },
    .reducer = own_reducer<SquaresAdded>(),
    .ulp = 64,
    .examples =
        [] {
          return std::vector<Example>{
              {{{{3, 4}}}, {{"axes", IntList{1}}, {"keepdim", false}}},
              {{{{2, 3, 4}}}, {{"axes", IntList{0, 2}}, {"keepdim", true}}},
          };
        },
};
Var energy(const Operand& x, const Axes& axes = kAllAxes) { return reduce(kEnergy, x, axes, false); }

// --- a kernel of any kind --------------------------------------------------------------------------------------------

Var reversed(const Operand& x);
const Row kReversed{
    .name = "reversed",
    .kind = Kind::opaque,
    .type =
        [](const Call& call) {
          if (call.shape(0).rank() != 1) call.fail_shape("needs one axis", "Flatten it with reshape(x, {-1}).");
          call.require_floating(0);
          return TensorType{call.shape(0), call.dtype(0)};
        },
    .vjp = [](const Vjp& g) { return reversed(g.ct); },
    .kernel =
        [](KernelCall& call) {
          with_type(call.out.dtype(), [&]<class T>(std::type_identity<T>) {
            std::reverse_copy(call.data<T>(0), call.data<T>(0) + call.in[0]->numel(), call.allocate<T>());
          });
        },
    .ulp = 0,
    .examples =
        [] {
          return std::vector<Example>{{{{{7}}}, {}}, {{{{1}}}, {}}, {{{{0}}}, {}}};
        },
};
Var reversed(const Operand& x) { return x.tape().record(kReversed, {x}); }

// --- what the last two should give, in long double -------------------------------------------------------------------

Reduced squares_added(std::span<const long double> x) {
  long double total = 0;
  for (const long double v : x) total += v * v;
  return {total, total};
}
Expected turned_round(const RowSample&, const std::vector<Dense>& in) {
  Dense x = in[0];
  std::ranges::reverse(x.at);
  return {x, x.at};
}

}  // namespace

int main() {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<double>({3}, {-1, 0.5, 2}), "x");
  const Var y = tape.name(energy(soft_sign(x) * reversed(x)), "y");
  const Var dx = grad(y, x);
  fmt::print("y = {}\ndx = {}\nddx = {}\n\n{}\n", to_string(y.value()), to_string(dx.value()),
             to_string(hvp(y, x, 1.0).value()), dump(tape, {.to = dx, .source_lines = false}));

  bool passed = true;
  for (const RowReport& report :
       {report_row(kSoftSign, {.passes = all_passes()}),  // compiled with the library's algebra too
        report_row(kEnergy, {.oracle = reduction_oracle(squares_added)}),
        report_row(kReversed, {.oracle = turned_round})}) {
    fmt::print("{}\n", report.text());
    passed &= report.passed();
  }
  return passed ? 0 : 1;
}
