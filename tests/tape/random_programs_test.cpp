// Random programs, each run in several ways that must give the same bits: every op by itself, every value read at once,
// and an open loop that is read at the end, with and without disturbances in between.
#include <ebb/ebb.h>
#include <ebb/engine/check/verify.h>
#include <ebb/engine/threads/pool.h>
#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <string>
#include <vector>

namespace ebb {
namespace {

enum class Way {
  one_by_one,  // anomaly mode computes every op when it is recorded
  read,        // every value is read when it is recorded: loops of one op
  open,        // nothing is read before the end
  disturbed,   // reads, rewinds, errors and a second tape in between
  step,        // inside a step, whose sweeps release what they recorded
};

const Shape kShapes[] = {
    {4096},           {4095},       {4097},      {64, 64},     {63, 65},
    {65, 63, 1},      {1, 4200},    {4200, 1},   {5, 1024},    {1024, 5},
    {1023, 9},        {3, 1025},    {17, 3, 97}, {97, 17, 3},  {2, 3, 1, 700},
    {8, 16, 7, 7},    {30000},      {2, 40000},  {40000, 2},   {16, 5000},
    {6, 1, 9, 100},   {3, 2, 1500}, {70000},     {300, 2, 40}, {2, 2, 2, 2, 2, 2, 2, 64},
    {20, 3, 4, 5, 6},
};

// `whole` with some axes of size 1, and some of the leading ones gone.
Shape part_of(const Shape& whole, Random& random) {
  Shape out;
  const std::int64_t first = random.integer(3) == 0 ? random.integer(whole.rank()) : 0;
  for (int i = static_cast<int>(first); i < whole.rank(); ++i) out.push_back(random.integer(2) == 0 ? 1 : whole[i]);
  return out;
}

class Program {
 public:
  Program(std::uint64_t seed, Way way) : random_(seed), noise_(seed, 1), way_(way) {}

  // The values of all nodes that were recorded on purpose, and the gradients of a loss.
  std::vector<Tensor> run(Tape& tape) {
    tape.set_anomaly(way_ == Way::one_by_one);
    Tape other;
    const Shape whole = kShapes[random_.integer(std::size(kShapes))];
    const DType dtype = random_.integer(2) == 0 ? DType::f32 : DType::f64;
    std::vector<Var> leaves;
    for (int i = 0; i < 5; ++i) {
      Tensor t = Tensor::empty(i < 2 ? whole : part_of(whole, random_), dtype);
      Random(random_.bits()).fill_uniform(t, -1, 1);
      leaves.push_back(tape.leaf(t));
    }
    nodes_ = leaves;
    const std::int64_t ops = 10 + random_.integer(70);
    for (std::int64_t i = 0; i < ops; ++i) {
      const Var v = draw(whole);
      if (is_floating(v.dtype())) nodes_.push_back(v);
      all_.push_back(v);
      if (way_ == Way::read) v.value();
      if (way_ == Way::disturbed) disturb(tape, other);
    }
    // A weighted sum of some of them, smooth enough for a sweep.
    std::optional<Var> loss;
    for (std::size_t i = 0; i < nodes_.size(); i += 1 + static_cast<std::size_t>(random_.integer(4))) {
      const Var term = mean(tanh(nodes_[i]) * random_.uniform(0.5, 2));
      loss = loss ? *loss + term : term;
    }
    for (const Var& d : grad(*loss, leaves)) all_.push_back(d);
    if (way_ != Way::step) verify(tape);
    std::vector<Tensor> out(all_.size());
    // Read from the end, or from the front.
    for (std::size_t i = 0; i < all_.size(); ++i) {
      const std::size_t k = noise_.seed() % 2 == 0 ? i : all_.size() - 1 - i;
      out[k] = all_[k].value();
    }
    verify(tape);
    return out;
  }

 private:
  Var any() { return nodes_[static_cast<std::size_t>(random_.integer(static_cast<std::int64_t>(nodes_.size())))]; }
  // Recent ones more often: chains are what loops are made of.
  Var recent() {
    const std::int64_t n = static_cast<std::int64_t>(nodes_.size());
    return random_.integer(3) == 0
               ? any()
               : nodes_[static_cast<std::size_t>(n - 1 - random_.integer(std::min<std::int64_t>(n, 4)))];
  }

