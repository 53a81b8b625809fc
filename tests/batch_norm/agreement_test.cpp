// The staged and the fused kernel against each other: layouts, broadcast cotangents, kernel `both`, random problems,
// threads, instruction sets, and what each records.
#include <ebb/engine/check/tolerance.h>
#include <ebb/engine/lanes/isa.h>
#include <ebb/engine/threads/pool.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <limits>

#include "tests/batch_norm/kernels.h"
#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

class Agreement : public testing::TestWithParam<BatchNormKernel> {};
INSTANTIATE_TEST_SUITE_P(Kernels, Agreement, testing::ValuesIn(kKernels), [](const auto& k) { return name(k.param); });

Tensor permuted(const Tensor& t, const IntList& dims) {
  Tape tape;
  return permute(tape.leaf(t), dims).value();
}

// --- layouts
// -----------------------------------------------------------------------------------------------------------

const Shape kChannelFirst[] = {{8, 3}, {4, 3, 8}, {2, 3, 4, 4}, {2, 3, 2, 4, 2}, {16, 5, 8, 8}, {2, 70, 64}};

// The axes of a channel-last twin, and back.
IntList to_last(int rank) {
  IntList dims{0};
  for (int i = 2; i < rank; ++i) dims.push_back(i);
  dims.push_back(1);
  return dims;
}
IntList to_first(int rank) {
  IntList dims{0, rank - 1};
  for (int i = 1; i < rank - 1; ++i) dims.push_back(i);
  return dims;
}

TEST_P(Agreement, T22AMovedTensorIsTheSameAsAContiguousOne) {
  for (const Shape& shape : kChannelFirst) {
    const Problem p = problem(shape, DType::f32);
    const Tensor last = permuted(p.x, to_last(shape.rank()));
    Tape tape;
    BatchNormOptions options;
    options.kernel = GetParam();
    const Var x = tape.leaf(last);
    const Var y = batch_norm(permute(x, to_first(shape.rank())), tape.leaf(*p.gamma), tape.leaf(*p.beta), options);
    const Results want = run(p, GetParam());
    EXPECT_TRUE(identical(y.value(), want.out)) << to_string(shape);
    const Var dx = pullback(y, tape.leaf(p.dout), x);
    EXPECT_TRUE(identical(dx.value(), permuted(want.dx, to_last(shape.rank())))) << to_string(shape);
  }
}

// A channel's values come in another order in the twin, so sums may round otherwise; where they are exact (small
// integers, not too many and a power of two) the twins agree to the bit.
TEST_P(Agreement, T22ChannelLastTwins) {
  for (const Shape& shape : kChannelFirst) {
    for (const bool exact : {true, false}) {
      Problem p = problem(shape, DType::f32);
      if (exact && p.count() > 128) continue;
      if (exact) {
        for (float& v : p.x.mutable_data<float>()) v = std::round(v);
      }
      Problem twin = p;
      twin.x = permuted(p.x, to_last(shape.rank()));
      twin.dout = permuted(p.dout, to_last(shape.rank()));
      twin.options.channel_axis = -1;
      const Results a = run(p, GetParam());
      const Results b = run(twin, GetParam());
      const Tensor out = permuted(b.out, to_first(shape.rank()));
      if (exact) {
        EXPECT_TRUE(identical(out, a.out)) << to_string(shape);
      }
      EXPECT_LT(relative_difference(out, a.out), 1e-6) << to_string(shape);
      EXPECT_LT(relative_difference(permuted(b.dx, to_first(shape.rank())), a.dx), 2e-6) << to_string(shape);
      EXPECT_LT(relative_difference(b.dgamma, a.dgamma), 2e-6) << to_string(shape);
    }
  }
}

TEST_P(Agreement, T24AnyChannelAxis) {
  for (int axis = 0; axis < 4; ++axis) {
    Problem p = problem({3, 4, 5, 6}, DType::f64, 0.5, 2, 0, axis);
    const Results want = truth(p);
    for (const int named : {axis, axis - 4}) {
      p.options.channel_axis = named;
      const Results got = run(p, GetParam());
      EXPECT_LT(relative_difference(got.out, want.out), 1e-14) << named;
      EXPECT_LT(relative_difference(got.dx, want.dx), 1e-13) << named;
      EXPECT_LT(relative_difference(got.dgamma, want.dgamma), 1e-13) << named;
    }
  }
}

