// Modules: paths, modes, clones, scopes, printing, and the layers that are not batch normalization.
#include <ebb/ebb.h>
#include <gtest/gtest.h>

#include <cmath>
#include <type_traits>

#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

nn::Sequential small_net(std::uint64_t seed = 0) {
  Random random(seed);
  return nn::Sequential("net", nn::named("fc1", nn::Linear(4, 3, {.bias = false}, random)),
                        nn::named("bn1", nn::BatchNorm(3)), nn::Sigmoid(), nn::named("fc2", nn::Linear(3, 2, random)));
}

// A module of one's own.
class Residual : public nn::Module {
 public:
  explicit Residual(Random& random) : fc_(add("fc", nn::Linear(4, 4, random))), bn_(add("bn", nn::BatchNorm(4))) {}
  std::string_view kind() const override { return "Residual"; }

 protected:
  Var forward(const Var& x) const override { return x + relu(bn_(fc_(x))); }
  std::unique_ptr<Module> new_like() const override {
    Random random(0);
    return std::make_unique<Residual>(random);
  }

 private:
  nn::Linear& fc_;
  nn::BatchNorm& bn_;
};

Tensor numbers(const Shape& shape, std::uint64_t seed = 9) {
  Tensor x = Tensor::empty(shape, DType::f32);
  Random(seed).fill_normal(x);
  return x;
}

std::vector<std::string> paths(const std::vector<nn::NamedState>& named) {
  std::vector<std::string> out;
  for (const nn::NamedState& n : named) out.push_back(n.path);
  return out;
}

TEST(Module, PathsNameStates) {
  const nn::Sequential net = small_net();
  EXPECT_EQ(paths(net.named_parameters()), (std::vector<std::string>{"net.fc1.weight", "net.bn1.weight", "net.bn1.bias",
                                                                     "net.fc2.weight", "net.fc2.bias"}));
  EXPECT_EQ(paths(net.named_buffers()),
            (std::vector<std::string>{"net.bn1.running_mean", "net.bn1.running_var", "net.bn1.num_batches_tracked",
                                      "net.bn1.num_batches_skipped"}));
  for (const nn::NamedState& n : net.named_parameters()) EXPECT_EQ(n.state.name(), n.path);
  EXPECT_EQ(net.state("fc1.weight"), net.parameters()[0]);
  EXPECT_EQ(net.state("fc1.weight").shape(), (Shape{3, 4}));
  EXPECT_EQ(thrown<UsageError>([&] { net.state("fc1.bias"); }),
            "module: Linear has no parameter or buffer \"bias\". There are: weight.");
  EXPECT_EQ(thrown<UsageError>([&] { net.child("fc3"); }),
            "module: Sequential has no child \"fc3\". There are: fc1, bn1, 2, fc2.");
}

TEST(Module, NamesAreTakenOnce) {
  nn::Sequential net("net");
  net.add("a", nn::Sigmoid());
  EXPECT_EQ(thrown<UsageError>([&] { net.add("a", nn::Tanh()); }),
            "module: Sequential already has a part named \"a\". Choose another name.");
  thrown<UsageError>([&] { net.add("a.b", nn::Tanh()); });
}

TEST(Module, PartsAreCounted) {
  const nn::Sequential net = small_net();
  EXPECT_EQ(net[0].name(), "fc1");
  EXPECT_EQ(thrown<UsageError>([&] { net[4]; }), "module: Sequential has 4 parts, there is no part 4.");
}

TEST(Module, CopiesAreDeletedAndMovesAreNot) {
  static_assert(!std::is_copy_constructible_v<nn::Linear> && !std::is_copy_assignable_v<nn::Sequential>);
  Random random(0);
  Residual before(random);
  const State weight = before.state("fc.weight");
  Residual after = std::move(before);
  Tape tape;
  const Var y = after(tape.leaf(numbers({3, 4})));
  EXPECT_TRUE(tape.leaf_of(weight).has_value());
  EXPECT_EQ(y.shape(), (Shape{3, 4}));
}

TEST(Module, ModesReachAllChildren) {
  nn::Sequential net = small_net();
  net.eval();
  EXPECT_FALSE(net.child("bn1").training());
  net.child("bn1").train();
  {
    const nn::Evaluating evaluating(net);
    EXPECT_FALSE(net.child("bn1").training());
  }
  EXPECT_TRUE(net.child("bn1").training());
  EXPECT_FALSE(net.child("fc1").training());
}

TEST(Module, CloneIsDeepT46) {
  nn::Sequential net = small_net();
  auto& bn = dynamic_cast<nn::BatchNorm&>(net.child("bn1"));
  Tape tape;
  tape.step([&] { net(tape.leaf(numbers({6, 4}))); });
  bn.freeze_stats();
  net.eval();
  const nn::Sequential copy = nn::clone(net);
  EXPECT_EQ(to_string(copy), to_string(net));
  EXPECT_EQ(copy.name(), "net");
  EXPECT_EQ(copy.state("fc1.weight").name(), "net.fc1.weight");
  EXPECT_FALSE(copy.training());
  EXPECT_TRUE(dynamic_cast<nn::BatchNorm&>(copy.child("bn1")).frozen());
  EXPECT_EQ(copy.state("bn1.num_batches_tracked").value().item(), 1);
  const Tensor before = copy.state("bn1.running_mean").value();
  EXPECT_TRUE(identical(before, bn.running_mean().value()));
  bn.reset_running_stats();
  net.state("fc2.bias").set(Tensor::full({2}, 9));
  EXPECT_TRUE(identical(copy.state("bn1.running_mean").value(), before));
  EXPECT_NE(copy.state("fc2.bias").value().at(0), 9);

  Random random(3);
  const Residual mine(random);
  const Residual its = nn::clone(mine);
  EXPECT_TRUE(identical(its.state("fc.weight").value(), mine.state("fc.weight").value()));
  EXPECT_FALSE(its.state("fc.weight") == mine.state("fc.weight"));
}

