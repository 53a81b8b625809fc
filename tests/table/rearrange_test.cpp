// Compositions that rearrange: their conventions, the derivatives of each by gradcheck, and the exact texts of their
// errors, after which the tape is as it was.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using I = std::vector<std::int64_t>;

I values(const Var& x) {
  const auto data = x.value().data<std::int64_t>();
  return {data.begin(), data.end()};
}

Tensor iota(const Shape& shape) {
  I list(static_cast<std::size_t>(shape.numel()));
  std::iota(list.begin(), list.end(), 0);
  return Tensor::from(shape, std::span<const std::int64_t>(list));
}

struct Rearrange : testing::Test {
  Tape tape;
  Var x = tape.leaf(iota({2, 3}), "x");
  Var line = tape.leaf(iota({5}));
  const std::string got_x = "; got i64[2, 3] (%0 \"x\").";

  template <class E, class F>
  void expect_error(F f, const std::string& text) {
    const std::size_t size = tape.size();
    const std::string what = test::thrown<E>(f);
    EXPECT_EQ(what.substr(0, what.rfind(" (")), text);
    EXPECT_EQ(tape.size(), size) << "the error left nodes behind";
  }
};

TEST_F(Rearrange, AxesOfSizeOneComeAndGo) {
  EXPECT_EQ(unsqueeze(x, 0).shape(), (Shape{1, 2, 3}));
  EXPECT_EQ(unsqueeze(x, -1).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(unsqueeze(x, 2).shape(), (Shape{2, 3, 1}));
  EXPECT_EQ(squeeze(unsqueeze(x, 1), -2).shape(), (Shape{2, 3}));
  EXPECT_TRUE(unsqueeze(x, 1).value().shares_buffer_with(x.value()));
}

TEST_F(Rearrange, FlattenMergesAxes) {
  const Var y = tape.leaf(iota({2, 3, 4}));
  EXPECT_EQ(flatten(y).shape(), (Shape{24}));
  EXPECT_EQ(flatten(y, 1).shape(), (Shape{2, 12}));
  EXPECT_EQ(flatten(y, 0, -2).shape(), (Shape{6, 4}));
  EXPECT_EQ(flatten(tape.leaf(Tensor::zeros({}))).shape(), (Shape{1}));
}

TEST_F(Rearrange, SelectCountsFromEitherEnd) {
  EXPECT_EQ(values(select(x, 0, 1)), (I{3, 4, 5}));
  EXPECT_EQ(values(select(x, -1, -3)), (I{0, 3}));
}

TEST_F(Rearrange, StackAddsAnAxisAnywhere) {
  EXPECT_EQ(values(stack({line, line}, 0)), (I{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}));
  EXPECT_EQ(values(stack({line, line}, -1)), (I{0, 0, 1, 1, 2, 2, 3, 3, 4, 4}));
  EXPECT_EQ(stack({x, x, x}, 1).shape(), (Shape{2, 3, 3}));
}

TEST_F(Rearrange, SplitAndChunkAreUndoneByConcat) {
  const Vars parts = split(line, {1, 0, 4});
  EXPECT_EQ(values(parts[0]), (I{0}));
  EXPECT_EQ(parts[1].shape(), (Shape{0}));
  EXPECT_EQ(values(parts[2]), (I{1, 2, 3, 4}));
  const Vars thirds = chunk(line, 3);
  EXPECT_EQ(values(thirds[0]), (I{0, 1}));
  EXPECT_EQ(values(thirds[2]), (I{4}));
  EXPECT_EQ(values(concat(std::vector<Operand>(thirds.begin(), thirds.end()), 0)), values(line));
  EXPECT_EQ(chunk(x, 5, 0)[4].shape(), (Shape{0, 3}));
}

TEST_F(Rearrange, TileAndRepeat) {
  const Var two = tape.leaf(iota({2}));
  EXPECT_EQ(values(tile(two, {3})), (I{0, 1, 0, 1, 0, 1}));
  EXPECT_EQ(values(repeat(two, 3, 0)), (I{0, 0, 0, 1, 1, 1}));
  EXPECT_EQ(tile(two, {2, 1, 2}).shape(), (Shape{2, 1, 4}));
  EXPECT_EQ(values(tile(x, {2})), (I{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}));
  EXPECT_EQ(values(repeat(x, 2, 0)), (I{0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4, 5}));
  EXPECT_EQ(tile(x, {0, 2}).shape(), (Shape{0, 6}));
  EXPECT_EQ(repeat(tape.leaf(iota({2, 0})), 3, 0).shape(), (Shape{6, 0}));
  EXPECT_EQ(tile(tape.leaf(Tensor::zeros({1, 1, 1, 1, 1, 1, 1, 2})), {1, 2, 1, 2, 1, 2, 1, 2}).numel(), 32);
}

TEST_F(Rearrange, RollComesBackAtTheOtherEnd) {
  EXPECT_EQ(values(roll(line, {2}, {0})), (I{3, 4, 0, 1, 2}));
  EXPECT_EQ(values(roll(line, {-1}, {0})), (I{1, 2, 3, 4, 0}));
  EXPECT_EQ(values(roll(line, {12}, {0})), (I{3, 4, 0, 1, 2}));
  EXPECT_EQ(values(roll(x, {1, 1}, {0, -1})), (I{5, 3, 4, 2, 0, 1}));
  EXPECT_EQ(roll(tape.leaf(iota({0})), {1}, {0}).shape(), (Shape{0}));
}

TEST_F(Rearrange, Triangles) {
  EXPECT_EQ(values(tril(x + 1)), (I{1, 0, 0, 4, 5, 0}));
  EXPECT_EQ(values(tril(x + 1, 1)), (I{1, 2, 0, 4, 5, 6}));
  EXPECT_EQ(values(triu(x + 1)), (I{1, 2, 3, 0, 5, 6}));
  EXPECT_EQ(values(triu(x + 1, -1)), values(x + 1));
  EXPECT_EQ(tril(tape.leaf(Tensor::zeros({2, 0, 3}))).shape(), (Shape{2, 0, 3}));
  expect_error<ShapeError>([&] { tril(line); }, "tril: a triangle needs two axes; got i64[5] (%1).");
}

TEST_F(Rearrange, FlipReadsBackwards) {
  EXPECT_EQ(values(flip(x, {-1})), (I{2, 1, 0, 5, 4, 3}));
  EXPECT_EQ(values(flip(x, {0, 1})), (I{5, 4, 3, 2, 1, 0}));
}

TEST_F(Rearrange, PadsReflectAndReplicate) {
  EXPECT_EQ(values(pad(line, {2}, {3}, {.mode = PadMode::reflect})), (I{2, 1, 0, 1, 2, 3, 4, 3, 2, 1}));
  EXPECT_EQ(values(pad(line, {2}, {1}, {.mode = PadMode::replicate})), (I{0, 0, 0, 1, 2, 3, 4, 4}));
  EXPECT_EQ(values(pad(x, {1, 0}, {0, 1}, {.mode = PadMode::reflect})), (I{3, 4, 5, 4, 0, 1, 2, 1, 3, 4, 5, 4}));
  EXPECT_EQ(pad(tape.leaf(iota({0, 2})), {0, 1}, {0, 1}, {.mode = PadMode::reflect}).shape(), (Shape{0, 4}));
}

TEST_F(Rearrange, IndexSelectTakesIndicesOfAnyShape) {
  const Var index = tape.leaf(Tensor::of<std::int64_t>({2, 2}, {2, 0, 2, 1}));
  EXPECT_EQ(values(index_select(line, index, 0)), (I{2, 0, 2, 1}));
  const Var y = index_select(x, index, -1);
  EXPECT_EQ(y.shape(), (Shape{2, 2, 2}));
  EXPECT_EQ(values(y), (I{2, 0, 2, 1, 5, 3, 5, 4}));
  EXPECT_EQ(values(index_select(x, tape.leaf(Tensor::of<std::int64_t>({}, {1})), 0)), (I{3, 4, 5}));
  EXPECT_EQ(index_select(x, tape.leaf(Tensor::zeros({0}, DType::i64)), 0).shape(), (Shape{0, 3}));
}

// A table of rows, looked up and differentiated, at a size where threads share the work; the index and the zeros are
// never written out.
TEST_F(Rearrange, RepeatedRowsAddUpAlikeForAnyNumberOfThreads) {
  const int before = threads();
  Tensor first;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    Tape own;
    Tensor rows = Tensor::zeros({50, 300});
    for (std::size_t i = 0; i < 15000; ++i) rows.mutable_data<float>()[i] = 1.0F / static_cast<float>(i % 1013 + 1);
    I list(4000);
    for (std::size_t i = 0; i < list.size(); ++i) list[i] = static_cast<std::int64_t>(i * i % 47);
    const Var table = own.leaf(rows);
    const Var found = index_select(table, own.leaf(Tensor::from<std::int64_t>({4000}, list)), 0);
    for (const std::int64_t i : {0, 46, 3999}) {
      EXPECT_EQ(found.value().at(i * 300 + 7), rows.at(list[static_cast<std::size_t>(i)] * 300 + 7));
    }
    const Tensor slope = grad(sum(square(found)), table).value();
    if (n == 1) first = slope;
    EXPECT_TRUE(identical(first, slope)) << n << " threads";
    EXPECT_EQ(own.memory_by_op()["broadcast_to"], 0U);
  }
  set_threads(before);
}

