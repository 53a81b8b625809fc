// The exact text of every error that the rows document: for elementwise rows as loops over the table, for others by
// name. After each, the tape is as it was.
#include <gtest/gtest.h>

#include "tests/support/thrown.h"
#include "tests/table/table.h"

namespace ebb::test {
namespace {

// The text without the place, which is checked once below.
template <class E>
std::string text_of(Tape& tape, const std::function<void()>& f) {
  const std::size_t size = tape.size();
  const std::string text = thrown<E>(f);
  EXPECT_EQ(tape.size(), size) << "the error left nodes behind";
  return text.substr(0, text.rfind(" ("));
}

// All operands of one dtype and shape, but for a condition.
std::vector<Operand> operands(Tape& tape, const Row& row, const Shape& shape, DType dtype) {
  std::vector<Operand> out;
  for (int k = 0; k < row.arity; ++k) {
    const bool condition = row.signature == Signature::select && k == 0;
    out.emplace_back(tape.leaf(Tensor::zeros(shape, condition ? DType::boolean : dtype)));
  }
  return out;
}

std::string inputs_text(const std::vector<Operand>& in) {
  std::string text;
  for (const Operand& x : in) {
    text += (text.empty() ? "; got " : ", ") + describe(x.var().value()) + " (%" + std::to_string(x.var().id()) + ")";
  }
  return text + ".";
}

bool takes(const Row& row, DType dtype) { return row.lanes[0]->by_dtype[static_cast<std::size_t>(dtype)] != nullptr; }

template <class F>
void for_each_elementwise(F f) {
  for (const Row* row : all_rows()) {
    if (!row->oracle) continue;
    SCOPED_TRACE(row->name);
    f(*row);
  }
}

TEST(Errors, ShapesThatDoNotBroadcast) {
  for_each_elementwise([](const Row& row) {
    if (row.arity < 2) return;
    Tape tape;
    const DType dtype = takes(row, DType::f32) ? DType::f32 : DType::boolean;
    auto in = operands(tape, row, {2, 3}, dtype);
    in.back() = tape.leaf(Tensor::zeros({4}, dtype));
    EXPECT_EQ(text_of<ShapeError>(tape, [&] { tape.record(row, in); }),
              std::string(row.name) + ": shapes [2, 3] and [4] do not broadcast" + inputs_text(in));
  });
}

TEST(Errors, DTypesThatDiffer) {
  for_each_elementwise([](const Row& row) {
    if (row.arity < 2) return;
    Tape tape;
    auto in = operands(tape, row, {2}, DType::f32);
    in.back() = tape.leaf(Tensor::zeros({2}, DType::f64));
    EXPECT_EQ(text_of<DTypeError>(tape, [&] { tape.record(row, in); }),
              std::string(row.name) + ": inputs are f32 and f64" + inputs_text(in) +
                  " Convert one with cast(x, DType::f32).");
  });
}

TEST(Errors, BoolWhereNumbersAreWanted) {
  for_each_elementwise([](const Row& row) {
    if (takes(row, DType::boolean)) return;
    Tape tape;
    const auto in = operands(tape, row, {2}, DType::boolean);
    const std::string what = takes(row, DType::i64)
                                 ? ": does not take bool" + inputs_text(in) + " Convert it with cast(x, DType::f32)."
                                 : ": needs a floating type, input " + std::to_string(row.arity - 1) + " is bool" +
                                       inputs_text(in) + " Convert it with cast(x, DType::f32).";
    EXPECT_EQ(text_of<DTypeError>(tape, [&] { tape.record(row, in); }), std::string(row.name) + what);
  });
}

TEST(Errors, IntegersWhereFloatsAreWanted) {
  for_each_elementwise([](const Row& row) {
    if (takes(row, DType::i64) || takes(row, DType::boolean)) return;
    Tape tape;
    const auto in = operands(tape, row, {2}, DType::i64);
    EXPECT_EQ(text_of<DTypeError>(tape, [&] { tape.record(row, in); }),
              std::string(row.name) + ": needs a floating type, input " + std::to_string(row.arity - 1) + " is i64" +
                  inputs_text(in) + " Convert it with cast(x, DType::f32).");
  });
}

TEST(Errors, NumbersWhereTruthIsWanted) {
  for_each_elementwise([](const Row& row) {
    if (!takes(row, DType::boolean) || takes(row, DType::f32)) return;
    Tape tape;
    const auto in = operands(tape, row, {2}, DType::f32);
    EXPECT_EQ(text_of<DTypeError>(tape, [&] { tape.record(row, in); }),
              std::string(row.name) + ": input 0 must be bool, not f32" + inputs_text(in) +
                  " Convert it with cast(x, DType::boolean).");
  });
}

struct Texts : testing::Test {
  Tape tape;
  Var x = tape.leaf(Tensor::zeros({3, 4}), "x");
  Var v = tape.leaf(Tensor::zeros({4}));
  Var i = tape.leaf(Tensor::zeros({3, 4}, DType::i64));
  Var b = tape.leaf(Tensor::zeros({3, 4}, DType::boolean));
  Var none = tape.leaf(Tensor::zeros({0, 4}));
  Var s = tape.leaf(Tensor::zeros({}));
  const std::string got_x = "; got f32[3, 4] (%0 \"x\").";

