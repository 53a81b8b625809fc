// The open loop seen from outside: what waits, what is never computed, and that nobody can tell the difference.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "tests/support/thrown.h"
#include "tests/support/wave.h"

namespace ebb {
namespace {

using test::thrown;

constexpr std::int64_t kSize = 1 << 16;  // far above what makes a loop worth while
constexpr std::size_t kBytes = kSize * sizeof(float);

Tensor wave(std::int64_t n = kSize) { return test::wave({n}); }

Presence presence(const Var& v) { return v.tape().node(v.id()).presence; }

TEST(Loop, WaitsUntilAValueIsAskedFor) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = x * 2.0;
  const Var b = a + x;
  const Var total = sum(b);
  for (const Var& v : {a, b, total}) EXPECT_EQ(presence(v), Presence::pending);
  verify(tape);
  b.value();
  for (const Var& v : {b, total}) EXPECT_EQ(presence(v), Presence::computed);
  EXPECT_EQ(b.value().at(5), 3 * x.value().data<float>()[5]);
  verify(tape);
  EXPECT_EQ(presence(tape.leaf(wave(64)) * 2.0), Presence::computed) << "small ones do not wait";
}

TEST(Loop, WhatIsCheapToComputeAgainIsNotStored) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var other = tape.leaf(wave());
  const Var third = tape.leaf(wave());
  reset_peak_memory();
  const std::size_t before = memory_report().live;
  const Var centred = x - 1.0;
  const Var squares = square(centred);
  const Var total = sum(squares);
  total.value();
  EXPECT_LT(memory_report().peak, before + kBytes / 2);
  for (const Var& v : {centred, squares}) EXPECT_EQ(presence(v), Presence::unstored);
  verify(tape);
  const Var curve = tanh(centred);  // many instructions
  const Var product = x * other;    // to read two moves as much as to write one and read it
  const Var three = product * third;
  const Var scaled = centred * 3.0;
  const Var most = max(scaled * curve + three);
  most.value();
  for (const Var& v : {curve, three}) EXPECT_EQ(presence(v), Presence::computed);
  for (const Var& v : {centred, scaled, product}) EXPECT_EQ(presence(v), Presence::unstored);
  for (const std::size_t i : {0, 9, 4242}) {
    EXPECT_EQ(scaled.value().data<float>()[i], (x.value().data<float>()[i] - 1) * 3);
    EXPECT_EQ(centred.value().data<float>()[i], x.value().data<float>()[i] - 1);
  }
  for (const Var& v : {centred, scaled}) EXPECT_EQ(presence(v), Presence::computed);
  verify(tape);
}

TEST(Loop, WhatASweepReleasesIsComputedAgainForWhatItDoesNot) {
  Tensor want;
  for (const bool keep : {true, false}) {
    Tape tape;
    const Var x = tape.leaf(wave().reshaped({256, 256}));
    const Var scale = tape.leaf(wave(256));
    const Var centred = x - mean(x, 0);
    const Var y = scale * (centred * (1.0 / sqrt(mean(square(centred), 0) + 1e-3)));
    const Var ct = tape.leaf(wave().reshaped({256, 256}));
    y.value();
    const Var dx = pullback(y, ct, x, {.keep = keep});
    if (keep) {
      want = dx.value();
      continue;
    }
    EXPECT_TRUE(identical(dx.value(), want));
    verify(tape);
    EXPECT_TRUE(identical((dx - x).value(), (tape.leaf(want) - x).value()));
  }
}

// The gradients of parameters are sums with another shape: one loop has them all, and nothing of x's size is written.
TEST(Loop, AReshapedSumWaitsWithIt) {
  std::vector<Tensor> want;
  for (const bool keep : {true, false}) {
    Tape tape;
    const Var x = tape.leaf(wave().reshaped({4, 64, 256}));
    const Var scale = tape.leaf(wave(64)), shift = tape.leaf(wave(64));
    const Var y = reshape(scale, {64, 1}) * x + reshape(shift, {64, 1});
    const Var ct = tape.leaf(wave().reshaped({4, 64, 256}));
    y.value();
    reset_peak_memory();
    const std::size_t before = memory_report().live;
    const Vars gradients = pullback(y, ct, {scale, shift}, {.keep = keep});
    for (const Var& v : gradients) EXPECT_EQ(presence(v), Presence::pending);
    const Var again = reshape(gradients[0], {8, 8});
    EXPECT_EQ(presence(again), Presence::pending);
    const Tape::Mark mark = tape.mark();
    reshape(gradients[0], {4, 16});
    tape.rewind(mark);
    verify(tape);
    const Tensor first = gradients[0].value();
    EXPECT_EQ(presence(gradients[1]), Presence::computed);
    EXPECT_LT(memory_report().peak, before + kBytes / 2);
    EXPECT_TRUE(identical(again.value(), first.reshaped({8, 8})));
    if (keep) {
      want = {first, gradients[1].value()};
      Tape single;
      single.set_anomaly(true);
      const Var product = single.leaf(x.value()) * single.leaf(ct.value());
      EXPECT_TRUE(identical(sum(product, {0, 2}).value(), first));
    } else {
      EXPECT_TRUE(identical(first, want[0]));
      EXPECT_TRUE(identical(gradients[1].value(), want[1]));
    }
    verify(tape);
  }
}

