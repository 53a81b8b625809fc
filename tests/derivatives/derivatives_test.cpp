// jvp, hvp, jacobian, hessian: what they compute, of any order; several inputs and outputs; what they refuse; and that
// they cost what their composition implies.
#include <ebb/ebb.h>

#include <cmath>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::string here(int line) { return " (derivatives_test.cpp:" + std::to_string(line) + ")"; }

// What was thrown, without the place: compilers do not agree on the __LINE__ of a macro of several lines.
template <class E, class F>
std::string said(F&& f) {
  const std::string text = thrown<E>(f);
  return text.substr(0, text.rfind(" (derivatives_test.cpp:"));
}

Tensor f64(std::initializer_list<double> values) {
  return Tensor::of({static_cast<std::int64_t>(values.size())}, values);
}

Tensor normal(const Shape& shape, std::uint64_t seed, DType dtype = DType::f64) {
  Tensor x = Tensor::empty(shape, dtype);
  Random(seed).fill_normal(x);
  return x;
}

void expect_near(const Tensor& got, const Tensor& want, double bound) {
  ASSERT_EQ(got.shape(), want.shape());
  for (std::int64_t i = 0; i < got.numel(); ++i) EXPECT_NEAR(got.at(i), want.at(i), bound) << i;
}

// A small network with two layers and a scalar loss.
struct Mlp {
  explicit Mlp(Tape& tape, std::int64_t in = 5, std::int64_t hidden = 4, std::int64_t rows = 6,
               DType dtype = DType::f64)
      : w1(tape.leaf(normal({in, hidden}, 1, dtype), "w1")),
        w2(tape.leaf(normal({hidden, 3}, 2, dtype), "w2")),
        b(tape.leaf(normal({hidden}, 3, dtype), "b")),
        out(matmul(tanh(matmul(tape.leaf(normal({rows, in}, 4, dtype)), w1) + b), w2)),
        loss(mean(square(log_softmax(out, 1)))) {}
  Var w1, w2, b, out, loss;
};

// --- jvp -------------------------------------------------------------------------------------------------------------

TEST(Jvp, IsTheSlopeAlongTheTangent) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}), "x");
  EXPECT_EQ(to_string(jvp(x * x * x, x, tape.leaf(f64({1, 0, -1}))).value()), "[3, 0, -27]");
  EXPECT_EQ(to_string(jvp(x, x, 2.0).value()), "[2, 2, 2]");
  EXPECT_EQ(jvp(sum(square(x)), x, 1.0).item(), 12);
  verify(tape);
}

TEST(Jvp, OfSeveralResultsBySeveralInputsIsTwoSweeps) {
  Tape tape;
  const Var a = tape.leaf(f64({1, 2}), "a");
  const Var b = tape.leaf(f64({5, 7}), "b");
  const Var product = a * b;
  const Var total = sum(product + a);
  const std::size_t forward = tape.size();
  const Vars d = jvp({product, total, a}, {a, b}, {tape.leaf(f64({1, 0})), tape.leaf(f64({0, 1}))});
  EXPECT_EQ(to_string(d[0].value()), "[5, 2]");
  EXPECT_EQ(d[1].item(), 8);
  EXPECT_EQ(to_string(d[2].value()), "[1, 0]");
  EXPECT_LE(tape.size(), 8 * forward);
  verify(tape);
}

TEST(Jvp, IsTheJacobianTimesTheTangent) {
  Tape tape;
  const Mlp net(tape);
  const Var t = tape.leaf(normal({5, 4}, 9));
  const Tensor j = jacobian(net.out, net.w1).value();
  const Tensor got = jvp(net.out, net.w1, t).value();
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    double want = 0;
    for (std::int64_t k = 0; k < t.numel(); ++k) want += j.at(i * t.numel() + k) * t.value().at(k);
    EXPECT_NEAR(got.at(i), want, 1e-12);
  }
}

TEST(Jvp, NestsAndIsDifferentiated) {
  check_gradients(
      [](Var x, Var t) {
        const Var y = tanh(x) * exp(x);
        const Var first = jvp(y, x, t);
        return Vars{first, jvp(first, x, t), jvp(sum(y * y), x, t)};
      },
      {normal({3, 2}, 1), normal({3, 2}, 2)});
}