TEST_F(Rearrange, DerivativesAreRight) {
  const Tensor a = Tensor::of<double>({2, 3, 2}, {1, -2, 3, 0.5, 0.25, -1, 2, 4, -3, 1.5, 0.125, 2.5});
  const Tensor index = Tensor::of<std::int64_t>({5}, {2, 0, 2, 2, 1});
  using Function = std::function<Var(const Var&)>;
  const std::vector<std::pair<std::string, Function>> cases{
      {"select", [](const Var& v) { return select(v, 1, -1); }},
      {"stack",
       [](const Var& v) {
         return stack({v, square(v), v}, 1);
       }},
      {"split",
       [](const Var& v) {
         return split(v, {1, 2}, 1)[1] * 2.0;
       }},
      {"triu", [](const Var& v) { return triu(v, 1); }},
      {"tile",
       [](const Var& v) {
         return tile(v, {2, 1, 3});
       }},
      {"repeat", [](const Var& v) { return repeat(v, 3, 1); }},
      {"roll",
       [](const Var& v) {
         return roll(v, {1, -1}, {1, 2});
       }},
      {"reflect",
       [](const Var& v) {
         return pad(v, {0, 2, 1}, {1, 1, 0}, {.mode = PadMode::reflect});
       }},
      {"replicate",
       [](const Var& v) {
         return pad(v, {0, 2, 1}, {1, 1, 0}, {.mode = PadMode::replicate});
       }},
      {"index_select", [&](const Var& v) { return index_select(v, v.tape().leaf(index), 1); }},
      {"layer_norm", [](const Var& v) { return layer_norm(v, {}, {}, {.normalized_ndim = 2}); }},
  };
  for (const auto& entry : cases) {
    SCOPED_TRACE(entry.first);
    const Function& f = entry.second;
    const auto program = [&](std::span<const Var> in) { return Vars{f(in[0]) * tanh(f(in[0]))}; };
    const GradcheckReport report = gradcheck_function(program, std::vector<Tensor>{a});
    EXPECT_TRUE(report.passed()) << report.text();
  }
}

