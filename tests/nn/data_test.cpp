// Data: the digits, whose every kind of bad file has its own words, and mini-batches that a seed repeats.
#include <ebb/ebb.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "tests/support/thrown.h"

namespace ebb::test {
namespace {

class Digits : public testing::Test {
 protected:
  Digits() : path_(std::filesystem::temp_directory_path() / ("ebb_digits_" + std::to_string(getpid()) + ".csv.gz")) {}
  ~Digits() override { std::filesystem::remove(path_); }

  void write(const std::string& bytes) const { std::ofstream(path_, std::ios::binary) << bytes; }
  void compress(const std::string& text) const {
    const gzFile file = gzopen(path_.c_str(), "wb");
    gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
    gzclose(file);
  }
  std::string bytes() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  // The text of the error, with the path and the place left out.
  std::string error() const {
    std::string text = thrown<IoError>([&] { nn::read_digits(path_); });
    const std::string path = path_.string();
    if (const auto at = text.find(path); at != text.npos) text.replace(at, path.size(), "FILE");
    const auto place = text.find(" (data_test.cpp:");
    EXPECT_NE(place, text.npos) << text;
    return text.substr(0, place);
  }
  static std::string line(const std::string& first = "16") {
    std::string text = first;
    for (int i = 1; i < 64; ++i) text += ",8";
    return text + ",7\n";
  }