// A row whose rule is a local pullback of a composition records in the second sweep what the first one only began.
TEST(Jvp, OfFusedRowsIsThatOfTheirCompositions) {
  std::vector<Tensor> found;
  for (const auto kernel : {BatchNormKernel::staged, BatchNormKernel::fused}) {
    Tape tape;
    const Var x = tape.leaf(normal({8, 3}, 1));
    const Var gamma = tape.leaf(normal({3}, 2));
    const Var y = tanh(batch_norm(x, gamma, gamma, {.kernel = kernel}));
    const Vars d = jvp({y}, {x, gamma}, {tape.leaf(normal({8, 3}, 3)), tape.leaf(normal({3}, 4))});
    found.push_back(d[0].value());
  }
  expect_near(found[1], found[0], 1e-12);
}

// --- hvp -------------------------------------------------------------------------------------------------------------

TEST(Hvp, OfSeveralInputsIsTheWholeHessianTimesAllVectors) {
  Tape tape;
  const Mlp net(tape);
  const std::vector<Var> x{net.w1, net.b, net.w2};
  const std::vector<Var> v{tape.leaf(normal({5, 4}, 5)), tape.leaf(normal({4}, 6)), tape.leaf(normal({4, 3}, 7))};
  const Vars got = hvp(net.loss, x, v);
  const std::vector<Vars> blocks = hessian(net.loss, x);
  for (std::size_t i = 0; i < x.size(); ++i) {
    for (std::int64_t a = 0; a < x[i].numel(); ++a) {
      double want = 0;
      for (std::size_t k = 0; k < x.size(); ++k) {
        const std::int64_t n = x[k].numel();
        for (std::int64_t c = 0; c < n; ++c) want += blocks[i][k].value().at(a * n + c) * v[k].value().at(c);
      }
      EXPECT_NEAR(got[i].value().at(a), want, 1e-12);
    }
  }
  verify(tape);
}

// One sweep for the gradients, one for all of them together: the number of inputs does not multiply the graph.
TEST(Hvp, IsTwoSweepsHoweverManyInputs) {
  const auto nodes = [](int layers, bool vectors) {
    Tape tape;
    std::vector<Var> w, v;
    Var h = tape.leaf(normal({2, 3}, 0));
    for (int i = 0; i < layers; ++i) {
      w.push_back(tape.leaf(normal({3, 3}, 1)));
      v.push_back(tape.leaf(normal({3, 3}, 2)));
      h = tanh(matmul(h, w.back()));
    }
    const Var loss = sum(square(h));
    if (vectors) hvp(loss, w, v);
    return static_cast<double>(tape.size());
  };
  EXPECT_LT(nodes(40, true) / nodes(40, false), 1.1 * nodes(10, true) / nodes(10, false));
}

TEST(Hvp, IsDifferentiated) {
  check_gradients([](Var x, Var v) { return hvp(sum(exp(x) * tanh(x)), x, v); }, {normal({4}, 1), normal({4}, 2)});
}

TEST(Hvp, OfALinearFunctionIsZero) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}));
  const Var other = tape.leaf(f64({3}));
  const Vars d = hvp(sum(3.0 * x), {x, other}, {x, other}, {.keep = {}, .unused = Unused::none});
  EXPECT_EQ(to_string(d[0].value()), "[0, 0]");
  EXPECT_FALSE(d[1].alive());
}

// --- jacobian and hessian --------------------------------------------------------------------------------------------

TEST(Jacobian, HasTheShapesOfResultAndInput) {
  Tape tape;
  const Var w = tape.leaf(normal({3, 4}, 1));
  const Var x = tape.leaf(normal({4, 2}, 2));
  const Var y = matmul(w, x);
  const Var j = jacobian(y, x);
  EXPECT_EQ(j.shape(), (Shape{3, 2, 4, 2}));
  for (std::int64_t i = 0; i < 48; ++i) {
    const std::int64_t row = i / 16, column = i / 8 % 2, k = i / 2 % 4, l = i % 2;
    EXPECT_EQ(j.value().at(i), column == l ? w.value().at(row * 4 + k) : 0);
  }
  EXPECT_EQ(jacobian(sum(x), x).shape(), x.shape());
  EXPECT_EQ(jacobian(tape.leaf(Tensor::zeros({0}, DType::f64)) * 2.0, x).shape(), (Shape{0, 4, 2}));
  verify(tape);
}

