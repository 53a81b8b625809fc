// Names, scopes and source lines: what an error or a dump says about a node.
#include <ebb/ebb.h>
#include <ebb/ops/batch_norm/batch_norm.h>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

std::vector<std::string> names(const Tape& tape, NodeId id) {
  std::vector<std::string> out;
  const std::vector<std::string> texts = tape.name_texts();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (tape.names()[i].node == id && !texts[i].empty()) out.push_back(texts[i]);
  }
  return out;
}

using Names = std::vector<std::string>;

// --- names -----------------------------------------------------------------------------------------------------------

TEST(Names, OneContributionOrSeveral) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({3}, 2, DType::f64), "x");
  const Var h = tape.name(exp(x), "h");
  const Var y = tape.name(h * h + x, "y");
  const Var dx = pullback(y, tape.leaf(Tensor::full({3}, 1, DType::f64)), x);
  EXPECT_EQ(names(tape, dx.id()), Names{"dx"});
  EXPECT_EQ(tape.find("dx"), dx);
  // h has two contributions, both from h * h; x gets one from the sum, which is y's cotangent itself, and one from exp.
  EXPECT_EQ(names(tape, tape.find("dh").id()), Names{"dh"});
  EXPECT_EQ(names(tape, tape.find("dy").id()), (Names{"dy", "dx1"}));
  EXPECT_TRUE(tape.find("dx2").alive());
  EXPECT_THROW(tape.find("dx3"), UsageError);
  const Var dh1 = tape.find("dh1");
  EXPECT_EQ(dh1, tape.find("dh2"));  // one node that h * h gives for both inputs
}

TEST(Names, PartialSumsHaveNone) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 2, DType::f64), "x");
  const Var dx = grad(exp(x) + log(x) + sqrt(x), x);
  EXPECT_EQ(names(tape, dx.id()), Names{"dx"});
  EXPECT_TRUE(tape.find("dx1").alive());
  EXPECT_TRUE(tape.find("dx2").alive());
  EXPECT_TRUE(tape.find("dx3").alive());
  int sums = 0;
  for (NodeId id = 0; id < tape.size(); ++id) {
    if (tape.node(id).accumulation) ++sums;
  }
  EXPECT_EQ(sums, 2);
}

TEST(Names, OfASecondSweepAreNumbered) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 2, DType::f64), "x");
  const Var y = x * x * x;
  const Var first = grad(y, x);
  const Var second = grad(y, x);
  EXPECT_EQ(names(tape, first.id()), Names{"dx"});
  EXPECT_EQ(names(tape, second.id()), Names{"dx#2"});
  EXPECT_EQ(tape.find("dx#2"), second);
  const Var again = tape.name(exp(x), "x");
  EXPECT_EQ(again.name(), "x#2");
  EXPECT_EQ(tape.find("x"), x);
}

TEST(Names, OfDerivativesOfDerivatives) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({}, 2, DType::f64), "x");
  const Var dx = grad(x * x * x, x);
  const Var ddx = grad(dx, x);
  EXPECT_EQ(ddx.item(), 12);
  EXPECT_FALSE(ddx.name().starts_with("%")) << ddx.name();
}

TEST(Names, UnnamedNodesHaveNumbers) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  EXPECT_EQ(x.name(), "%0");
  EXPECT_EQ(grad(sum(exp(x)), x).name().substr(0, 1), "%");
  EXPECT_EQ(tape.names().size(), 0u);
}

TEST(Names, AreUniqueWithinTheirScope) {
  Tape tape;
  const Var x = tape.leaf(Tensor::full({2}, 1), "x");
  Vars outs;
  for (const char* layer : {"fc1", "fc2"}) {
    const auto net = tape.scope("net");
    const auto scope = tape.scope(layer);
    outs.push_back(tape.name(exp(x), "out"));
  }
  EXPECT_EQ(outs[0].name(), "out");
  EXPECT_EQ(outs[1].name(), "out");
  EXPECT_EQ(tape.find("net.fc1/out"), outs[0]);
  EXPECT_EQ(tape.find("net.fc2/out"), outs[1]);
  EXPECT_EQ(tape.find("out"), outs[0]);
  grad(sum(outs[0] + outs[1]), x);
  EXPECT_TRUE(tape.find("net.fc2/dout").alive());
  EXPECT_EQ(thrown<UsageError>([&] { tape.find("net.fc3/out"); }),
            "find: nothing on this tape is named net.fc3/out. dump(tape) lists the names.");
}