  std::filesystem::path path_;
};

TEST_F(Digits, Ship) {
  const nn::Dataset digits = nn::read_digits();
  EXPECT_EQ(digits.x.shape(), (Shape{1797, 64}));
  EXPECT_EQ(digits.x.dtype(), DType::f32);
  EXPECT_EQ(digits.labels.shape(), (Shape{1797}));
  EXPECT_EQ(digits.x.at(2), 5 / 16.0);
  double largest = 0;
  for (std::int64_t i = 0; i < digits.x.numel(); ++i) largest = std::max(largest, digits.x.at(i));
  EXPECT_EQ(largest, 1);
  std::set<std::int64_t> classes(digits.labels.data<std::int64_t>().begin(), digits.labels.data<std::int64_t>().end());
  EXPECT_EQ(classes.size(), 10u);
}

TEST_F(Digits, LinesMayEndAsTheyLike) {
  compress(line("0").substr(0, line("0").size() - 1) + "\r\n" + line());
  EXPECT_EQ(nn::read_digits(path_).x.at(64), 1);
  EXPECT_EQ(nn::read_digits(path_).labels.at(1), 7);
}

TEST_F(Digits, Missing) {
  EXPECT_EQ(error(), "read_digits: cannot open the file (No such file or directory); got \"FILE\". Check the path.");
}

TEST_F(Digits, NotGzip) {
  write(line());
  EXPECT_EQ(error(),
            "read_digits: the file is not gzip, it begins with 31 36 instead of 1f 8b; got \"FILE\". Compress it with "
            "gzip.");
  write("");
  EXPECT_EQ(
      error(),
      "read_digits: the file has 0 bytes, too few for gzip; got \"FILE\". Fetch the file again: digits.csv.gz ships "
      "in nn/data.");
}

TEST_F(Digits, CutShortOrDamaged) {
  std::string text;
  for (int i = 0; i < 200; ++i) text += line(std::to_string(i % 17));
  compress(text);
  std::string packed = bytes();
  write(packed.substr(0, packed.size() / 2));
  EXPECT_EQ(error().find("read_digits: cut short, "), 0u) << error();
  packed[packed.size() - 5] = static_cast<char>(packed[packed.size() - 5] + 1);  // the checksum
  write(packed);
  EXPECT_EQ(error().find("read_digits: damaged, after "), 0u) << error();
}

TEST_F(Digits, WrongWidth) {
  compress(line() + "1,2,3\n");
  EXPECT_EQ(error(),
            "read_digits: line 2 has 3 fields instead of 65; got \"FILE\". A line is 64 pixels of 0..16 and a label of "
            "0..9.");
  compress("");
  EXPECT_EQ(error(),
            "read_digits: the file has no lines; got \"FILE\". Fetch the file again: digits.csv.gz ships in nn/data.");
}

TEST_F(Digits, BadNumbers) {
  for (const char* bad : {"17", "-1", "", "x", "1.5", "99999999999", " 1"}) {
    compress(line() + line() + line(bad));
    EXPECT_EQ(error(),
              std::string("read_digits: line 3, field 1: \"") + bad +
                  "\" is not a whole number of 0..16; got \"FILE\". A line is 64 pixels of 0..16 and a label of "
                  "0..9.");
  }
  std::string label = line();
  label.replace(label.size() - 2, 1, "10");
  compress(label);
  EXPECT_EQ(error().find("read_digits: line 1, field 65: \"10\" is not a whole number of 0..9;"), 0u) << error();
}

nn::Dataset counted(std::int64_t n) {
  nn::Dataset data{Tensor::zeros({n, 2}), Tensor::zeros({n}, DType::i64)};
  for (std::int64_t i = 0; i < n; ++i) {
    data.x.mutable_data<float>()[static_cast<std::size_t>(2 * i)] = static_cast<float>(i);
    data.labels.mutable_data<std::int64_t>()[static_cast<std::size_t>(i)] = i;
  }
  return data;
}

std::vector<std::int64_t> order(nn::Batches& batches, std::int64_t epoch) {
  std::vector<std::int64_t> out;
  for (const nn::Dataset& batch : batches.epoch(epoch)) {
    for (std::int64_t i = 0; i < batch.size(); ++i) {
      EXPECT_EQ(batch.x.at(2 * i), batch.labels.at(i)) << "a row parted from its label";
      out.push_back(static_cast<std::int64_t>(batch.labels.at(i)));
    }
  }
  return out;
}

TEST(Batches, ASeedAndAnEpochSayTheOrder) {
  nn::Batches a(counted(103), 10, {.seed = 5});
  nn::Batches b(counted(103), 10, {.seed = 5});
  const auto third = order(a, 3);
  order(b, 0);
  EXPECT_EQ(order(b, 3), third);
  EXPECT_NE(order(b, 4), third);
  nn::Batches other(counted(103), 10, {.seed = 6});
  EXPECT_NE(order(other, 3), third);
  EXPECT_EQ(std::set(third.begin(), third.end()).size(), 103u);
  EXPECT_EQ(a.count(), 11);
}

TEST(Batches, DropLastAndNoShuffle) {
  nn::Batches batches(counted(25), 10, {.shuffle = false, .drop_last = true});
  EXPECT_EQ(batches.count(), 2);
  const auto all = order(batches, 0);
  EXPECT_EQ(all.size(), 20u);
  EXPECT_EQ(all.back(), 19);
  thrown<UsageError>([] { nn::Batches(counted(3), 0); });
  thrown<ShapeError>([] { nn::Batches({Tensor::zeros({3, 2}), Tensor::zeros({4}, DType::i64)}, 1); });
}

TEST(Split, IsSeededAndWhole) {
  Random random(7);
  const auto [train, test] = nn::split(counted(100), 80, random);
  EXPECT_EQ(train.size(), 80);
  std::set<double> seen;
  for (std::int64_t i = 0; i < 80; ++i) seen.insert(train.labels.at(i));
  for (std::int64_t i = 0; i < 20; ++i) seen.insert(test.labels.at(i));
  EXPECT_EQ(seen.size(), 100u);
  Random again(7);
  EXPECT_TRUE(identical(nn::split(counted(100), 80, again).train.x, train.x));
  thrown<UsageError>([&] { nn::split(counted(10), 11, random); });
}

TEST(TakeRows, ChecksRows) {
  const std::vector<std::int64_t> rows{2, 0, 2};
  const Tensor taken = nn::take_rows(Tensor::of<float>({3, 1}, {5, 6, 7}), rows);
  EXPECT_EQ(taken.at(0), 7);
  EXPECT_EQ(taken.at(1), 5);
  const std::vector<std::int64_t> outside{3};
  EXPECT_EQ(thrown<UsageError>([&] {
              nn::take_rows(Tensor::zeros({3, 1}), outside);
            }),
            "take_rows: row 3 is outside of 0 .. 2.");
}

}  // namespace
}  // namespace ebb::test
