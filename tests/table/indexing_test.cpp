// Gather, scatter_add, slice, pad, concat and permute: what the loops over the rows cannot say, which is conventions,
// threads and the texts of errors.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

template <class T>
std::vector<T> values(const Var& x) {
  const auto data = x.value().data<T>();
  return {data.begin(), data.end()};
}
using I = std::vector<std::int64_t>;

Tensor iota(const Shape& shape) {
  std::vector<std::int64_t> list(static_cast<std::size_t>(shape.numel()));
  std::iota(list.begin(), list.end(), 0);
  return Tensor::from(shape, std::span<const std::int64_t>(list));
}

template <class E, class F>
void expect_error(F&& f, const std::string& text) {
  const std::string what = test::thrown<E>(f);
  EXPECT_EQ(what.substr(0, what.rfind(" (")), text);
}

TEST(Indexing, SliceCountsFromTheEndAndClips) {
  Tape tape;
  const Var x = tape.leaf(iota({3, 4}));
  EXPECT_EQ(values<std::int64_t>(slice(x, {0, 1}, {3, 4}, {2, 2})), (I{1, 3, 9, 11}));
  EXPECT_EQ(values<std::int64_t>(slice(x, {-1, -3}, {99, -1})), (I{9, 10}));
  EXPECT_EQ(slice(x, {2, 0}, {1, 4}).shape(), (Shape{0, 4}));
  EXPECT_EQ(values<std::int64_t>(slice_axis(x, -1, 3, 4)), (I{3, 7, 11}));
}

TEST(Indexing, PadFillsAroundAndBetween) {
  Tape tape;
  const Var x = tape.leaf(iota({2, 2}));
  const Var y = pad(x, {1, 0}, {0, 1}, {.value = 7, .interior = {0, 1}});
  EXPECT_EQ(y.shape(), (Shape{3, 4}));
  EXPECT_EQ(values<std::int64_t>(y), (I{7, 7, 7, 7, 0, 7, 1, 7, 2, 7, 3, 7}));
}

TEST(Indexing, GatherAndScatterAdd) {
  Tape tape;
  const Var x = tape.leaf(iota({3, 2}));
  const Var index = tape.leaf(Tensor::of<std::int64_t>({4, 1}, {2, 0, 2, 1}));
  EXPECT_EQ(values<std::int64_t>(gather(x, index, 0)), (I{4, 0, 4, 2}));
  const Var ones = tape.leaf(Tensor::full({4, 1}, 1, DType::i64));
  EXPECT_EQ(values<std::int64_t>(scatter_add(x, index, ones, 0)), (I{1, 1, 3, 3, 6, 5}));
}

TEST(Indexing, OneHotAddsALastAxis) {
  Tape tape;
  const Var labels = tape.leaf(Tensor::of<std::int64_t>({2, 1}, {2, 0}));
  EXPECT_TRUE(identical(one_hot(labels, 3).value(), Tensor::of<float>({2, 1, 3}, {0, 0, 1, 1, 0, 0})));
  const Var label = tape.leaf(Tensor::of<std::int64_t>({}, {1}));
  EXPECT_TRUE(identical(one_hot(label, 2, DType::i64).value(), Tensor::of<std::int64_t>({2}, {0, 1})));
}

TEST(Indexing, PermuteAndTranspose) {
  Tape tape;
  const Var x = tape.leaf(iota({2, 3}));
  EXPECT_EQ(values<std::int64_t>(transpose(x, 0, -1)), (I{0, 3, 1, 4, 2, 5}));
  const Var big = tape.leaf(iota({3, 37, 41, 5}));
  const Var back = permute(permute(big, {3, 1, 0, 2}), {2, 1, 3, 0});
  EXPECT_TRUE(identical(back.value(), big.value()));
}

TEST(Indexing, ThreadsDoNotChangeABit) {
  const int before = threads();
  Tensor first;
  for (const int n : {1, 2, 3, 7}) {
    set_threads(n);
    Tape tape;
    std::vector<float> src(900 * 700);
    std::vector<std::int64_t> index(src.size());
    for (std::size_t i = 0; i < src.size(); ++i) {
      src[i] = 1.0f / static_cast<float>(i % 1013 + 1);
      index[i] = static_cast<std::int64_t>(i * 7919 % 5);
    }
    const Var x = tape.leaf(Tensor::zeros({5, 700}));
    const Var out = scatter_add(x, tape.leaf(Tensor::from<std::int64_t>({900, 700}, index)),
                                tape.leaf(Tensor::from<float>({900, 700}, src)), 0);
    if (n == 1) first = out.value();
    EXPECT_TRUE(identical(first, out.value())) << n;
  }
  set_threads(before);
}