TEST(Loop, ARewindTakesBackWhatWasComputedAgain) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var centred = x - 1.0;
  sum(centred).value();
  const Var curve = exp(x);
  const Tape::Mark mark = tape.mark();
  for (int round = 0; round < 3; ++round) {
    const Var a = tanh(x) * centred + curve;
    EXPECT_EQ(presence(a), Presence::pending);
    tape.rewind(mark);
    EXPECT_EQ(presence(curve), Presence::pending);
    EXPECT_EQ(presence(centred), Presence::unstored);
    verify(tape);
  }
  const Var b = curve * centred;
  EXPECT_EQ(b.value().data<float>()[7], curve.value().data<float>()[7] * (x.value().data<float>()[7] - 1));
}

TEST(Loop, UnstoredOperandsFitAnyLoop) {
  std::vector<Tensor> got[2];
  for (const bool single : {false, true}) {
    Tape tape;
    tape.set_anomaly(single);  // one op at a time
    const Var x = tape.leaf(wave().reshaped({16, 16, 256}));
    const Var v = tape.leaf(wave(4096).reshaped({16, 1, 256}));
    const Var centred = x - v;
    centred.tape().value((x * 1.0).id());
    EXPECT_EQ(presence(centred), single ? Presence::computed : Presence::unstored);
    const Var both = sum(centred, {0, 1});  // v repeats along one of the two axes
    const Var more = tape.leaf(wave(2 * kSize).reshaped({2, 16, 16, 256})) * centred;
    const Var scaled = centred * 2.0;
    for (const Var& y : {both, more, scaled, sum(scaled, 2), sum(scaled, {0, 2})}) got[single].push_back(y.value());
  }
  for (std::size_t i = 0; i < got[0].size(); ++i) EXPECT_TRUE(identical(got[0][i], got[1][i])) << i;
}

TEST(Loop, ARewindBetweenPendingNodes) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = tanh(x);
  const Var total = sum(a);
  const Tape::Mark mark = tape.mark();
  for (int round = 0; round < 3; ++round) {
    const Var b = a * x;
    const Var most = max(b);
    const Var c = b + a;
    EXPECT_EQ(presence(c), Presence::pending);
    tape.rewind(mark);
    EXPECT_FALSE(most.alive());
    EXPECT_EQ(presence(a), Presence::pending);
  }
  const Var d = a + 1.0;
  Tape other;
  const Var want = tanh(other.leaf(wave()));
  EXPECT_TRUE(identical(d.value(), (want + 1.0).value()));
  EXPECT_TRUE(identical(a.value(), want.value()));
  EXPECT_TRUE(identical(total.value(), sum(want).value()));
}

// Also the axes of a reduction that was taken back are forgotten.
TEST(Loop, ARewindFreesTheAxes) {
  Tape tape;
  const Var x = tape.leaf(wave().reshaped({256, 256}));
  const Var a = tanh(x);
  const Tape::Mark mark = tape.mark();
  sum(a, 0);
  tape.rewind(mark);
  const Var rows = sum(a, 1);
  EXPECT_EQ(presence(a), Presence::pending) << "one loop does both";
  Tape other;
  EXPECT_TRUE(identical(rows.value(), sum(tanh(other.leaf(wave().reshaped({256, 256}))), 1).value()));
}

TEST(Loop, ARewindGivesBackWhatThePendingNodesRead) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = tanh(x);
  const std::size_t before = memory_report().live;
  const Tape::Mark mark = tape.mark();
  {
    const Var other = tape.leaf(wave());
    EXPECT_EQ(presence(a * other), Presence::pending);
  }
  tape.rewind(mark);
  EXPECT_LT(memory_report().live, before + kBytes / 2);
  EXPECT_EQ(presence(a), Presence::pending);
}

