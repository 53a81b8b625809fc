// The reader of the golden files: the six real files in full, and small files written here with one
// thing wrong each that makes no sound set of cases. What makes no sound safetensors file is tests/io's.
#include "tests/support/golden.h"

#include <ebb/engine/io/safetensors.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <limits>
#include <stdexcept>

namespace ebb::test {
namespace {

struct Counts {
  const char* family;
  std::size_t cases;
  std::size_t tensors;
};

// As counted in tests/golden/README.md.
constexpr Counts kCounts[] = {{"ops", 524, 2385}, {"batchnorm", 82, 1688}, {"nn", 95, 664},
                              {"optim", 44, 476}, {"training", 7, 136},    {"higher", 127, 902}};

class GoldenFamily : public testing::TestWithParam<Counts> {};

TEST_P(GoldenFamily, HoldsAllItsCasesAndTensors) {
  const GoldenFile file(golden_dir() / (std::string(GetParam().family) + ".safetensors"));
  EXPECT_EQ(file.cases().size(), GetParam().cases);
  std::size_t tensors = 0;
  for (const GoldenCase& c : file.cases()) {
    EXPECT_EQ(c.family, GetParam().family);
    EXPECT_FALSE(c.op.empty()) << c.name;
    for (const std::string& role : c.diff) {
      EXPECT_TRUE(c.has("d" + role) || c.has(role)) << c.name << " " << role;
    }
    tensors += c.tensors.size();
  }
  EXPECT_EQ(tensors, GetParam().tensors);
}

INSTANTIATE_TEST_SUITE_P(All, GoldenFamily, testing::ValuesIn(kCounts),
                         [](const auto& c) { return std::string(c.param.family); });

TEST(Golden, ReadsACaseInFull) {
  const GoldenCase& c = golden("batchnorm").find("nd_train_affine");
  EXPECT_EQ(c.op, "batch_norm");
  EXPECT_EQ(c.args.front(), "x");
  EXPECT_EQ(c.outputs, std::vector<std::string>{"y"});
  EXPECT_EQ(c.attrs.at("momentum"), 0.1);
  EXPECT_TRUE(c.program.empty());
  ASSERT_TRUE(c.f64 && c.f32);
  EXPECT_FALSE(c.f32_two_pass);
  EXPECT_EQ(c.tensor("x").dtype, "F64");
  EXPECT_EQ(c.tensor("x").shape.size(), 2u);
  EXPECT_EQ(c.tensor("y").size(), c.tensor("x").size());
  EXPECT_FALSE(mismatch(c.tensor("y").reals, c, "y", *c.f64));
}

TEST(Golden, ReadsIllConditionedInputsInBothTypes) {
  const GoldenCase& c = golden("batchnorm").find("ill_mean1e4");
  EXPECT_EQ(c.tensor("x_f32").dtype, "F32");
  EXPECT_TRUE(c.f32_two_pass);
  const auto& exact = c.tensor("x").reals;
  const auto& rounded = c.tensor("x_f32").reals;
  ASSERT_EQ(exact.size(), rounded.size());
  for (std::size_t i = 0; i < exact.size(); ++i) {
    EXPECT_EQ(rounded[i], static_cast<double>(static_cast<float>(exact[i])));
  }
}

TEST(Golden, ReadsLabelsAsIntegers) {
  const GoldenTensor& labels = golden("training").find("data_mlp").tensor("labels");
  EXPECT_EQ(labels.dtype, "I64");
  EXPECT_TRUE(labels.reals.empty());
  for (const std::int64_t label : labels.integers) EXPECT_TRUE(label >= 0 && label < 10);
}

TEST(Golden, NamesTheCaseOrRoleThatIsMissing) {
  const GoldenFile& file = golden("higher");
  EXPECT_THROW(file.find("no_such_case"), std::out_of_range);
  EXPECT_THROW(file.cases().front().tensor("no_such_role"), std::out_of_range);
}

TEST(Mismatch, FollowsTheRuleOfTheData) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  GoldenCase c;
  c.name = "case";
  c.tensors["y"] = {"F64", {3}, {1, 0, kInf}, {}};
  const Tolerance tolerance{0.1, {{"y", 0.01}}};
  const auto check = [&](std::vector<double> values) { return mismatch(values, c, "y", tolerance); };
  EXPECT_FALSE(check({1.1, -0.0, kInf}));
  EXPECT_EQ(check({1.2, 0, kInf}), "case/y[0]: got 1.2, expected 1, off by 0.2 where 0.11 is allowed");
  EXPECT_TRUE(check({1, 0, -kInf}));
  EXPECT_TRUE(check({1, 0, 1e300}));
  EXPECT_TRUE(check({std::nan(""), 0, kInf}));
  EXPECT_EQ(check({1, 0}), "case/y: 2 values, expected 3");
  EXPECT_THROW(mismatch({}, c, "y", Tolerance{}), std::out_of_range);
}

// Sound safetensors files with one thing wrong.
class DamagedGolden : public testing::Test {
 protected:
  // What reading such a file says, without the file's name, which must come first.
  std::string error_of(const TensorMap& tensors, const Metadata& metadata) {
    save_safetensors(path_, tensors, metadata);
    try {
      GoldenFile file(path_);
      return "";
    } catch (const std::runtime_error& error) {
      const std::string text = error.what();
      const std::string prefix = "golden file " + path_.string() + ": ";
      EXPECT_EQ(text.substr(0, prefix.size()), prefix);
      return text.substr(prefix.size());
    }
  }

  void TearDown() override { std::filesystem::remove(path_); }

  const std::filesystem::path path_ =
      std::filesystem::path(testing::TempDir()) /
      (std::string("damaged_") + testing::UnitTest::GetInstance()->current_test_info()->name() + ".safetensors");
  const Tensor x_ = Tensor::of({2}, {1.0, 2.0});
  const std::string case_ = R"({"family": "f", "op": "o"})";
};

TEST_F(DamagedGolden, AcceptsASoundFile) { EXPECT_EQ(error_of({{"c/x", x_}}, {{"c", case_}}), ""); }

TEST_F(DamagedGolden, Missing) { EXPECT_THROW(GoldenFile("no/such/file"), std::runtime_error); }

TEST_F(DamagedGolden, UnknownDtype) {
  EXPECT_EQ(error_of({{"c/x", x_.to(DType::boolean)}}, {{"c", case_}}),
            "tensor c/x: dtype BOOL is none of F64, F32, I64");
}

TEST_F(DamagedGolden, TensorOfNoCase) {
  EXPECT_EQ(error_of({{"c/x", x_}}, {}), "tensor c/x: belongs to no case");
  EXPECT_EQ(error_of({{"c", x_}}, {{"c", case_}}), "tensor c: belongs to no case");
}

TEST_F(DamagedGolden, CaseNotJson) { EXPECT_EQ(error_of({}, {{"c", "{"}}).substr(0, 8), "case c: "); }

}  // namespace
}  // namespace ebb::test