TEST(Indexing, BadIndicesAreNamed) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3, 2}), "x");
  const auto with = [&](std::int64_t a, std::int64_t b) {
    return tape.leaf(Tensor::of<std::int64_t>({2, 2}, {0, a, b, 1}));
  };
  expect_error<UsageError>([&] { gather(x, with(1, 3), 0); },
                           "gather: index 3 at [1, 0] is outside of axis 0, which has 3 elements; got f32[3, 2] (%0 "
                           "\"x\"), i64[2, 2] (%1). Indices run from 0 to 2.");
  const std::size_t size = tape.size() + 1;
  expect_error<UsageError>([&] { gather(x, with(-1, 9), 0); },
                           "gather: index -1 at [0, 1] is outside of axis 0, which has 3 elements; got f32[3, 2] (%0 "
                           "\"x\"), i64[2, 2] (%2). Indices count from 0 and do not wrap.");
  EXPECT_EQ(tape.size(), size);  // the leaf, and nothing of the gather
  const Var index = with(1, 2);
  expect_error<UsageError>(
      [&] {
        scatter_add(x, index, tape.leaf(Tensor::zeros({2, 2})), 1);
      },
      "scatter_add: index 2 at [1, 0] is outside of axis 1, which has 2 elements; got f32[3, 2] "
      "(%0 \"x\"), i64[2, 2] (%3), f32[2, 2] (%4). Indices run from 0 to 1.");
  expect_error<DTypeError>([&] { gather(x, x, 0); },
                           "gather: input 1 must be i64, not f32; got f32[3, 2] (%0 \"x\"), f32[3, 2] (%0 \"x\"). "
                           "Convert it with cast(x, DType::i64).");
  expect_error<ShapeError>([&] { gather(x, tape.leaf(iota({3})), 0); },
                           "gather: index has 1 axes but x has 2; got f32[3, 2] (%0 \"x\"), i64[3] (%5). Give the "
                           "index x's number of axes with reshape.");
  expect_error<ShapeError>([&] { gather(x, index, 2); },
                           "gather: axis 2 is outside of 2 axes; got f32[3, 2] (%0 \"x\"), i64[2, 2] (%3). Axes run "
                           "from -2 to 1.");
  expect_error<ShapeError>(
      [&] {
        gather(x, tape.leaf(iota({4, 1})), 1);
      },
      "gather: index.shape[0] is 4 but x.shape[0] is 3; got f32[3, 2] (%0 \"x\"), i64[4, 1] (%6). "
      "Only along the axis may the index be longer than x.");
}

TEST(Indexing, BadBoxesAreNamed) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({3, 2}), "x");
  expect_error<ShapeError>([&] { slice(x, {0}, {1}); },
                           "slice: 1 starts for 2 axes; got f32[3, 2] (%0 \"x\"). Give one per axis.");
  expect_error<ShapeError>(
      [&] {
        slice(x, {0, 0}, {1, 1}, {1, 0});
      },
      "slice: steps must be 1 or more, that of axis 1 is 0; got f32[3, 2] (%0 \"x\").");
  expect_error<ShapeError>(
      [&] {
        pad(x, {0, -1}, {0, 0});
      },
      "pad: low of axis 1 is -1; got f32[3, 2] (%0 \"x\"). Cut with slice; a pad only adds.");
  expect_error<ShapeError>(
      [&] {
        permute(x, {0, 0});
      },
      "permute: dims=[0, 0] does not name each of 2 axes once; got f32[3, 2] (%0 \"x\").");
  expect_error<ShapeError>(
      [&] {
        concat({x, tape.leaf(Tensor::zeros({3, 3}))}, 0);
      },
      "concat: input 1 is [3, 3], input 0 is [3, 2]: they differ not only on axis 0; got f32[3, 2] "
      "(%0 \"x\"), f32[3, 3] (%1).");
}

TEST(Indexing, AGradientThroughAnIndexIsAnError) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<double>({3}, {1, 2, 3}), "x");
  const Var index = cast(x - 1.0, DType::i64);
  const Var y = sum(gather(tape.leaf(Tensor::zeros({3}, DType::f64)), index, 0));
  EXPECT_THROW(grad(y, x), UsageError);
}

}  // namespace
}  // namespace ebb