  template <class E, class F>
  void expect(F f, const std::string& text) {
    EXPECT_EQ(text_of<E>(tape, f), text);
  }
};

TEST_F(Texts, NamePlaceAndAdvice) {
  const int line = __LINE__ + 1;
  const std::string text = thrown<ShapeError>([&] { matmul(x, tape.leaf(Tensor::zeros({5, 4}), "fc.weight")); });
  EXPECT_EQ(text,
            "matmul: inner dimensions differ, a.shape[1] is 4 but b.shape[0] is 5; got f32[3, 4] (%0 \"x\"), f32[5, 4] "
            "(%6 \"fc.weight\"). Did you mean matmul(a, b, {.transpose_b = true})? (errors_test.cpp:" +
                std::to_string(line) + ")");
}

TEST_F(Texts, Where) {
  expect<DTypeError>([&] { where(x, x, x); },
                     "where: input 0 must be bool, not f32; got f32[3, 4] (%0 \"x\"), f32[3, 4] (%0 \"x\"), f32[3, 4] "
                     "(%0 \"x\"). Convert it with cast(x, DType::boolean).");
}

TEST_F(Texts, Activations) {
  const double nan = std::nan("");
  expect<UsageError>([&] { softplus(x, {.beta = 0}); }, "softplus: beta must be positive and finite, not 0" + got_x);
  expect<UsageError>([&] { softplus(x, {.threshold = nan}); }, "softplus: the threshold is no number" + got_x);
  expect<UsageError>([&] { clamp(x, {.min = nan}); }, "clamp: a bound is no number" + got_x);
  expect<UsageError>([&] { clamp(x, {}); }, "clamp: there is neither a min nor a max" + got_x);
  expect<UsageError>([&] { clamp(x, {.min = 2, .max = 1}); }, "clamp: max 1 is not at least min 2" + got_x);
}

TEST_F(Texts, Reductions) {
  struct Reduce {
    std::string name;
    std::function<Var(const Operand&, const Axes&)> f;
    Var x;
    std::string got;
  };
  const auto of = [&](const std::string& op, auto f) {
    return Reduce{op, [f](const Operand& a, const Axes& axes) { return f(a, axes); }, x, got_x};
  };
  const auto of_bool = [&](const std::string& op, auto f) {
    return Reduce{op, [f](const Operand& a, const Axes& axes) { return f(a, axes); }, b, "; got bool[3, 4] (%3)."};
  };
  const Reduce reductions[] = {
      of("sum", [](auto& a, auto& axes) { return sum(a, axes); }),
      of("mean", [](auto& a, auto& axes) { return mean(a, axes); }),
      of("prod", [](auto& a, auto& axes) { return prod(a, axes); }),
      of("max", [](auto& a, auto& axes) { return max(a, axes); }),
      of("min", [](auto& a, auto& axes) { return min(a, axes); }),
      of("argmax", [](auto& a, auto& axes) { return argmax(a, axes); }),
      of("argmin", [](auto& a, auto& axes) { return argmin(a, axes); }),
      of_bool("any", [](auto& a, auto& axes) { return any(a, axes); }),
      of_bool("all", [](auto& a, auto& axes) { return all(a, axes); }),
      of("var", [](auto& a, auto& axes) { return var(a, axes); }),
      of("std", [](auto& a, auto& axes) { return ebb::std(a, axes); }),
      of("norm", [](auto& a, auto& axes) { return norm(a, axes); }),
      of("logsumexp", [](auto& a, auto& axes) { return logsumexp(a, axes); }),
      of("log_softmax", [](auto& a, auto& axes) { return log_softmax(a, axes); }),
      of("softmax", [](auto& a, auto& axes) { return softmax(a, axes); }),
  };
  for (const Reduce& r : reductions) {
    const auto expect_text = [&](const Axes& axes, const std::string& what) {
      const std::string text = thrown<ShapeError>([&] { r.f(r.x, axes); });
      EXPECT_EQ(text.substr(0, text.rfind(" (")), r.name + what + r.got);
    };
    expect_text(2, ": axis 2 is outside of 2 axes");
    expect_text(-3, ": axis -3 is outside of 2 axes");
    expect_text({0, -2}, ": axis -2 is named twice");
  }
  expect<DTypeError>([&] { sum(b); },
                     "sum: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { max(b); },
                     "max: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { mean(i); },
                     "mean: needs a floating type, input 0 is i64; got i64[3, 4] (%2). Convert it with cast(x, "
                     "DType::f32).");
  expect<ShapeError>([&] { max(none, 0); }, "max: the largest of no elements does not exist; got f32[0, 4] (%4).");
  expect<ShapeError>([&] { argmin(none, 0); },
                     "argmin: the smallest of no elements does not exist; got f32[0, 4] (%4).");
  EXPECT_EQ(max(none, 1).shape(), (Shape{0}));
  expect<DTypeError>([&] { any(x); },
                     "any: input 0 must be bool, not f32" + got_x + " Convert it with cast(x, DType::boolean).");
  expect<ShapeError>(
      [&] { var(s); },
      "var: 1 element per result with a correction of 1 leaves nothing to divide by; got f32[] (%5). Use "
      "{.correction = 0} for the biased variance.");
  expect<ShapeError>([&] { ebb::std(none, 0); },
                     "std: 0 elements per result with a correction of 1 leave nothing to divide by; got f32[0, 4] "
                     "(%4). Use {.correction = 0} for the biased variance.");
  expect<UsageError>([&] { var(x, 0, {.correction = std::nan("")}); },
                     "var: the correction must be finite, it is nan" + got_x);
  expect<ShapeError>([&] { softmax(none, 0); },
                     "softmax: the softmax of no elements does not exist; got f32[0, 4] (%4).");
  expect<ShapeError>([&] { logsumexp(none, 0); },
                     "logsumexp: the logsumexp of no elements does not exist; got f32[0, 4] (%4).");
  const std::string integers =
      ": needs a floating type, input 0 is i64; got i64[3, 4] (%2). Convert it with cast(x, "
      "DType::f32).";
  expect<DTypeError>([&] { log_softmax(i); }, "log_softmax" + integers);
  expect<DTypeError>([&] { norm(i); }, "norm" + integers);
  expect<DTypeError>([&] { ebb::std(i); }, "std" + integers);
}

TEST_F(Texts, ScansAndOrder) {
  const std::string axes = " Axes run from -2 to 1.";
  expect<ShapeError>([&] { cumsum(x, 2); }, "cumsum: axis 2 is outside of 2 axes" + got_x + axes);
  expect<ShapeError>([&] { cumprod(x, -3); }, "cumprod: axis -3 is outside of 2 axes" + got_x + axes);
  expect<ShapeError>([&] { argsort(x, 2); }, "argsort: axis 2 is outside of 2 axes" + got_x + axes);
  expect<ShapeError>([&] { top_k(x, 2, 5); }, "top_k: axis 5 is outside of 2 axes" + got_x + axes);
  expect<DTypeError>([&] { cumsum(b, 0); },
                     "cumsum: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { argsort(b); },
                     "argsort: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { sort(b); },
                     "sort: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<ShapeError>([&] { sort(x, 2); }, "sort: axis 2 is outside of 2 axes" + got_x + axes);
  expect<ShapeError>([&] { shift(x, 2, 0); }, "shift: axis 2 is outside of 2 axes" + got_x + axes);
  expect<ShapeError>([&] { top_k(x, 5); }, "top_k: k is 5 but axis -1 has 4 elements" + got_x);
  expect<DTypeError>([&] { linear_recurrence(x, i, 0); },
                     "linear_recurrence: inputs are f32 and i64; got f32[3, 4] (%0 \"x\"), i64[3, 4] (%2). Convert one "
                     "with cast(x, DType::f32).");
  const Var w = tape.leaf(Tensor::zeros({5}));
  expect<ShapeError>([&] { linear_recurrence(x, w, 0); },
                     "linear_recurrence: shapes [3, 4] and [5] differ; got f32[3, 4] (%0 \"x\"), f32[5] (%6). Repeat "
                     "one with broadcast_to.");
  expect<ShapeError>([&] { iota(tape, -1); }, "iota: n must not be negative, it is -1.");
  expect<DTypeError>([&] { iota(tape, 3, DType::boolean); }, "iota: bool does not count.");
}

TEST_F(Texts, Random) {
  const Var key = tape.leaf(Tensor::zeros({}, DType::i64));
  expect<ShapeError>([&] { random_bits(key, i, {2}, 8); },
                     "random_bits: the counter must be a scalar; got i64[] (%6), i64[3, 4] (%2).");
  expect<DTypeError>([&] { random_bits(s, key, {2}, 8); },
                     "random_bits: input 0 must be i64, not f32; got f32[] (%5), i64[] (%6). Convert it with cast(x, "
                     "DType::i64).");
  expect<UsageError>([&] { random_bits(key, key, {2}, 64); },
                     "random_bits: bits must be in 1 .. 63, got 64; got i64[] (%6), i64[] (%6).");
  const Generator generator(1);
  expect<DTypeError>([&] { uniform(tape, generator, {2}, {.dtype = DType::i64}); },
                     "uniform: needs a floating type, not i64.");
  expect<UsageError>([&] { uniform(tape, generator, {2}, {.lo = 2, .hi = 1}); },
                     "uniform: lo must not exceed hi and both must be finite, got 2 and 1.");
  expect<UsageError>([&] { bernoulli(tape, generator, {2}, 1.5); }, "bernoulli: p must be in [0, 1], got 1.5.");
  expect<UsageError>([&] { uniform(tape, generator, {2}, {.lo = -3e38, .hi = 3e38}); },
                     "uniform: the range from -3e+38 to 3e+38 is too wide for f32.");
  expect<UsageError>([&] { normal(tape, generator, {2}, {.deviation = -1}); },
                     "normal: mean and deviation must be finite, the deviation not negative, got 0 and -1.");
}

TEST_F(Texts, Matmul) {
  expect<ShapeError>([&] { matmul(x, x); },
                     "matmul: inner dimensions differ, a.shape[1] is 4 but b.shape[0] is 3; got f32[3, 4] (%0 \"x\"), "
                     "f32[3, 4] (%0 \"x\"). Did you mean matmul(a, b, {.transpose_b = true})?");
  expect<ShapeError>([&] { matmul(x, v, {.transpose_a = true}); },
                     "matmul: inner dimensions differ, a.shape[0] is 3 but b.shape[0] is 4; got f32[3, 4] (%0 \"x\"), "
                     "f32[4] (%1).");
  expect<ShapeError>([&] { matmul(x, s); },
                     "matmul: a scalar is no matrix; got f32[3, 4] (%0 \"x\"), f32[] (%5). Use a * b.");
  expect<DTypeError>([&] { matmul(i, x); },
                     "matmul: needs a floating type, input 0 is i64; got i64[3, 4] (%2), f32[3, 4] (%0 \"x\"). Convert "
                     "it with cast(x, DType::f32).");
  const Var d = tape.leaf(Tensor::zeros({4, 2}, DType::f64));
  expect<DTypeError>([&] { matmul(x, d); },
                     "matmul: inputs are f32 and f64; got f32[3, 4] (%0 \"x\"), f64[4, 2] (%6). Convert one with "
                     "cast(x, DType::f32).");
  const Var p = tape.leaf(Tensor::zeros({2, 3, 4}));
  const Var q = tape.leaf(Tensor::zeros({5, 4, 3}));
  expect<ShapeError>([&] { matmul(p, q); },
                     "matmul: leading axes [2] and [5] do not broadcast; got f32[2, 3, 4] (%7), f32[5, 4, 3] (%8).");
}

TEST_F(Texts, Structure) {
  expect<ShapeError>(
      [&] {
        reshape(x, {5, 2});
      },
      "reshape: 12 elements do not fill shape [5, 2], which holds 10" + got_x);
  expect<ShapeError>(
      [&] {
        reshape(x, {5, -1});
      },
      "reshape: 12 elements do not fit shape=[5, -1]" + got_x +
          " One size may be -1, the others must divide the number of elements.");
  expect<ShapeError>(
      [&] {
        broadcast_to(x, Shape{3, 5});
      },
      "broadcast_to: [3, 4] does not broadcast to [3, 5]" + got_x);
  expect<ShapeError>([&] { transpose(x, 0, 2); },
                     "transpose: axis 2 is outside of 2 axes" + got_x + " Axes run from -2 to 1.");
}

TEST_F(Texts, Indexing) {
  const Var bad = tape.leaf(Tensor::of<std::int64_t>({1}, {5}), "bad");
  expect<UsageError>([&] { index_select(x, bad, 0); },
                     "gather: index 5 at [0, 0] is outside of axis 0, which has 3 elements; got f32[3, 4] (%0 \"x\"), "
                     "i64[1, 4] (%8). Indices run from 0 to 2.");
  expect<UsageError>([&] { one_hot(bad, 3); },
                     "scatter_add: index 5 at [0, 0] is outside of axis 1, which has 3 elements; got f32[1, 3] (%8), "
                     "i64[1, 1] (%11), f32[1, 1] (%10). Indices run from 0 to 2.");
  expect<UsageError>([&] { one_hot(bad, -1); },
                     "one_hot: the number of classes must not be negative, it is -1; got i64[1] (%6 \"bad\").");
  expect<DTypeError>([&] { one_hot(x, 3); },
                     "one_hot: input 0 must be i64, not f32" + got_x + " Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { one_hot(bad, 3, DType::boolean); },
                     "one_hot: does not give bool; got i64[1] (%6 \"bad\"). Compare instead: equal(unsqueeze(labels, "
                     "-1), iota(tape, classes)).");
  const Var deep = tape.leaf(Tensor::zeros({1, 1, 1, 1, 1, 1, 1, 1}, DType::i64));
  expect<ShapeError>([&] { one_hot(deep, 3); },
                     "one_hot: the result would have more than 8 axes; got i64[1, 1, 1, 1, 1, 1, 1, 1] (%7).");
  expect<ShapeError>([&] { index_select(x, deep, 0); },
                     "index_select: the result would have more than 8 axes; got f32[3, 4] (%0 \"x\"), i64[1, 1, 1, 1, "
                     "1, 1, 1, 1] (%7).");
}

TEST_F(Texts, SizesThatOverflow) {
  const std::int64_t most = std::numeric_limits<std::int64_t>::max();
  const std::string past = ": an axis would have more than 2^63 - 1 elements" + got_x;
  expect<ShapeError>([&] { pad(x, {most, 0}, {most, 0}); }, "pad" + past);
  expect<ShapeError>([&] { pad(x, {0, 0}, {0, 0}, {.interior = {0, most}}); }, "pad" + past);
  expect<ShapeError>([&] { split(x, {most, most, 6}, 1); }, "split" + past);
  expect<ShapeError>([&] { repeat(x, most, 0); }, "repeat" + past);
  expect<ShapeError>(
      [&] {
        tile(v, {1, 1, 1, 1, 1, 1, 1, 1, 1});
      },
      "tile: 9 reps make more than 8 axes; got f32[4] (%1).");
  EXPECT_EQ(tril(x, std::numeric_limits<std::int64_t>::min()).shape(), x.shape());
  EXPECT_EQ(triu(x, most).shape(), x.shape());
}

TEST_F(Texts, ValuesThatADTypeDoesNotHold) {
  expect<DTypeError>(
      [&] {
        pad(i, {1, 0}, {0, 0}, {.value = 0.5});
      },
      "pad: the value 0.5 is no i64; got i64[3, 4] (%2).");
  expect<DTypeError>(
      [&] {
        pad(b, {1, 0}, {0, 0}, {.value = 3});
      },
      "pad: the value 3 is no bool; got bool[3, 4] (%3).");
}

TEST_F(Texts, Gradients) {
  const Var y = mul(x, x);
  const Var total = sum(x);
  const Var count = sum(cast(less(x, v), DType::f32));
  const Var wide = tape.leaf(Tensor::zeros({7, 1, 4}));
  expect<UsageError>([&] { grad(y, x); },
                     "grad: y must be a scalar to be differentiated, got f32[3, 4] (%6 mul). Reduce it first, or use "
                     "pullback(y, cotangent, wrt).");
  expect<DTypeError>([&] { grad(total, i); }, "grad: only floating tensors have gradients, got i64[3, 4] (%2 leaf).");
  expect<UsageError>([&] { grad(count, x); },
                     "grad: sum %10 depends on x only through an op without a derivative: a comparison is constant but "
                     "for jumps.");
  expect<ShapeError>([&] { pullback(y, wide, x); },
                     "pullback: the cotangent of f32[3, 4] (%6 mul) cannot be f32[7, 1, 4] (%11 leaf).");
}

TEST(Errors, RowsThatAreNotWhole) {
  Row row = *find_row("argsort");
  row.name = "half";
  row.type = nullptr;
  row.kernel = nullptr;
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3}), "x");
  EXPECT_EQ(text_of<UsageError>(tape, [&] { tape.record(row, {x}); }),
            "half: the row has no type rule; got f32[3] (%0 \"x\"). Give it Row::type, or make it with own_row.");
  row.type = [](const Call& call) { return TensorType{call.shape(0), call.dtype(0)}; };
  EXPECT_EQ(text_of<UsageError>(tape, [&] { tape.record(row, {x}); }),
            "half: the row has no kernel; got f32[3] (%0 \"x\"). Give it Row::kernel, or make it with own_row.");
}