TEST(Loop, WhatASweepReleasesIsNeverInMemory) {
  Tape tape;
  const Tensor values = wave();
  for (int round = 0; round < 2; ++round) {  // the second knows the scratch
    tape.step([&] {
      const Var x = tape.leaf(values);
      const Var y = sum(square(tanh(sigmoid(x) * 3.0) + 1.0));
      y.value();
      reset_peak_memory();
      const std::size_t before = memory_report().live;
      const Var dx = grad(y, x);
      dx.value();
      if (round == 1) {
        EXPECT_LT(memory_report().peak, before + 3 * kBytes / 2) << "one result";
      }
    });
  }
}

TEST(Loop, WhatIsTakenBackIsNeverInMemory) {
  Tape tape;
  const Var x = tape.leaf(wave());
  reset_peak_memory();
  const std::size_t before = memory_report().live;
  tape.step([&] {
    Var y = x;
    for (int i = 0; i < 10; ++i) y = y * 0.5 + x;  // as many as one loop holds
  });
  EXPECT_LT(memory_report().peak, before + kBytes);
}

TEST(Loop, OperandsMayDieFirst) {
  Tape tape;
  Tensor values = wave();
  const Tensor copy = values.clone();
  const Var a = tape.leaf(values) * 2.0;
  values.mutable_data<float>()[0] = 100;  // copies: the tape holds the buffer
  values = Tensor();
  EXPECT_EQ(a.value().at(0), 2 * static_cast<double>(copy.data<float>()[0]));
  State state("w", wave());
  const Var b = tape.read(state) + 1.0;
  state.set(Tensor::zeros({kSize}));
  EXPECT_EQ(b.value().at(0), static_cast<double>(copy.data<float>()[0] + 1));
}

TEST(Loop, ReleasedOperandsAreKeptByTheLoop) {
  Tape tape;
  tape.step([&] {
    const Var x = tape.leaf(wave());
    const Var g = grad(sum(square(x)), x);  // releases what it recorded
    EXPECT_NEAR(sum(g * x).value().item() / (2 * sum(square(x)).value().item()), 1, 1e-6);
  });
}

TEST(Loop, UpdatesOfPendingValues) {
  State w("w", Tensor::full({kSize}, 1));
  Tape tape;
  for (int i = 0; i < 3; ++i) {
    tape.step([&] {
      const Var v = tape.read(w);
      const Var next = v * 2.0 + 1.0;
      tape.update(w, next);
      EXPECT_EQ(tape.read(w).id(), next.id());
      grad(sum(next * v), v);  // releases nothing that a State waits for
    });
  }
  EXPECT_EQ(w.value().at(kSize - 1), 15);
  tape.update(w, tape.no_record([&] { return tape.read(w) - 5.0; }) * 2.0);
  tape.commit();
  EXPECT_EQ(w.value().at(0), 20);
}

TEST(Loop, AFailingStepDropsWhatIsPending) {
  State w("w", Tensor::full({kSize}, 1));
  Tape tape;
  EXPECT_THROW(tape.step([&] {
    tape.update(w, tape.read(w) * 2.0);
    throw std::runtime_error("no");
  }),
               std::runtime_error);
  EXPECT_EQ(tape.size(), 0u);
  EXPECT_EQ(w.value().at(0), 1);
}

TEST(Loop, AnErrorDoesNotDisturbIt) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = tanh(x);
  const Var k = tape.leaf(Tensor::zeros({kSize}, DType::i64));
  const std::size_t size = tape.size();
  thrown<DTypeError>([&] { a + k; });
  thrown<ShapeError>([&] { a + tape.leaf(wave(kSize + 1)); });
  thrown<ShapeError>([&] { sum(a, 3); });
  EXPECT_EQ(tape.size(), size + 1) << "the leaf";
  EXPECT_EQ(presence(a), Presence::pending);
  EXPECT_EQ((a + x).value().at(7), static_cast<float>(a.value().data<float>()[7] + x.value().data<float>()[7]));
}

TEST(Loop, AnomalyModeInTheMiddle) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var bad = log(x * 0.0 - 1.0);
  EXPECT_EQ(presence(bad), Presence::pending);
  tape.set_anomaly(true);
  thrown<UsageError>([&] { bad + 1.0; });
  const Var good = x + 1.0;
  EXPECT_EQ(presence(good), Presence::computed);
  tape.set_anomaly(false);
  EXPECT_EQ(presence(good * 2.0), Presence::pending);
}