  Var draw(const Shape& whole) {
    const Var a = recent();
    const Var b = any();
    switch (random_.integer(16)) {
      case 0:
        return tanh(a);
      case 1:
        return sigmoid(a + b);
      case 2:
        return square(a);
      case 3:
        return sqrt(square(a) + 0.5);
      case 4:
        return reciprocal(1.5 + tanh(a));
      case 5:
      case 6:
        return a * b;
      case 7:
        return a - b;
      case 8:
        return -a + 0.25;
      case 9:
        return where(a < b, a, tanh(b));
      case 10:
        return a >= b;
      case 11:
        return broadcast_to(a, whole);
      case 12:
        return reshape(detach(a), a.shape());
      case 13:
      case 14:
      case 15:
        break;
    }
    IntList axes;
    for (int i = 0; i < a.rank(); ++i) {
      if (random_.integer(2) == 0) axes.push_back(i);
    }
    // A shape that still broadcasts to the whole: axes kept, or leading ones dropped.
    switch (random_.integer(3)) {
      case 0:
        return mean(a, Axes(axes), true);
      case 1:
        return max(a, Axes(axes), true);
      default:
        return sum(square(tanh(a)) * 0.01, Axes(axes), true);
    }
  }

  void disturb(Tape& tape, Tape& other) {
    const auto pick = [&] {
      return nodes_[static_cast<std::size_t>(noise_.integer(static_cast<std::int64_t>(nodes_.size())))];
    };
    switch (noise_.integer(8)) {
      case 0:
        pick().value();
        break;
      case 1:
      case 2: {  // what is taken back leaves no trace
        const Tape::Mark mark = tape.mark();
        Var v = tanh(pick()) * pick();
        for (std::int64_t i = noise_.integer(30); i > 0; --i) v = v * 0.5 + pick();
        if (noise_.integer(2) == 0) v = v + sum(v);
        if (noise_.integer(4) == 0) v.value();
        tape.rewind(mark);
        break;
      }
      case 3:  // an error
        EXPECT_THROW(pick() + tape.leaf(Tensor::zeros({1}, DType::i64)), DTypeError);
        EXPECT_THROW(reshape(pick(), {13, 17}), ShapeError);
        break;
      case 4: {  // another tape with a loop of its own
        const Var v = other.leaf(Tensor::full({5000}, 2));
        const Var w = v * 3.0 + v;
        tanh(pick() + 1.0);
        EXPECT_EQ(sum(w).value().item(), 5000 * 8);
        break;
      }
      case 5:
        tape.no_record([&] { return tanh(pick()) + sum(pick()); });
        break;
      default:
        break;
    }
  }

  Random random_;
  Random noise_;
  Way way_;
  std::vector<Var> nodes_;
  std::vector<Var> all_;
};

std::vector<Tensor> run(std::uint64_t seed, Way way) {
  Tape tape;
  if (way != Way::step) return Program(seed, way).run(tape);
  // Inside a step the forward values stay, and the gradients asked for.
  tape.step([&] { return Program(seed, way).run(tape).size(); });
  return tape.step([&] { return Program(seed, way).run(tape); });
}

void expect_identical(const std::vector<Tensor>& a, const std::vector<Tensor>& b, const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(identical(a[i], b[i])) << what << ", value " << i << " " << describe(a[i]);
  }
}

class RandomPrograms : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Seeds, RandomPrograms, testing::Range(0, 6));

TEST_P(RandomPrograms, GiveTheSameBitsHoweverTheyAreRead) {
  for (std::uint64_t k = 0; k < 20; ++k) {
    const std::uint64_t seed = static_cast<std::uint64_t>(GetParam()) * 20 + k;
    const std::string what = "seed " + std::to_string(seed);
    const std::vector<Tensor> want = run(seed, Way::one_by_one);
    expect_identical(run(seed, Way::read), want, what + " read");
    expect_identical(run(seed, Way::open), want, what + " open");
    expect_identical(run(seed, Way::disturbed), want, what + " disturbed");
    expect_identical(run(seed, Way::step), want, what + " step");
    const int before = threads();
    set_threads(before == 1 ? 3 : 1);
    expect_identical(run(seed, Way::open), want, what + " other threads");
    set_threads(before);
  }
}

}  // namespace
}  // namespace ebb
