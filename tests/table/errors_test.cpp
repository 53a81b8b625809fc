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
  expect<UsageError>([&] { softplus(x, {.beta = 0}); }, "softplus: beta must be positive, not 0" + got_x);
  expect<UsageError>([&] { clamp(x, {}); }, "clamp: there is neither a min nor a max" + got_x);
  expect<UsageError>([&] { clamp(x, {.min = 2, .max = 1}); }, "clamp: max 1 is not at least min 2" + got_x);
}

TEST_F(Texts, Reductions) {
  struct Reduce {
    std::string name;
    Var (*f)(const Operand&, const Axes&, bool);
  };
  for (const Reduce& r : {Reduce{"sum", sum}, Reduce{"mean", mean}, Reduce{"max", max}}) {
    expect<ShapeError>([&] { r.f(x, 2, false); }, r.name + ": axis 2 is outside of 2 axes" + got_x);
    expect<ShapeError>([&] { r.f(x, -3, false); }, r.name + ": axis -3 is outside of 2 axes" + got_x);
    expect<ShapeError>([&] { r.f(x, {0, -2}, false); }, r.name + ": axis -2 is named twice" + got_x);
  }
  expect<DTypeError>([&] { sum(b); },
                     "sum: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { max(b); },
                     "max: does not take bool; got bool[3, 4] (%3). Convert it with cast(x, DType::i64).");
  expect<DTypeError>([&] { mean(i); },
                     "mean: needs a floating type, input 0 is i64; got i64[3, 4] (%2). Convert it with cast(x, "
                     "DType::f32).");
  expect<ShapeError>([&] { max(none, 0); }, "max: the largest of no elements does not exist; got f32[0, 4] (%4).");
  EXPECT_EQ(max(none, 1).shape(), (Shape{0}));
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
                     "permute: axis 2 is outside of 2 axes" + got_x + " Axes run from -2 to 1.");
  expect<ShapeError>([&] { log_softmax(x, 2); }, "max: axis 2 is outside of 2 axes" + got_x);
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

}  // namespace
}  // namespace ebb::test