TEST(Jacobian, ByColumnsIsThatByRows) {
  for (const bool keep : {false, true}) {
    Tape tape;
    const Var x = tape.leaf(f64({0.3, -0.2}), "x");
    const Var w = tape.leaf(f64({2}), "w");
    const Var grid = tape.leaf(normal({40, 1}, 1));
    const Var y = tanh(grid * x) * w;  // 80 results of 3 inputs
    const Vars j = jacobian(y, {x, w}, {.keep = keep});
    ASSERT_EQ(j[0].shape(), (Shape{40, 2, 2}));
    ASSERT_EQ(j[1].shape(), (Shape{40, 2, 1}));
    for (std::int64_t i = 0; i < 80; ++i) {
      const double g = grid.value().at(i / 2), t = std::tanh(g * x.value().at(i % 2));
      EXPECT_NEAR(j[0].value().at(2 * i + i % 2), 2 * g * (1 - t * t), 1e-14);
      EXPECT_EQ(j[0].value().at(2 * i + 1 - i % 2), 0);
      EXPECT_NEAR(j[1].value().at(i), t, 1e-15);
    }
    verify(tape);
  }
}

TEST(Jacobian, OfSeveralResults) {
  Tape tape;
  const Var a = tape.leaf(f64({1, 2}));
  const Var b = tape.leaf(f64({3}));
  const std::vector<Vars> j = jacobian({a * b, sum(a)}, {a, b});
  EXPECT_EQ(to_string(j[0][0].value()), "[[3, 0],\n [0, 3]]");
  EXPECT_EQ(to_string(j[0][1].value()), "[[1],\n [2]]");
  EXPECT_EQ(to_string(j[1][0].value()), "[1, 1]");
  EXPECT_EQ(to_string(j[1][1].value()), "[0]");
}

TEST(Hessian, OfACubeIsDiagonal) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  EXPECT_EQ(to_string(hessian(sum(x * x * x), x).value()), "[[6, 0, 0],\n [0, 12, 0],\n [0, 0, 18]]");
}

TEST(Hessian, IsDifferentiatedWhenItsRowsAreKept) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}));
  const Var h = hessian(sum(x * x * x * x), x, {.keep = true});
  EXPECT_EQ(to_string(grad(sum(h), x).value()), "[24, 48, 72]");
  EXPECT_EQ(jacobian(h, x).shape(), (Shape{3, 3, 3}));
  verify(tape);
  check_gradients([](Var v) { return hessian(sum(exp(v) * v), v, {.keep = true}); }, {normal({3}, 1)});
  check_gradients([](Var v) { return jacobian(tanh(v) * v, v, {.keep = true}); }, {normal({3}, 1)});
}

TEST(Hessian, OfValuesAloneRefusesGradients) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}), "x");
  const Var y = sum(x * x * x);
  const Var h = tape.name(hessian(y, x), "h");
  const int line = __LINE__ - 1;
  const std::size_t size = tape.size();
  EXPECT_EQ(thrown<UsageError>([&] { grad(sum(h) + y, x); }),
            "grad: h holds the values of a hessian alone, no gradient passes through them. Record its rows with "
            "{.keep = true}, or cut it off with detach." +
                here(line));
  EXPECT_GE(tape.size(), size);
  EXPECT_EQ(to_string(grad(sum(detach(h)) + y, x).value()), "[3, 12]");
}

// --- memory ----------------------------------------------------------------------------------------------------------

std::size_t peak_of(const std::function<void()>& f) {
  const std::size_t before = memory_report().live;
  reset_peak_memory();
  f();
  return memory_report().peak - before;
}

TEST(Memory, AHessianIsOneHvpAndItsOwnElements) {
  Tape tape;
  const Mlp net(tape, 12, 10, 64, DType::f32);
  net.loss.value();
  const std::int64_t n = net.w1.numel();  // 120 rows
  const Var v = tape.leaf(Tensor::full(net.w1.shape(), 1));
  const auto in_step = [&](auto f) {
    f();  // lists that grow once
    return peak_of([&] {
      const Tape::Mark mark = tape.mark();
      f();
      tape.rewind(mark);
    });
  };
  const std::size_t hvp_peak = in_step([&] { hvp(net.loss, net.w1, v).value(); });
  const std::size_t hessian_peak = in_step([&] { hessian(net.loss, net.w1); });
  const std::size_t elements = static_cast<std::size_t>(n * n) * sizeof(float);
  std::cout << "hvp " << hvp_peak << " bytes; hessian " << hessian_peak << ", of which its elements " << elements
            << "\n";
  EXPECT_LE(hessian_peak, hvp_peak + elements + 16384);
}