// --- cotangents that are repeated
// --------------------------------------------------------------------------------------

TEST_P(Agreement, T23BroadcastCotangents) {
  for (const Shape& shape : {Shape{6, 4}, Shape{90, 70}, Shape{5, 4, 9}, Shape{6, 4, 20, 20}}) {
    std::vector<Shape> repeated{{}, {shape[1]}, {1, shape[1]}, {shape[0], 1}};
    if (shape.rank() > 2) repeated = {{}, {shape[2]}, {shape[1], 1}, {shape[0], 1, 1}};
    if (shape.rank() > 3) repeated = {{}, {shape[1], 1, 1}, {shape[0], 1, 1, 1}, {shape[2], 1}};
    for (const Shape& small : repeated) {
      const Problem p = problem(shape, DType::f32);
      const Tensor ct = samples(small, 7, DType::f32);
      Tape tape;
      Tensor whole = broadcast_to(tape.leaf(ct), shape).value();
      BatchNormOptions options;
      options.kernel = GetParam();
      const Vars wrt{tape.leaf(p.x), tape.leaf(*p.gamma), tape.leaf(*p.beta)};
      const Var y = batch_norm(wrt[0], wrt[1], wrt[2], options);
      const Var given = tape.leaf(ct);
      const Vars lazy = pullback(y, given, wrt);
      const Vars full = pullback(y, tape.leaf(whole.clone()), wrt);
      for (std::size_t i = 0; i < 3; ++i) {
        EXPECT_TRUE(identical(lazy[i].value(), full[i].value())) << to_string(shape) << to_string(small) << i;
      }
      EXPECT_TRUE(identical(given.value(), ct)) << "it was written to";
    }
  }
}

TEST_P(Agreement, T23TheCotangentOfASum) {
  Tape tape;
  BatchNormOptions options;
  options.kernel = GetParam();
  const Var x = tape.leaf(samples({80, 60}, 0, DType::f32));
  const Var y = batch_norm(x, {}, {}, options);
  const Tensor of_sum = grad(sum(y), x).value();
  const Tensor of_ones = pullback(y, tape.leaf(Tensor::full({80, 60}, 1)), x).value();
  EXPECT_TRUE(identical(of_sum, of_ones));
}

// --- both
// ----------------------------------------------------------------------------------------------------------------

TEST(BatchNorm, BothAgreeOnGoodData) {
  for (const double mean : {0.0, 1e4, -1e6}) {
    for (const Shape& shape : {Shape{60, 100}, Shape{8, 5, 7, 7}}) {
      const Problem p = problem(shape, DType::f32, mean, 1);
      const Results both = run(p, BatchNormKernel::both);
      expect_identical(both, run(p, BatchNormKernel::fused), "both is the fused kernel, checked");
    }
  }
}

TEST(BatchNorm, BothAgreeWhereBothAreNotANumber) {
  for (const Shape& shape : {Shape{6, 1}, Shape{6, 3}}) {
    Problem p = problem(shape, DType::f32);
    p.x.mutable_data<float>()[0] = std::numeric_limits<float>::infinity();
    const Results r = run(p, BatchNormKernel::both);
    EXPECT_TRUE(std::isnan(r.out.at(0)));
  }
}

// Squares of 1e30 are infinite in f32, and each kernel loses the channels in its own way.
TEST(BatchNorm, BothThrowsWithATableWhereTheyDisagree) {
  Tape tape;
  Tensor values = samples({4, 2}, 0, DType::f32);
  for (float& v : values.mutable_data<float>()) v *= 1e30f;
  const Var x = tape.leaf(values, "x");
  const Var gamma = tape.leaf(samples({2}, 1, DType::f32));
  BatchNormOptions options;
  options.kernel = BatchNormKernel::both;
  const std::size_t size = tape.size();
  const int line = __LINE__ + 1;
  const std::string text = thrown<UsageError>([&] { batch_norm(x, gamma, {}, options); });
  EXPECT_EQ(tape.size(), size);
  const std::vector<Disagreement> table = compare_batch_norm_kernels(values, gamma.value(), {}, options);
  ASSERT_EQ(table.size(), 3u);
  std::string want = "batch_norm: the staged and the fused kernel disagree; got f32[4, 2]. (agreement_test.cpp:" +
                     std::to_string(line) + ")\n             difference        bound";
  for (const Disagreement& row : table) {
    char entry[100];
    std::snprintf(entry, sizeof entry, "\n  %-8s %12.3e %12.3e%s", row.name.c_str(), row.difference, row.bound,
                  row.agrees() ? "" : "  <-");
    want += entry;
  }
  EXPECT_EQ(text, want);
  EXPECT_EQ(table[0].name, "out");
  EXPECT_EQ(table[1].name, "dx");
  EXPECT_EQ(table[2].name, "dgamma");
  EXPECT_FALSE(table[0].agrees());
  EXPECT_FALSE(table[1].agrees());
}