TEST(Module, AssignChecksTheStructure) {
  Random random(0);
  nn::Linear a(4, 3, random);
  const nn::Linear b(4, 2, random);
  EXPECT_EQ(thrown<UsageError>([&] { a.assign(b); }),
            "module: Linear(4, 3) cannot take the values of Linear(4, 2): weight is f32[3, 4] and f32[2, 4].");
  nn::Sequential net = small_net(1);
  net.assign(small_net(2));
  EXPECT_TRUE(identical(net.state("fc1.weight").value(), small_net(2).state("fc1.weight").value()));
}

TEST(Module, Printing) {
  EXPECT_EQ(to_string(small_net()),
            "Sequential(\n"
            "  (fc1) Linear(4, 3, bias=false)\n"
            "  (bn1) BatchNorm(3, eps=1e-05, momentum=new 0.1, affine, track, frozen=false)\n"
            "  (2) Sigmoid()\n"
            "  (fc2) Linear(3, 2)\n"
            ")");
}

TEST(Module, ScopesAndLines) {
  const nn::Sequential net = small_net();
  Tape tape;
  const Location here = Location::current();
  const Var y = net(tape.leaf(numbers({6, 4})));
  const Node& node = tape.node(y.id());
  EXPECT_EQ(tape.scope_path(node.scope), "net.fc2");
  EXPECT_EQ(node.where.line, here.line + 1);
  const std::string text = thrown<ShapeError>([&] { net(tape.leaf(numbers({6, 5}), "x")); });
  EXPECT_NE(text.find("\"net.fc1.weight\""), std::string::npos) << text;
  EXPECT_NE(text.find("(module_test.cpp:"), std::string::npos) << text;
}

TEST(Linear, IsXTimesWeightTransposed) {
  Random random(0);
  nn::Linear fc(3, 2, random);
  fc.weight().set(Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}));
  fc.bias().set(Tensor::of<float>({2}, {10, 20}));
  Tape tape;
  const Var y = fc(tape.leaf(Tensor::of<float>({1, 3}, {1, 0, -1})));
  EXPECT_EQ(y.value().at(0), 8);
  EXPECT_EQ(y.value().at(1), 18);
  EXPECT_EQ(grad(sum(y), fc.weight()).value().at(2), -1);
  thrown<ShapeError>([&] { nn::Linear(0, 2, random); });
}

TEST(Linear, InitialWeightsAreTorchsDefaultRange) {
  Random random(0);
  const nn::Linear fc(100, 200, random);
  double largest = 0;
  for (std::int64_t i = 0; i < 20000; ++i) largest = std::max(largest, std::abs(fc.weight().value().at(i)));
  EXPECT_LE(largest, 0.1);
  EXPECT_GT(largest, 0.0999);
}

TEST(Activations, AreTheirOps) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of<float>({3}, {-1, 0, 2}));
  EXPECT_EQ(nn::Relu()(x).value().at(0), 0);
  EXPECT_NEAR(nn::Sigmoid()(x).value().at(1), 0.5, 1e-7);
  EXPECT_NEAR(nn::Tanh()(x).value().at(2), std::tanh(2.0), 1e-6);
  EXPECT_EQ(nn::Function("Double", [](const Var& v) { return v * 2; })(x).value().at(2), 4);
}

TEST(Training, AccuracyCountsRows) {
  const Tensor scores = Tensor::of<float>({3, 2}, {1, 2, 3, 0, std::nanf(""), 1});
  EXPECT_NEAR(nn::accuracy(scores, Tensor::of<std::int64_t>({3}, {1, 1, 1})), 2.0 / 3, 1e-12);
  thrown<ShapeError>([&] { nn::accuracy(scores, Tensor::of<std::int64_t>({2}, {1, 1})); });
  EXPECT_EQ(thrown<DTypeError>([&] { nn::accuracy(scores, Tensor::zeros({3})); }),
            "accuracy: labels must be i64, got f32[3]. Convert them with to(DType::i64).");
}

TEST(Training, PredictCommitsNothingAndLeavesModes) {
  nn::Sequential net = small_net();
  const Tensor mean = net.state("bn1.running_mean").value();
  EXPECT_EQ(nn::predict(net, numbers({10, 4}), 4).shape(), (Shape{10, 2}));
  EXPECT_TRUE(identical(net.state("bn1.running_mean").value(), mean));
  EXPECT_TRUE(net.child("bn1").training());
  EXPECT_EQ(thrown<UsageError>([&] {
              nn::predict(net, numbers({10, 4}), 0);
            }),
            "predict: the size of a batch must be positive, got 0.");
}

}  // namespace
}  // namespace ebb::test