TEST(Memory, AJacobianIsOneSweepAndItsOwnElements) {
  for (const std::int64_t columns : {2, 400}) {  // by columns, by rows
    Tape tape;
    const Var x = tape.leaf(normal({columns}, 1));
    const Var w = tape.leaf(normal({200, columns}, 2));
    Var y = matmul(w, reshape(x, {columns, 1}));
    for (int i = 0; i < 50; ++i) y = tanh(y);
    jacobian(y, x);
    const std::size_t nodes = tape.size();
    const std::size_t peak = peak_of([&] { jacobian(y, x); });
    EXPECT_LE(tape.size(), nodes + 2);
    // The rows together would be 200 (or 2) sweeps of some 150 nodes of 200 numbers.
    EXPECT_LE(peak, 200 * 8 * static_cast<std::size_t>(columns) + 400 * 200 * 8) << columns;
  }
}

TEST(Memory, InAStepTheFirstSweepIsReleasedToo) {
  Tape tape;
  const State w("w", normal({8, 8}, 1));
  const auto bytes = [&](bool keep) {
    std::size_t live = 0;
    tape.step([&] {
      Var h = tape.read(w);
      for (int i = 0; i < 20; ++i) h = tanh(matmul(h, tape.read(w)));
      const Var loss = sum(square(h));
      const auto total = [&] {
        std::size_t sum = 0;
        for (const auto& [op, n] : tape.memory_by_op()) sum += n;
        return sum;
      };
      loss.value();
      const std::size_t before = total();
      const Var d = hvp(loss, w, 1.0, {.keep = keep ? std::optional(true) : std::nullopt, .unused = {}});
      EXPECT_EQ(d.value().numel(), 64);
      live = total() - before;
    });
    return live;
  };
  EXPECT_LE(bytes(false), 4 * 64 * sizeof(double));
  EXPECT_GE(bytes(true), 40 * 64 * sizeof(double));
}

// --- states, steps, traces -------------------------------------------------------------------------------------------

TEST(Derivatives, TakeStates) {
  const State w("w", f64({1, 2}));
  const State idle("idle", f64({7}));
  Tape tape;
  tape.step([&] {
    const Var y = sum(tape.read(w) * square(tape.read(w)));
    EXPECT_EQ(to_string(hvp(y, w, 1.0).value()), "[6, 12]");
    EXPECT_EQ(to_string(hvp(y, {w, idle}, {tape.read(w), tape.read(idle)})[1].value()), "[0]");
    EXPECT_EQ(jvp(y, w, 1.0).item(), 15);
    EXPECT_EQ(to_string(jacobian(tape.read(w) * 2.0, w).value()), "[[2, 0],\n [0, 2]]");
    EXPECT_EQ(to_string(hessian(y, std::vector<State>{w, idle})[0][0].value()), "[[6, 0],\n [0, 12]]");
    EXPECT_EQ(hessian(y, std::vector<State>{w, idle})[0][1].shape(), (Shape{2, 1}));
  });
  EXPECT_EQ(w.version(), 0u);
}

TEST(Derivatives, AreRecordedInTraces) {
  Tape eager;
  Tape trace(Tape::Mode::trace);
  std::vector<Shape> shapes[2];
  for (Tape* tape : {&eager, &trace}) {
    const Mlp net(*tape);
    std::vector<Shape>& out = shapes[tape == &trace];
    out.push_back(jvp(net.out, net.w2, 1.0).shape());
    out.push_back(hvp(net.loss, net.w2, 1.0).shape());
    out.push_back(jacobian(net.out, net.w2).shape());
    out.push_back(hessian(net.loss, net.b).shape());
    EXPECT_EQ(grad(sum(hessian(net.loss, net.b, {.keep = true})), net.b).shape(), net.b.shape());
    verify(*tape);
  }
  EXPECT_EQ(shapes[0], shapes[1]);
}