TEST(Loop, ManyMoreStepsThanOneLoopHolds) {
  Tape tape;
  const Var x = tape.leaf(wave());
  Var y = x;
  std::vector<Var> totals;
  for (int i = 0; i < 200; ++i) {
    y = y * 0.5 + x;
    if (i % 3 == 0) totals.push_back(sum(y));
  }
  float want = x.value().data<float>()[77];
  const float first = want;
  for (int i = 0; i < 200; ++i) want = want * 0.5f + first;
  EXPECT_EQ(y.value().data<float>()[77], want);
  EXPECT_TRUE(identical(totals.back().value(), totals[totals.size() - 2].value())) << "it has settled";
}

TEST(Loop, ATapeMayDieWithItsLoopOpen) {
  Tensor kept;
  {
    auto tape = std::make_unique<Tape>();
    const Var x = tape->leaf(wave());
    kept = x.value();
    sum(x * x + 1.0);
  }
  EXPECT_TRUE(identical(kept, wave()));
}

TEST(Loop, AliasesOfPendingValues) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = x * 3.0;
  const Var square_form = reshape(a, {256, 256});
  const Var constant = detach(a);
  EXPECT_TRUE(square_form.value().shares_buffer_with(a.value()));
  EXPECT_TRUE(constant.value().shares_buffer_with(a.value()));
  const Var b = square_form + 1.0;  // another shape over the same memory
  const Var c = constant + 1.0;
  EXPECT_TRUE(identical(b.value().reshaped({kSize}), c.value()));
}

TEST(Loop, HooksSeePendingCotangents) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var a = tanh(x);
  double seen = 0;
  const Tape::Hook hook = tape.on_cotangent(a, [&](Var ct) {
    seen = ct.value().at(0);
    return ct * 2.0;
  });
  const Var dx = grad(sum(a * 5.0), x);
  EXPECT_EQ(seen, 5);
  const float y = a.value().data<float>()[3];
  EXPECT_NEAR(dx.value().at(3), 10 * (1 - y * y), 1e-5);
}

TEST(Loop, ValuesThatAreNotNumbersStayWhatTheyAre) {
  Tensor values = wave();
  values.mutable_data<float>()[9] = std::numeric_limits<float>::infinity();
  Tape tape;
  const Var x = tape.leaf(values);
  const Var total = sum(where(x < 100.0, x, 0.0));
  const Var difference = x - x;
  EXPECT_TRUE(std::isfinite(total.value().item()));
  EXPECT_TRUE(std::isnan(difference.value().at(9)));
  EXPECT_EQ(difference.value().at(8), 0);
}

TEST(Loop, TypesSideBySide) {
  Tape tape;
  const Var x = tape.leaf(wave());
  const Var z = tape.leaf(wave().to(DType::f64));
  const Var k = tape.leaf(Tensor::full({kSize}, 3, DType::i64));
  const Var a = x * 2.0;
  const Var b = z * 2.0;
  const Var n = k * 2;
  const Var large = a > 0.5;
  const Var picked = where(large, b, z);
  const Var numbers = where(large, n, k);
  EXPECT_EQ(presence(a), Presence::pending) << "all in one loop";
  for (std::int64_t i = 0; i < 100; ++i) {
    const bool is = 2 * x.value().data<float>()[static_cast<std::size_t>(i)] > 0.5f;
    EXPECT_EQ(picked.value().at(i), (is ? 2 : 1) * z.value().at(i));
    EXPECT_EQ(numbers.value().at(i), is ? 6 : 3);
  }
}

// Past this size results are streamed around the cache, and steps that others read are computed in the scratch too.
TEST(Loop, StreamedResultsHaveTheSameBits) {
  Tensor values = Tensor::empty({2051, 2055}, DType::f32);
  Random(3).fill_normal(values, 5, 2);
  Tape open, single;
  single.set_anomaly(true);  // one op at a time
  std::vector<Tensor> got[2];
  for (Tape* tape : {&open, &single}) {
    const Var x = tape->leaf(values);
    const Var centred = x - mean(x, 0);
    const Var squares = square(centred);
    const Var variance = mean(squares, 0);
    const Var scaled = centred * 0.5;
    const Var shifted = scaled + 1.0;
    for (const Var& v : {centred, squares, variance, scaled, shifted}) got[tape == &open ? 0 : 1].push_back(v.value());
  }
  for (std::size_t i = 0; i < got[0].size(); ++i) EXPECT_TRUE(identical(got[0][i], got[1][i])) << i;
}

}  // namespace
}  // namespace ebb