// A cotangent may be made by a rule of another scope; its name is that of the node it belongs to, and so is its place.
TEST(Names, ACotangentIsFoundInItsNodesScope) {
  Tape tape;
  Var h;
  const Var x = tape.leaf(Tensor::full({2}, 1), "x");
  {
    const auto scope = tape.scope("a");
    h = tape.name(exp(x), "h");
  }
  {
    const auto scope = tape.scope("b");
    h = tape.name(square(h), "h");
  }
  grad(sum(h), x);
  EXPECT_EQ(tape.find("a/dh").value().at(0), tape.find("a/h").value().at(0) * 2);
  EXPECT_EQ(tape.find("b/dh").value().at(0), 1);
}

TEST(Names, BadTexts) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  EXPECT_EQ(thrown<UsageError>([&] { tape.name(x, ""); }), "name: a name must not be empty.");
  EXPECT_EQ(thrown<UsageError>([&] { tape.name(x, std::string(1025, 'x')); }),
            "name: a name must not be longer than 1024 characters.");
  tape.name(x, std::string(1024, 'x'));
  EXPECT_EQ(x.name().size(), 1024u);
  EXPECT_THROW(tape.leaf(Tensor::zeros({2}), std::string(1025, 'x')), UsageError);
  EXPECT_EQ(tape.size(), 1u);
}

TEST(Names, TheTapeKeepsItsOwnCopy) {
  Tape tape;
  std::string text = "temporary";
  const Var x = tape.leaf(Tensor::zeros({2}), text);
  text = "XXXXXXXXX";
  EXPECT_EQ(x.name(), "temporary");
}

TEST(Names, TheFourteenOfBatchnorm) {
  Tape tape;
  const Var x = tape.leaf(Tensor::of({3, 1}, {1.0, 2.0, 4.0}), "x");
  const Var gamma = tape.leaf(Tensor::full({1}, 2, DType::f64), "gamma");
  const Var beta = tape.leaf(Tensor::full({1}, 1, DType::f64), "beta");
  const Var out = batch_norm(x, gamma, beta);
  pullback(out, tape.leaf(Tensor::of({3, 1}, {1.0, -1.0, 0.5}), "dout"), {x, gamma, beta});
  for (const char* name : {"dbeta", "dgammax", "dgamma", "dxhat", "divar", "dxmu1", "dsqrtvar", "dvar", "dsq", "dxmu2",
                           "dx1", "dmu", "dx2", "dx"}) {
    EXPECT_NO_THROW(tape.find(name)) << name;
  }
  EXPECT_EQ(tape.find("dgammax"), tape.find("dout"));
}

// --- scopes ----------------------------------------------------------------------------------------------------------

TEST(Scopes, NestAndEnd) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}));
  const auto path = [&](const Var& v) { return tape.scope_path(tape.node(v.id()).scope); };
  EXPECT_EQ(path(x), "");
  {
    const auto net = tape.scope("net");
    {
      const auto block = tape.scope("block2");
      EXPECT_EQ(path(exp(x)), "net.block2");
    }
    EXPECT_EQ(path(exp(x)), "net");
    try {
      const auto bad = tape.scope("bad");
      throw 1;
    } catch (int) {
    }
    EXPECT_EQ(path(exp(x)), "net");
  }
  EXPECT_EQ(path(exp(x)), "");
}

TEST(Scopes, ADerivativeStandsWhereItsNodeStands) {
  Tape tape;
  const Var x = tape.leaf(Tensor::zeros({2}), "x");
  Var y;
  {
    const auto scope = tape.scope("net");
    y = exp(x);
  }
  const auto elsewhere = tape.scope("optimizer");
  const Var dx = grad(sum(y), x);
  EXPECT_EQ(tape.scope_path(tape.node(dx.id()).scope), "net");
  EXPECT_EQ(tape.node(dx.id()).origin, y.id());
}

TEST(Scopes, AGuardMayOutliveItsTape) {
  auto tape = std::make_unique<Tape>();
  const auto scope = tape->scope("net");
  tape = nullptr;
}

// --- source lines ----------------------------------------------------------------------------------------------------

class Lines : public testing::Test {
 protected:
  std::string line(const Var& v) const { return to_string(tape.node(v.id()).where); }
  static std::string at(int line) { return "names_test.cpp:" + std::to_string(line); }