TEST(Derivatives, UnusedInputsGiveWhatIsAskedFor) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}), "x");
  const Var idle = tape.leaf(f64({3}), "idle");
  const Var y = sum(square(x));
  EXPECT_EQ(to_string(jvp(y, idle, 1.0).value()), "0");
  EXPECT_EQ(to_string(jacobian(y, idle).value()), "[0]");
  EXPECT_EQ(to_string(hessian(y, {x, idle})[1][0].value()), "[[0, 0]]");
  EXPECT_FALSE(jvp(y, idle, 1.0, {.keep = {}, .unused = Unused::none}).alive());
  EXPECT_FALSE(jacobian(y, {x, idle}, {.unused = Unused::none})[1].alive());
  const std::vector<Vars> blocks = hessian(y, {x, idle}, {.unused = Unused::none});
  EXPECT_TRUE(blocks[0][0].alive());
  EXPECT_FALSE(blocks[0][1].alive());
  EXPECT_FALSE(blocks[1][0].alive());
  const SweepOptions error{.keep = {}, .unused = Unused::error};
  const std::string text =
      "grad: sum %3 does not depend on idle f64[1]. Leave it out, or ask for zeros with {.unused = Unused::zeros}.";
  EXPECT_EQ(thrown<UsageError>([&] { jvp(y, {idle}, 1.0, error); }), text + here(__LINE__));
  EXPECT_EQ(thrown<UsageError>([&] { hvp(y, {idle}, 1.0, error); }), text + here(__LINE__));
  EXPECT_EQ(thrown<UsageError>([&] { jacobian(y, {idle}, {.unused = Unused::error}); }), text + here(__LINE__));
  EXPECT_EQ(thrown<UsageError>([&] { hessian(y, {idle}, {.unused = Unused::error}); }), text + here(__LINE__));
}

TEST(Derivatives, RefuseWhatDoesNotFit) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2, 3}), "x");
  const Var v = tape.leaf(f64({1, 2}), "v");
  const Var n = tape.leaf(Tensor::of<std::int64_t>({3}, {1, 2, 3}), "n");
  const Var y = exp(x);
  const std::size_t size = tape.size();
  EXPECT_EQ(said<ShapeError>([&] { jvp(y, x, v); }),
            "jvp: the tangent of f64[3] (%0 \"x\") cannot be f64[2] (%1 \"v\").");
  EXPECT_EQ(said<ShapeError>([&] { hvp(sum(y), x, v); }),
            "hvp: the vector of f64[3] (%0 \"x\") cannot be f64[2] (%1 \"v\").");
  EXPECT_EQ(said<UsageError>([&] { hvp(y, x, x); }),
            "hvp: y must be a scalar to be differentiated, got f64[3] (%3 exp). Reduce it first, or use "
            "jacobian(y, wrt).");
  EXPECT_EQ(said<UsageError>([&] {
              jvp({y}, {x, v}, {x});
            }),
            "jvp: 1 tangent for 2 inputs. Give one for each, of its shape and dtype.");
  EXPECT_EQ(said<UsageError>([&] {
              hvp(sum(y), {x}, std::vector<Var>{x, x});
            }),
            "hvp: 2 vectors for 1 inputs. Give one for each, of its shape and dtype.");
  EXPECT_EQ(said<UsageError>([&] {
              pullback({y, y}, {x}, {x});
            }),
            "pullback: 1 cotangent for 2 results. Give one for each, of its shape and dtype.");
  EXPECT_EQ(thrown<UsageError>([&] { jvp(Vars(), {x}, {x}); }), "jvp: no y was given." + here(__LINE__));
  EXPECT_EQ(said<DTypeError>([&] { jvp(n, x, x); }), "jvp: y must be floating, got i64[3] (%2 \"n\").");
  EXPECT_EQ(said<DTypeError>([&] { jacobian(y, n); }),
            "grad: only floating tensors have gradients, got i64[3] (%2 \"n\").");
  const Var wide = reshape(x, {1, 1, 1, 1, 3});
  EXPECT_EQ(said<ShapeError>([&] { jacobian(wide * 2.0, wide); }),
            "jacobian: shapes [1, 1, 1, 1, 3] and [1, 1, 1, 1, 3] have more than 8 axes together. Reshape x or y to "
            "fewer.");
  EXPECT_LE(tape.size(), size + 10);
  verify(tape);
}

TEST(Derivatives, OneSweepOfSeveralResultsIsTheSumOfTheirs) {
  Tape tape;
  const Var x = tape.leaf(f64({1, 2}), "x");
  const Var y = tape.name(square(x), "y");
  const Var z = exp(y);
  const Var a = tape.leaf(f64({3, 4}));
  const Var b = tape.leaf(f64({5, 6}));
  const Var together = pullback({z, y, y}, {a, b, a}, {x})[0];
  const Tensor apart = (pullback(z, a, x) + pullback(y, b, x) + pullback(y, a, x)).value();
  expect_near(together.value(), apart, 1e-9);
  verify(tape);
}

}  // namespace
}  // namespace ebb
