// audit finds where digits are lost, and blames no node that keeps them.
#include <ebb/ebb.h>

#include <cmath>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

Tensor normal(const Shape& shape, std::uint64_t seed, double mean = 0, double deviation = 1) {
  Tensor x = Tensor::empty(shape, DType::f32);
  Random(seed).fill_normal(x);
  for (float& v : x.mutable_data<float>()) v = static_cast<float>(mean + deviation * static_cast<double>(v));
  return x;
}

const AuditEntry& entry_of(const AuditReport& report, const Var& var) {
  return *std::ranges::find(report.entries, var.id(), &AuditEntry::node);
}

// The variance as the mean of squares less the square of the mean, at a mean of 10^4.
TEST(Audit, FindsAPlantedCancellationFirst) {
  Tape tape;
  const Var x = tape.leaf(normal({4096}, 1, 1e4), "x");
  const Var mu = tape.name(mean(x), "mu");
  const Var squares = mean(x * x);
  const Var var = tape.name(squares - mu * mu, "var");
  const int line = __LINE__ - 1;
  const Var y = tape.name(sqrt(var + 1.0), "y");
  const AuditReport report = audit(tape);
  ASSERT_NE(report.first_bad(), nullptr) << report.text();
  const AuditEntry& first = *report.first_bad();
  EXPECT_EQ(first.node, var.id()) << report.text();
  EXPECT_EQ(first.name, "var");
  EXPECT_EQ(first.op, "sub");
  EXPECT_EQ(first.where.line, static_cast<std::uint32_t>(line));
  EXPECT_EQ(first.verdict, AuditVerdict::accumulated);
  EXPECT_NEAR(first.shadow, 1, 0.1);
  EXPECT_EQ(first.recorded, var.item());
  EXPECT_GT(first.accumulated, 1e5);
  EXPECT_LE(first.local, 0.5);  // the difference itself is exact: the digits went before
  EXPECT_LT(entry_of(report, squares).accumulated, 4);
  EXPECT_GT(entry_of(report, y).accumulated, 1e4);
  EXPECT_TRUE(report.text().starts_with("audit: ")) << report.text();
  EXPECT_NE(report.text().find("The first is %" + std::to_string(first.node) +
                               " \"var\" sub (audit_test.cpp:" + std::to_string(line) + "): "),
            std::string::npos)
      << report.text();
  // The same in the order that keeps the digits.
  Tape better;
  const Var z = better.leaf(normal({4096}, 1, 1e4));
  sqrt(mean(square(z - mean(z))) + 1.0);
  EXPECT_TRUE(audit(better).passed()) << audit(better).text();
}

TEST(Audit, PassesATrainingGraph) {
  Tape tape;
  const Var x = tape.leaf(normal({64, 20}, 1), "x");
  const Var labels = tape.leaf(Tensor::full({64}, 3, DType::i64));
  const State w("w", normal({20, 30}, 2, 0, 0.3));
  const State b("b", normal({30}, 3, 0, 0.3));
  const Var h = batch_norm(matmul(x, tape.read(w)), tape.read(b), tape.read(b), {.kernel = BatchNormKernel::fused});
  const Var out = where(h > 0.0, h, 0.1 * h) + cast(cast(relu(h), DType::f64), DType::f32);
  const Var loss = cross_entropy(matmul(out, tape.leaf(normal({30, 10}, 4))), labels);
  grad(loss, {x});
  grad(loss, w);
  const AuditReport report = audit(tape);
  EXPECT_TRUE(report.passed()) << report.text(100);
  double most = 0;
  for (const AuditEntry& entry : report.entries) {
    EXPECT_NE(entry.verdict, AuditVerdict::skipped) << entry.op << ": " << entry.note;
    most = std::max(most, entry.accumulated);
  }
  EXPECT_GT(most, 0.5);  // there is something to see
  verify(tape);
}