TEST_F(Rearrange, LayerNormNormalisesEachSample) {
  const Var v = tape.leaf(Tensor::of<double>({2, 2}, {1, 3, 10, 30}));
  const Var gamma = tape.leaf(Tensor::of<double>({2}, {1, 2}));
  const Tensor out = layer_norm(v, gamma, {}, {.eps = 0}).value();
  for (const std::int64_t i : {0, 2}) {
    EXPECT_DOUBLE_EQ(out.at(i), -1);
    EXPECT_DOUBLE_EQ(out.at(i + 1), 2);
  }
  const Var single =
      layer_norm(tape.leaf(Tensor::of<double>({1, 1}, {5})), {}, tape.leaf(Tensor::full({1}, 3, DType::f64)));
  EXPECT_EQ(single.item(), 3);
}

TEST_F(Rearrange, ErrorsBearTheFunctionsName) {
  expect_error<ShapeError>([&] { squeeze(x, 1); }, "squeeze: axis 1 has size 3, only an axis of size 1 can be dropped" +
                                                       got_x + " Use select for one of its slices.");
  expect_error<ShapeError>([&] { squeeze(x, 2); },
                           "squeeze: axis 2 is outside of 2 axes" + got_x + " Axes run from -2 to 1.");
  expect_error<ShapeError>([&] { unsqueeze(x, 3); },
                           "unsqueeze: the result has no axis 3" + got_x + " Its axes run from -3 to 2.");
  expect_error<ShapeError>([&] { flatten(x, 1, 0); }, "flatten: axis 1 comes after axis 0" + got_x);
  expect_error<UsageError>([&] { select(x, 1, 3); }, "select: index 3 is outside of axis 1, which has 3 elements" +
                                                         got_x + " Indices run from -3 to 2.");
  expect_error<ShapeError>([&] { stack(std::span<const Operand>()); },
                           "stack: there is nothing to stack. Give at least one Var.");
  expect_error<ShapeError>(
      [&] {
        stack({x, line});
      },
      "stack: shapes [2, 3] and [5] differ; got i64[2, 3] (%0 \"x\"), i64[5] (%1).");
  expect_error<ShapeError>(
      [&] {
        split(x, {1, 1}, 1);
      },
      "split: the pieces have 2 elements of axis 1, which has 3" + got_x);
  expect_error<ShapeError>([&] { split(x, {4, -1}, 1); }, "split: a piece cannot have size -1" + got_x);
  expect_error<UsageError>([&] { chunk(x, 0); }, "chunk: 0 pieces cannot be cut" + got_x);
  expect_error<UsageError>([&] { tile(x, {-1}); }, "tile: -1 copies cannot be made" + got_x);
  expect_error<UsageError>([&] { repeat(x, -1, 0); }, "repeat: elements cannot stand -1 times" + got_x);
  expect_error<UsageError>([&] { roll(x, {1, 2}, {0}); }, "roll: 2 shifts for 1 axes" + got_x + " Give one per axis.");
  expect_error<ShapeError>(
      [&] {
        roll(x, {1, 1}, {0, 2});
      },
      "roll: axis 2 is outside of 2 axes" + got_x + " Axes run from -2 to 1.");
  expect_error<ShapeError>([&] { flip(x, {1, -1}); }, "flip: axis 1 is named twice" + got_x);
  expect_error<ShapeError>(
      [&] {
        pad(x, {0, 3}, {0, 0}, {.mode = PadMode::reflect});
      },
      "pad: axis 1 has 3 elements, which cannot be reflected 3 times" + got_x +
          " An axis reflects one element fewer than it has.");
  expect_error<UsageError>(
      [&] {
        pad(x, {0, 1}, {0, 0}, {.mode = PadMode::replicate, .interior = {1, 1}});
      },
      "pad: only a constant can be put between elements" + got_x + " Leave out interior, or mode.");
  const Var reals = tape.leaf(Tensor::zeros({2}));
  expect_error<DTypeError>([&] { index_select(line, reals, 0); },
                           "index_select: input 1 must be i64, not f32; got i64[5] (%1), f32[2] (%2). Convert it with "
                           "cast(x, DType::i64).");
}

TEST_F(Rearrange, LayerNormNamesWhatDoesNotFit) {
  const Var v = tape.leaf(Tensor::zeros({2, 4}));
  expect_error<ShapeError>([&] { layer_norm(v, v); },
                           "layer_norm: gamma must be [4], the trailing axes of x, not [2, 4]; got f32[2, 4] (%2), "
                           "f32[2, 4] (%2).");
  expect_error<ShapeError>([&] { layer_norm(v, {}, {}, {.normalized_ndim = 3}); },
                           "layer_norm: normalized_ndim is 3, x has 2 axes; got f32[2, 4] (%2).");
  expect_error<UsageError>([&] { layer_norm(v, {}, {}, {.eps = -1}); },
                           "layer_norm: eps must be >= 0 and finite, got -1; got f32[2, 4] (%2).");
  expect_error<DTypeError>([&] { layer_norm(x); }, "layer_norm: needs a floating type, input 0 is i64" + got_x +
                                                       " Convert it with cast(x, DType::f32).");
}

}  // namespace
}  // namespace ebb
