// Memory in and out of tensors: spans and Eigen's maps share it, foreign strided memory is copied.
#include <ebb/engine/error.h>
#include <ebb/engine/tensor/eigen.h>
#include <ebb/engine/tensor/tensor.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/support/thrown.h"

namespace ebb {
namespace {

using test::thrown;

template <class T>
std::vector<T> elements(const Tensor& tensor) {
  const std::span<const T> data = tensor.data<T>();
  return {data.begin(), data.end()};
}

TEST(Span, SharesTheMemoryAndLeavesEarlierCopiesAlone) {
  Tensor a = Tensor::of({3}, {1.0F, 2.0F, 3.0F});
  const Tensor before = a;
  const std::span<float> span = a.mutable_data<float>();
  span[0] = 9;
  EXPECT_EQ(elements<float>(a), (std::vector<float>{9, 2, 3}));
  EXPECT_EQ(elements<float>(before), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(a.data<float>().data(), span.data());
}

TEST(Span, WritesToACopyMadeAfterIt) {  // the documented limit of the rule
  Tensor a = Tensor::of({2}, {1.0, 2.0});
  const std::span<double> span = a.mutable_data<double>();
  const Tensor after = a;
  span[0] = 9;
  EXPECT_EQ(after.at(0), 9);
  a.mutable_data<double>()[0] = 7;  // asked anew, it keeps the two apart
  EXPECT_EQ(after.at(0), 9);
  EXPECT_EQ(a.at(0), 7);
}

TEST(Eigen, ReadsWithoutACopy) {
  const Tensor a = Tensor::of({2, 3}, {1.0, 2.0, 3.0, 4.0, 5.0, 6.0});
  const auto matrix = eigen_matrix<double>(a);
  EXPECT_EQ(matrix.data(), a.data<double>().data());
  EXPECT_EQ(matrix.rows(), 2);
  EXPECT_EQ(matrix.cols(), 3);
  EXPECT_EQ(matrix(0, 2), 3);
  EXPECT_EQ(matrix(1, 0), 4);
  const EigenMatrix<double> product = matrix * matrix.transpose();
  EXPECT_EQ(product(0, 1), 32);
  EXPECT_EQ(eigen_array<double>(a).sum(), 21);
}

TEST(Eigen, WritesToTheTensorAndToNoEarlierCopy) {
  Tensor a = Tensor::of({2, 2}, {1.0F, 2.0F, 3.0F, 4.0F});
  const Tensor before = a;
  mutable_eigen_matrix<float>(a).transposeInPlace();
  mutable_eigen_array<float>(a) += 1;
  EXPECT_EQ(elements<float>(a), (std::vector<float>{2, 4, 3, 5}));
  EXPECT_EQ(elements<float>(before), (std::vector<float>{1, 2, 3, 4}));
}

TEST(Eigen, ViewsNothing) {
  EXPECT_EQ(eigen_matrix<float>(Tensor::zeros({0, 4})).cols(), 4);
  EXPECT_EQ(eigen_array<float>(Tensor()).size(), 0);
}

TEST(Eigen, Errors) {
  Tensor x = Tensor::zeros({2, 3, 4});
  const std::string text = "eigen_matrix: expected 2 axes, got f32[2, 3, 4]. Reshape it first, or use eigen_array.";
  EXPECT_EQ(thrown<ShapeError>([&] { eigen_matrix<float>(x); }), text);
  EXPECT_EQ(thrown<ShapeError>([&] { mutable_eigen_matrix<float>(x); }), text);
  EXPECT_EQ(thrown<DTypeError>([&] { eigen_array<double>(x); }),
            "data: asked for f64 elements of f32[2, 3, 4]. Convert it first with to(f64).");
  EXPECT_EQ(thrown<UsageError>([] { eigen_array<float>(Tensor::abstract({2}, DType::f32)); }),
            "eigen: the tensor f32[2] has no values.");
}

TEST(FromStrided, CopiesAnyLayout) {
  std::vector<float> memory(12);
  std::iota(memory.begin(), memory.end(), 0.0F);
  const float* const data = memory.data();
  using V = std::vector<float>;
  EXPECT_EQ(elements<float>(Tensor::from_strided({3, 4}, data, {4, 1})), memory);
  EXPECT_EQ(elements<float>(Tensor::from_strided({2, 3}, data, {1, 2})), (V{0, 2, 4, 1, 3, 5})) << "column-major";
  EXPECT_EQ(elements<float>(Tensor::from_strided({2, 2}, data + 1, {4, 2})), (V{1, 3, 5, 7})) << "a window";
  EXPECT_EQ(elements<float>(Tensor::from_strided({4}, data + 11, {-3})), (V{11, 8, 5, 2})) << "backwards";
  EXPECT_EQ(elements<float>(Tensor::from_strided({2, 3}, data + 5, {0, -1})), (V{5, 4, 3, 5, 4, 3})) << "repeated";
  EXPECT_EQ(elements<float>(Tensor::from_strided({2, 2}, data, {0, 0})), (V{0, 0, 0, 0}));
  EXPECT_EQ(Tensor::from_strided({}, data + 3, {}).item(), 3);
  EXPECT_EQ(Tensor::from_strided({0, 3}, static_cast<const float*>(nullptr), {3, 1}).shape(), (Shape{0, 3}));
}

TEST(FromStrided, CopiesEveryDtypeAndSharesNothing) {
  bool flags[] = {true, false, false, true};
  const Tensor t = Tensor::from_strided({2, 2}, static_cast<const bool*>(flags), {1, 2});
  flags[0] = false;
  EXPECT_EQ(elements<bool>(t), (std::vector<bool>{true, false, false, true}));
  const std::int64_t whole[] = {1, 2, 3};
  EXPECT_EQ(elements<std::int64_t>(Tensor::from_strided({3}, whole + 2, {-1})), (std::vector<std::int64_t>{3, 2, 1}));
  const double real[] = {1.5, 2.5};
  EXPECT_EQ(elements<double>(Tensor::from_strided({2, 2}, real, {0, 1})), (std::vector<double>{1.5, 2.5, 1.5, 2.5}));
}

TEST(FromStrided, LargeTransposedMemory) {
  constexpr std::int64_t kRows = 301, kColumns = 257;
  std::vector<double> memory(kRows * kColumns);
  std::iota(memory.begin(), memory.end(), 0.0);
  const Tensor t = Tensor::from_strided({kRows, kColumns}, memory.data(), {1, kRows});
  for (std::int64_t r = 0; r < kRows; ++r) {
    for (std::int64_t c = 0; c < kColumns; ++c) ASSERT_EQ(t.at(r * kColumns + c), static_cast<double>(r + c * kRows));
  }
}

TEST(FromStrided, Errors) {
  const float x = 0;
  EXPECT_EQ(thrown<ShapeError>([&] {
              Tensor::from_strided({2, 3}, &x, {0});
            }),
            "from_strided: 1 strides for shape [2, 3], which has 2 axes");
  EXPECT_EQ(thrown<UsageError>([] { Tensor::from_strided({2}, static_cast<const double*>(nullptr), {1}); }),
            "from_strided: data is null, shape [2] holds 2 elements");
}

}  // namespace
}  // namespace ebb