// --- random problems
// -----------------------------------------------------------------------------------------------------

TEST(BatchNorm, FiveHundredRandomProblems) {
  Random random(42);
  for (int i = 0; i < 500; ++i) {
    const int rank = 2 + static_cast<int>(random.integer(4));
    Shape shape;
    for (int a = 0; a < rank; ++a) shape.push_back(1 + random.integer(a == 0 ? 40 : rank == 2 ? 90 : 8));
    const int axis = random.integer(2) == 0 ? 1 : -1;
    const double mean = random.normal() * 3;
    const double deviation = std::exp(random.uniform(-3, 3));
    Problem p = problem(shape, DType::f64, mean, deviation, static_cast<std::uint64_t>(i), axis);
    if (p.count() < 3) continue;
    const double eps[] = {1e-5, 1e-3, 1e-8, 0.0};
    p.options.eps = eps[random.integer(4)];
    if (random.integer(3) == 0) p.gamma.reset();
    if (random.integer(3) == 0) p.beta.reset();
    const std::string what = to_string(shape) + " axis " + std::to_string(axis) + " problem " + std::to_string(i);
    const Results staged = run(p, BatchNormKernel::staged);
    const Results fused = run(p, BatchNormKernel::fused);
    EXPECT_LE(relative_difference(fused.out, staged.out), 1e-12) << what;
    EXPECT_LE(relative_difference(fused.dx, staged.dx), 1e-12) << what;
    EXPECT_LE(relative_difference(fused.dgamma, staged.dgamma), 1e-12) << what;
    EXPECT_LE(relative_difference(fused.dbeta, staged.dbeta), 1e-12) << what;
    const auto f32 = [](const std::optional<Tensor>& t) { return t ? std::optional(t->to(DType::f32)) : std::nullopt; };
    for (const Disagreement& row :
         compare_batch_norm_kernels(p.x.to(DType::f32), f32(p.gamma), f32(p.beta), p.options)) {
      EXPECT_TRUE(row.agrees()) << what << " " << row.name << " " << row.difference << " > " << row.bound;
    }
  }
}

// --- the same bits
// -------------------------------------------------------------------------------------------------------

const Shape kSizes[] = {{60, 100}, {64, 1024}, {3000, 33}, {8, 64, 7, 7}, {2, 5, 9000}, {70000, 3}};

TEST_P(Agreement, TheSameBitsForAnyNumberOfThreads) {
  const int before = threads();
  for (const Shape& shape : kSizes) {
    const Problem p = problem(shape, DType::f32);
    set_threads(1);
    const Results one = run(p, GetParam());
    for (const int n : {2, 8}) {
      set_threads(n);
      expect_identical(run(p, GetParam()), one, to_string(shape) + " with " + std::to_string(n) + " threads");
    }
  }
  set_threads(before);
}

// FNV-1a of the results' bits.
std::uint64_t digest(BatchNormKernel kernel) {
  std::uint64_t hash = 14695981039346656037u;
  for (const DType dtype : {DType::f32, DType::f64}) {
    for (const Shape& shape : kSizes) {
      const Results r = run(problem(shape, dtype), kernel);
      for (const Tensor& t : {r.out, r.dx, r.dgamma, r.dbeta}) {
        for (std::size_t i = 0; i < t.bytes(); ++i) {
          hash = (hash ^ static_cast<std::uint64_t>(t.raw()[i])) * 1099511628211u;
        }
      }
    }
  }
  return hash;
}

TEST_P(Agreement, Digest) { std::printf("digest %016llx\n", static_cast<unsigned long long>(digest(GetParam()))); }