  Tape tape;
  Var x = tape.leaf(Tensor::full({2, 2}, 2));
};

TEST_F(Lines, OfOpsAndOperators) {
  const auto check = [&](const Var& v, int expected) { EXPECT_EQ(line(v), at(expected)); };
  check(exp(x), __LINE__);
  check(-x, __LINE__);
  check(x + x, __LINE__);
  check(x - 1, __LINE__);
  check(2.0 * x, __LINE__);
  check(1 / x, __LINE__);
  check(x > 0, __LINE__);
  check(0 < x, __LINE__);
  check(where(x > 0.0, x, 1.0), __LINE__);
  check(sum(x, 0), __LINE__);
  check(mean(x), __LINE__);
  check(reshape(x, {4}), __LINE__);
  check(broadcast_to(x, {3, 2, 2}), __LINE__);
  check(matmul(x, x), __LINE__);
  check(cast(x, DType::f64), __LINE__);
  check(detach(x), __LINE__);
  check(tape.leaf(Tensor::zeros({1})), __LINE__);
  check(tape.read(State("s", Tensor::zeros({1}))), __LINE__);
}

TEST_F(Lines, OfCompositionsAreTheUsers) {
  const std::size_t before = tape.size();
  const Var y = softmax(x);
  const int expected = __LINE__ - 1;
  for (NodeId id = static_cast<NodeId>(before); id < tape.size(); ++id) {
    if (tape.node(id).row == &kConstant) continue;
    EXPECT_EQ(to_string(tape.node(id).where), at(expected)) << id << tape.node(id).row->name;
  }
  EXPECT_EQ(tape.scope_path(tape.node(y.id()).scope), "softmax");
}

TEST_F(Lines, OfNestedScopesAreTheOutermost) {
  const auto layer = [&](Location where = Location::current()) {
    const auto scope = tape.scope("layer", where);
    const auto inner = tape.scope("inner");
    return exp(x);
  };
  const Var y = layer();
  EXPECT_EQ(line(y), at(__LINE__ - 1));
  EXPECT_EQ(line(exp(x)), at(__LINE__));  // no scope is open
}

TEST_F(Lines, OfErrorsToo) {
  const Var y = tape.leaf(Tensor::zeros({3}));
  const auto layer = [&](Location where = Location::current()) {
    const auto scope = tape.scope("layer", where);
    return x + y;
  };
  const auto text = thrown<ShapeError>([&] { layer(); });
  EXPECT_TRUE(text.ends_with(" (" + at(__LINE__ - 1) + ", in layer)")) << text;
  const auto text2 = thrown<ShapeError>([&] { 2.0 * x + y; });
  EXPECT_TRUE(text2.ends_with("(" + at(__LINE__ - 1) + ")")) << text2;
}

// A composition's own scope says nothing beside its name; what it is part of does.
TEST_F(Lines, OfErrorsNameTheScopesAroundTheOp) {
  const auto net = tape.scope("net");
  const std::string outer = at(__LINE__ - 1);
  const auto block = tape.scope("block2");
  const auto ends = [](const std::string& text, const std::string& with) {
    EXPECT_TRUE(text.ends_with(" (" + with + ")")) << text;
  };
  ends(thrown<ShapeError>([&] { ebb::std(x, 7); }), outer + ", in net.block2");
  ends(thrown<ShapeError>([&] { sum(x, 7); }), outer + ", in net.block2");
  ends(thrown<DTypeError>([&] { tape.leaf(Tensor::zeros({2}, DType::i64)) + 0.5; }), outer + ", in net.block2");
  {
    const auto projection = tape.scope("value");  // is no op's own scope, though the error begins with value
    const Var y = tape.name(tanh(x), "y");
    grad(sum(square(y)), x, {.keep = false});
    ends(thrown<UsageError>([&] { tape.find("dy").value(); }), outer + ", in net.block2.value");
  }
  tape.set_anomaly(true);
  ends(thrown<UsageError>([&] { log(x - 1e9); }), outer + ", in net.block2");
}

TEST_F(Lines, OfDerivativesAreThoseOfTheirNodes) {
  const Var y = exp(x);
  const int expected = __LINE__ - 1;
  const Var loss = sum(y);
  EXPECT_EQ(line(grad(loss, x)), at(expected));
}

}  // namespace
}  // namespace ebb