TEST(Literals, AreNumbersInErrors) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3}), "x");
  EXPECT_EQ(
      text_of<DTypeError>(tape, [&] { where(x, 1.5, x); }),
      "where: input 0 must be bool, not f32; got f32[3] (%0 \"x\"), the literal 1.5, f32[3] (%0 \"x\"). Convert it "
      "with cast(x, DType::boolean).");
}

TEST(Literals, DoNotStandAlone) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3}), "x");
  const std::string_view text = "the literal 2 stands where a Var is needed. Record it: tape.constant(2, DType::f32).";
  EXPECT_EQ(text_of<UsageError>(tape, [&] { matmul(x, 2); }), text);
  EXPECT_EQ(text_of<UsageError>(tape, [&] { sum(2.0); }), text);
  EXPECT_EQ(text_of<UsageError>(tape, [&] { exp(2); }), text);
}

TEST(Literals, ThatLoseDigitsAreRefused) {
  Tape tape;
  const Var n = tape.leaf(Tensor::of<std::int64_t>({}, {1}), "n");
  const std::int64_t large = (std::int64_t{1} << 53) + 1;
  EXPECT_EQ(text_of<DTypeError>(tape, [&] { n + large; }),
            "add: an integer literal past 2^53 would lose digits, got about 9.0072e+15. Make it a tensor: "
            "tape.leaf(Tensor::of<std::int64_t>({}, {n})).");
  EXPECT_EQ((n + (large - 1)).value().data<std::int64_t>()[0], large);
  EXPECT_EQ((n + tape.leaf(Tensor::of<std::int64_t>({}, {large}))).value().data<std::int64_t>()[0], large + 1);
}

}  // namespace
}  // namespace ebb::test