// The set is chosen once per process, so each has one of its own. The staged kernel is made of + - * / sqrt and sums,
// which have the same bits on every set. The fused one multiplies and adds in one instruction where there is one.
TEST_P(Agreement, TheSameBitsUnderEveryInstructionSet) {
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const auto under = [&](Isa isa) {
    const std::string command = "EBB_ISA=" + std::string(kIsaNames[static_cast<std::size_t>(isa)]) + " '" + program +
                                "' --gtest_filter=Kernels/Agreement.Digest/" + name(GetParam()) + " | grep '^digest'";
    std::FILE* pipe = popen(command.c_str(), "r");
    char line[64] = "";
    EXPECT_NE(std::fgets(line, sizeof line, pipe), nullptr) << command;
    pclose(pipe);
    return std::string(line);
  };
  if (!supported(Isa::avx2)) GTEST_SKIP() << "one set only";
  const std::string avx2 = under(Isa::avx2);
  if (GetParam() == BatchNormKernel::staged) {
    EXPECT_EQ(under(Isa::base), avx2);
  }
  if (supported(Isa::avx512)) {
    EXPECT_EQ(under(Isa::avx512), avx2);
  }
}

// --- what is recorded
// ----------------------------------------------------------------------------------------------------

TEST_P(Agreement, NodesBearTheCallersLineAndTheScope) {
  Tape tape;
  BatchNormOptions options;
  options.kernel = GetParam();
  const Var x = tape.leaf(samples({4, 3}));
  const Var gamma = tape.leaf(samples({3}, 1));
  const std::size_t first = tape.size();
  const Var y = batch_norm(x, gamma, gamma, options);
  const std::uint32_t line = __LINE__ - 1;
  const std::size_t forward = tape.size();
  const Var w = tape.leaf(samples({4, 3}, 2));
  const std::size_t sweep = tape.size();
  pullback(y, w, x);
  const auto check = [&](std::size_t begin, std::size_t end) {
    for (std::size_t id = begin; id < end; ++id) {
      const Node& node = tape.node(static_cast<NodeId>(id));
      if (node.row->name == "constant" || node.origin == x.id()) continue;  // dx adds up where x stands
      EXPECT_EQ(node.where.line, line) << id << " " << node.row->name;
      EXPECT_EQ(tape.scope_path(node.scope), "batch_norm") << id << " " << node.row->name;
    }
  };
  check(first, forward);
  check(sweep, tape.size());
  EXPECT_EQ(tape.find("batch_norm/out").id(), y.id());
}

TEST(BatchNorm, TheStagedKernelBearsItsStepsAndNames) {
  Tape tape;
  const Var x = tape.leaf(samples({4, 3}), "x");
  const Var y = batch_norm(x, tape.leaf(samples({3}, 1), "gamma"), tape.leaf(samples({3}, 2), "beta"));
  const std::pair<const char*, const char*> want[] = {{"mu", "1"},   {"xmu", "2"},      {"sq", "3"},
                                                      {"var", "4"},  {"sqrtvar", "5b"}, {"ivar", "6"},
                                                      {"xhat", "7"}, {"gammax", "8"},   {"out", "9"}};
  for (const auto& [name, step] : want) {
    EXPECT_EQ(tape.node(tape.find(std::string("batch_norm/") + name).id()).step, step) << name;
  }
  EXPECT_EQ(tape.find("batch_norm/out").id(), y.id());
}

TEST(BatchNorm, TracedBothKernelsRecordTheNineSteps) {
  const auto recorded = [](BatchNormKernel kernel) {
    Tape tape(Tape::Mode::trace);
    BatchNormOptions options;
    options.kernel = kernel;
    const Var x = tape.leaf(samples({4, 3, 5}), "x");
    const Var gamma = tape.leaf(samples({3}, 1), "gamma");
    grad(sum(square(batch_norm(x, gamma, gamma, options))), {x, gamma});
    std::string text;
    for (NodeId id = 0; id < tape.size(); ++id)
      text += tape.name_of(id) + " " + std::string(tape.node(id).row->name) + "\n";
    return text;
  };
  const std::string staged = recorded(BatchNormKernel::staged);
  EXPECT_EQ(recorded(BatchNormKernel::fused), staged);
  EXPECT_EQ(recorded(BatchNormKernel::both), staged);
  EXPECT_NE(staged.find("gammax mul"), std::string::npos) << staged;
  EXPECT_EQ(staged.find("bn_"), std::string::npos);
}

}  // namespace
}  // namespace ebb::test