TEST(Audit, FindsAKernelThatIsWorseThanItSays) {
  static const Row row{.name = "rough",
                       .type =
                           [](const Call& call) {
                             return TensorType{call.shape(0), call.dtype(0)};
                           },
                       .vjp = [](const Vjp& g) { return g.ct; },
                       .kernel =
                           [](KernelCall& call) {
                             call.out = call.in[0]->clone();
                             if (call.out.dtype() == DType::f32) call.out.mutable_data<float>()[1] *= 1.00001F;
                           },
                       .ulp = 2};
  Tape tape;
  const Var y = tape.record(row, {tape.leaf(Tensor::full({3}, 0.75F)) * 1.0});
  const AuditReport report = audit(tape);
  ASSERT_NE(report.first_bad(), nullptr);
  EXPECT_EQ(report.first_bad()->node, y.id());
  EXPECT_EQ(report.first_bad()->verdict, AuditVerdict::imprecise);
  EXPECT_EQ(report.first_bad()->element, 1);
  EXPECT_NE(report.text().find("rough"), std::string::npos);
}

TEST(Audit, OverflowIsInfinitelyWrong) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<float>({2}, {1, 100}), "x");
  const Var y = log(exp(x));
  const AuditReport report = audit(tape);
  EXPECT_EQ(report.first_bad()->op, "exp");
  EXPECT_EQ(report.first_bad()->element, 1);
  EXPECT_TRUE(std::isinf(entry_of(report, y).accumulated));
}

// Both computations follow the branch that was recorded; what f64 would have chosen is counted.
TEST(Audit, CountsDecisionsThatFlip) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<float>({3}, {0.1F, 0.2F, 0.4F}), "x");
  const Var same = x * 3.0 - (x + x) > x;  // rounding alone decides
  const Var y = where(same, x, -x);
  const AuditReport report = audit(tape);
  const AuditEntry& entry = entry_of(report, same);
  std::int64_t want = 0;
  for (std::int64_t i = 0; i < 3; ++i) {
    const double v = x.value().at(i);
    want += (v * 3.0 - (v + v) > v) != (same.value().at(i) != 0);
  }
  EXPECT_EQ(entry.flips, want);
  EXPECT_EQ(entry_of(report, y).accumulated, 0);
  EXPECT_TRUE(report.passed());
}

TEST(Audit, TakesLiteralsAtTheirWord) {
  Tape tape;
  const Var y = tape.leaf(Tensor::full({}, 1)) * 0.1;
  const AuditEntry entry = audit(tape).entries.at(0);
  EXPECT_EQ(entry.node, y.id());
  EXPECT_EQ(entry.shadow, 0.1);
  EXPECT_EQ(entry.local, 0);
  EXPECT_GT(entry.accumulated, 0.1);
}

TEST(Audit, RefusesWhatHasNoValues) {
  Tape trace(Tape::Mode::trace);
  EXPECT_EQ(thrown<UsageError>([&] { audit(trace); }),
            "audit: a trace has no values to compare. Run the same function on an eager tape.");
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2), "x");
  const Var y = sum(tanh(exp(x)));
  const int line = __LINE__ - 1;
  grad(y, x, {.keep = false, .unused = {}});
  const std::string text = thrown<UsageError>([&] { audit(tape); });
  EXPECT_TRUE(text.starts_with("audit: the value of ")) << text;
  EXPECT_TRUE(
      text.ends_with(" was released by a sweep with keep = false, which is what tape.step asks for. Audit before "
                     "the sweep, or ask for it with {.keep = true}. (audit_test.cpp:" +
                     std::to_string(line) + ")"))
      << text;
}

TEST(Audit, TheTableHasBadNodesFirstAndAsManyRowsAsAskedFor) {
  Tape tape;
  Var x = tape.leaf(normal({100}, 1, 1e4));
  for (int i = 0; i < 5; ++i) x = x * 1.0;
  const Var bad = mean(x * x) - square(mean(x));
  const std::string text = audit(tape).text(3);
  EXPECT_NE(text.find("\n  %" + std::to_string(bad.id())), std::string::npos) << text;
  EXPECT_NE(text.find("and "), std::string::npos) << text;
  EXPECT_EQ(std::ranges::count(text, '\n'), 1 + 1 + 3 + 1) << text;
}

}  // namespace
}  // namespace ebb
