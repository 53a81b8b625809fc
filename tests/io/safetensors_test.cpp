// Safetensors: what is saved comes back, and every way in which a file can lie is told apart, in exact words.
#include <ebb/engine/io/safetensors.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmath>
#include <csignal>
#include <limits>

#include "tests/io/files.h"
#include "tests/support/golden.h"

namespace ebb::test {
namespace {

class SafetensorsFile : public Folder {};

const TensorMap& some_tensors() {
  static const TensorMap tensors = {
      {"b", Tensor::of({3}, {true, false, true})},
      {"empty", Tensor::zeros({0, 4}, DType::f64)},
      {"f32", Tensor::of({2, 2}, {1.5F, -0.0F, std::numeric_limits<float>::infinity(), 3e-45F})},
      {"f64", Tensor::of({1, 2}, {0.1, -1e300})},
      {"i64", Tensor::of({2}, {std::numeric_limits<std::int64_t>::min(), std::int64_t{7}})},
      {"scalar \"\xC3\xA9\"\n", Tensor::full({}, 2, DType::f32)},
  };
  return tensors;
}

void expect_identical(const TensorMap& a, const TensorMap& b) {
  ASSERT_EQ(a.size(), b.size());
  for (auto i = a.begin(), k = b.begin(); i != a.end(); ++i, ++k) {
    EXPECT_EQ(i->first, k->first);
    EXPECT_TRUE(identical(i->second, k->second)) << i->first;
  }
}

TEST_F(SafetensorsFile, ComesBackToTheBit) {
  const Metadata metadata = {{"format", "ebb"}, {"note", "line\n\"two\" \xE2\x82\xAC"}};
  save_safetensors(file("x"), some_tensors(), metadata);
  const Safetensors back = load_safetensors(file("x"));
  expect_identical(back.tensors, some_tensors());
  EXPECT_EQ(back.metadata, metadata);
  const std::string bytes = read_file(file("x"));
  expect_identical(parse_safetensors(as_bytes(bytes)).tensors, some_tensors());
  EXPECT_EQ(files(), 1u) << "a draft was left";
}

TEST_F(SafetensorsFile, HoldsNothing) {
  save_safetensors(file("x"), {});
  EXPECT_EQ(read_file(file("x")), little<std::uint64_t>(8) + "{}      ");
  EXPECT_TRUE(load_safetensors(file("x")).tensors.empty());
}

// The reference data were written by other programs.
TEST_F(SafetensorsFile, KeepsTheGoldenFiles) {
  for (const char* family : {"ops", "batchnorm", "nn", "optim", "training", "higher"}) {
    const Safetensors golden = load_safetensors(golden_dir() / (std::string(family) + ".safetensors"));
    EXPECT_GT(golden.tensors.size(), 100u);
    save_safetensors(file(family), golden.tensors, golden.metadata);
    const Safetensors back = load_safetensors(file(family));
    expect_identical(back.tensors, golden.tensors);
    EXPECT_EQ(back.metadata, golden.metadata);
  }
}

// --- files that other programs write ---------------------------------------------------------------------------------

std::string with_header(const std::string& header, const std::string& data = "") {
  return little<std::uint64_t>(header.size()) + header + data;
}

std::string with_tensor(const std::string& dtype, const std::string& shape, const std::string& data) {
  return with_header(R"({"x":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":[0,)" +
                         std::to_string(data.size()) + "]}}",
                     data);
}

Tensor read_one(const std::string& dtype, const std::string& data, std::size_t size) {
  const std::string bytes = with_tensor(dtype, "[" + std::to_string(data.size() / size) + "]", data);
  return parse_safetensors(as_bytes(bytes)).tensors.at("x");
}

TEST(Safetensors, ReadsNarrowIntegersAsI64) {
  const auto all = [](const Tensor& t) {
    EXPECT_EQ(t.dtype(), DType::i64);
    return std::vector<std::int64_t>(t.data<std::int64_t>().begin(), t.data<std::int64_t>().end());
  };
  using V = std::vector<std::int64_t>;
  EXPECT_EQ(all(read_one("I8", "\x80\x7f\xff", 1)), (V{-128, 127, -1}));
  EXPECT_EQ(all(read_one("U8", "\x80\x7f\xff", 1)), (V{128, 127, 255}));
  EXPECT_EQ(all(read_one("I16", little<std::int16_t>(-32768) + little<std::int16_t>(5), 2)), (V{-32768, 5}));
  EXPECT_EQ(all(read_one("U16", little<std::uint16_t>(65535), 2)), (V{65535}));
  EXPECT_EQ(all(read_one("I32", little<std::int32_t>(-2147483647), 4)), (V{-2147483647}));
  EXPECT_EQ(all(read_one("U32", little<std::uint32_t>(4294967295U), 4)), (V{4294967295}));
  EXPECT_EQ(all(read_one("U64", little<std::uint64_t>(std::numeric_limits<std::int64_t>::max()), 8)),
            (V{std::numeric_limits<std::int64_t>::max()}));
}

TEST(Safetensors, ReadsHalvesAsF32) {
  const auto half = [](std::uint16_t bits) { return read_one("F16", little(bits), 2).at(0); };
  EXPECT_EQ(half(0x3c00), 1);
  EXPECT_EQ(half(0xc000), -2);
  EXPECT_EQ(half(0x7bff), 65504);
  EXPECT_EQ(half(0x0001), 0x1p-24);
  EXPECT_EQ(half(0x83ff), -0x3ffp-24);
  EXPECT_EQ(half(0x7c00), std::numeric_limits<double>::infinity());
  EXPECT_EQ(half(0xfc00), -std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(half(0x7e01)));
  EXPECT_TRUE(std::signbit(half(0x8000)));
  EXPECT_EQ(read_one("BF16", little<std::uint16_t>(0x4049), 2).at(0), 3.140625);
  EXPECT_EQ(read_one("BF16", little<std::uint16_t>(0xff80), 2).at(0), -std::numeric_limits<double>::infinity());
}

TEST(Safetensors, SkipsNothingButBlanks) {
  const std::string data(8, '\0');
  const std::string header = R"({"a":{"data_offsets":[0,8],"shape":[2,1],"dtype":"F32"},"z":{"dtype":"F32",)"
                             R"("shape":[0],"data_offsets":[8,8]}})";
  EXPECT_EQ(parse_safetensors(as_bytes(with_header(header + "    ", data))).tensors.size(), 2u);
}

// --- files that lie --------------------------------------------------------------------------------------------------

std::string error_of(const std::string& bytes) {
  const std::string text = thrown_here<IoError>([&] { parse_safetensors(as_bytes(bytes)); });
  const std::string begin = "parse_safetensors: ";
  const std::string source = "; got " + std::to_string(bytes.size()) + " bytes in memory. ";
  EXPECT_EQ(text.substr(0, begin.size()), begin);
  const auto at = text.find(source);
  EXPECT_NE(at, text.npos) << text;
  return text.substr(begin.size(), at - begin.size()) + ". " + text.substr(at + source.size());
}

std::string header_error(const std::string& header) {
  const std::string text = error_of(with_header(header));
  const std::string begin = "header: ", end = ". Save it again with a sound writer.";
  EXPECT_TRUE(text.starts_with(begin) && text.ends_with(end)) << text;
  return text.substr(begin.size(), text.size() - begin.size() - end.size());
}

TEST_F(SafetensorsFile, SaysWhichFileAndWhere) {
  EXPECT_EQ(thrown_here<IoError>([&] { load_safetensors(file("no")); }),
            "load_safetensors: cannot open the file (No such file or directory); got \"" + file("no") +
                "\". Check the path.");
  EXPECT_EQ(thrown_here<IoError>([&] { load_safetensors(path_); }),
            "load_safetensors: not a regular file; got \"" + path_.string() + "\". Check the path.");
  std::ofstream(file("short")) << "abc";
  EXPECT_EQ(thrown_here<IoError>([&] { load_safetensors(file("short")); }),
            "load_safetensors: 3 bytes are too few for a safetensors file; got \"" + file("short") +
                "\". Fetch the file again.");
}

TEST(HostileSafetensors, Lengths) {
  EXPECT_EQ(error_of(""), "0 bytes are too few for a safetensors file. Fetch the file again.");
  EXPECT_EQ(error_of(little<std::uint64_t>(3) + "{}"),
            "the header takes 3 bytes, only 2 follow. Fetch the file again.");
  EXPECT_EQ(error_of(little(std::numeric_limits<std::uint64_t>::max()) + "{}"),
            "the header takes 18446744073709551615 bytes, only 2 follow. Fetch the file again.");
  EXPECT_EQ(error_of(with_header(std::string(100'000'001, ' '))),
            "the header takes 100000001 bytes, more than 100000000. Save it again with a sound writer.");
}

TEST(HostileSafetensors, HeadersThatAreNoSuchJson) {
  EXPECT_EQ(header_error(""), "not JSON at byte 1");
  EXPECT_EQ(header_error("{"), "not JSON at byte 2");
  EXPECT_EQ(header_error("{} x"), "not JSON at byte 4");
  EXPECT_EQ(header_error("{\"\xff\":1}"), "not JSON at byte 3");
  EXPECT_EQ(header_error("3"), "found the number 3 instead of an object");
  EXPECT_EQ(header_error("[]"), "found a list instead of an object");
  EXPECT_EQ(header_error(R"({"x":null})"), "found null at \"x\"");
  EXPECT_EQ(header_error(R"({"x":true})"), "found a bool at \"x\"");
  EXPECT_EQ(header_error(R"({"x":[]})"), "found a list at \"x\"");
  EXPECT_EQ(header_error(R"({"x":"y"})"), "found the text \"y\" at \"x\"");
  EXPECT_EQ(header_error(R"({"x":{"dtype":{}}})"), "found an object at \"dtype\"");
  EXPECT_EQ(header_error(R"({"x":{"shape":[-1]}})"), "found a negative number at \"shape\"");
  EXPECT_EQ(header_error(R"({"x":{"shape":[1.5]}})"), "found the number 1.5 at \"shape\"");
  EXPECT_EQ(header_error(R"({"x":{"shape":[18446744073709551616]}})"),
            "found the number 18446744073709551616 at \"shape\"");
  EXPECT_EQ(header_error(R"({"x":{"shape":[[1]]}})"), "found a list at \"shape\"");
  EXPECT_EQ(header_error(R"({"x":{"shape":[1],"shape":[2]}})"), "the tensor \"x\" has the key \"shape\" twice");
  EXPECT_EQ(header_error(R"({"x":{"more":1}})"), "the tensor \"x\" has the key \"more\"");
  EXPECT_EQ(header_error(R"({"x":{"dtype":"F32","shape":[]}})"),
            "the tensor \"x\" lacks one of dtype, shape and data_offsets");
  EXPECT_EQ(header_error(R"({"x":{"dtype":"F32","shape":[],"data_offsets":[0]}})"),
            "the tensor \"x\" has not two data_offsets");
  EXPECT_EQ(header_error(R"({"__metadata__":{"a":1}})"), "found the number 1 at \"a\"");
  EXPECT_EQ(header_error(R"({"__metadata__":{"a":"1","a":"2"}})"), "the metadata's key \"a\" is there twice");
  EXPECT_EQ(header_error(R"({"__metadata__":{},"__metadata__":{}})"), "__metadata__ is there twice");
  EXPECT_EQ(header_error("{\"" + std::string(200, 'n') + "\":1}"),
            "found the number 1 at \"" + std::string(80, 'n') + "...\"");
}

TEST(HostileSafetensors, NestingCostsNothing) {
  EXPECT_EQ(header_error(std::string(1'000'000, '[')), "found a list instead of an object");
  std::string header = "{\"x\":";
  for (int i = 0; i < 100'000; ++i) header += "{\"dtype\":";
  EXPECT_EQ(header_error(header), "found an object at \"dtype\"");
}

std::string two(const std::string& first, const std::string& second, const std::string& name = "b") {
  return with_header(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)" + first + R"(},")" + name +
                         R"(":{"dtype":"U8","shape":[4],"data_offsets":)" + second + "}}",
                     std::string(8, '\1'));
}

TEST(HostileSafetensors, Offsets) {
  EXPECT_EQ(parse_safetensors(as_bytes(two("[4,8]", "[0,4]"))).tensors.size(), 2u);
  EXPECT_EQ(
      error_of(two("[0,4]", "[3,7]")),
      "tensor \"b\": bytes [3, 7) overlap the tensor before, which ends at 4. Save it again with a sound writer.");
  EXPECT_EQ(
      error_of(two("[0,4]", "[0,4]")),
      "tensor \"b\": bytes [0, 4) overlap the tensor before, which ends at 4. Save it again with a sound writer.");
  EXPECT_EQ(error_of(two("[1,5]", "[5,9]")),
            "tensor \"a\": bytes [0, 1) belong to no tensor. Save it again with a sound writer.");
  EXPECT_EQ(error_of(two("[0,4]", "[5,9]")),
            "tensor \"b\": bytes [5, 9) lie outside the 8 bytes of data. Fetch the file again.");
  EXPECT_EQ(error_of(two("[0,4]", "[6,4]")),
            "tensor \"b\": bytes [6, 4) lie outside the 8 bytes of data. Fetch the file again.");
  EXPECT_EQ(error_of(two("[0,4]", "[18446744073709551615,18446744073709551615]")),
            "tensor \"b\": bytes [18446744073709551615, 18446744073709551615) lie outside the 8 bytes of data. Fetch "
            "the file again.");
  EXPECT_EQ(error_of(two("[0,4]", "[4,8]", "a")),
            "tensor \"a\": the name is there twice. Save it again with a sound writer.");
  EXPECT_EQ(error_of(two("[0,4]", "[4,8]") + "x"),
            "bytes [8, 9) belong to no tensor. Save it again with a sound writer.");
}

TEST(HostileSafetensors, SizesAndTypes) {
  EXPECT_EQ(error_of(with_tensor("F32", "[3]", "12345678")),
            "tensor \"x\": F32[3] takes 12 bytes, the header gives 8. Save it again with a sound writer.");
  EXPECT_EQ(error_of(with_tensor("F8_E4M3", "[1]", "1")),
            "tensor \"x\": dtype \"F8_E4M3\" is not supported. Convert it to F32.");
  EXPECT_EQ(error_of(with_tensor("U8", "[1,1,1,1,1,1,1,1,1]", "1")),
            "tensor \"x\": the shape has more than 8 axes. Store it in another shape.");
  EXPECT_EQ(
      error_of(with_tensor("F32", "[4294967296,4294967296]", "")),
      "tensor \"x\": the shape [4294967296, 4294967296] holds more than 2^63 - 1 bytes. Store it in another shape.");
  EXPECT_EQ(error_of(with_tensor("F32", "[0,9223372036854775807,9223372036854775807]", "")),
            "tensor \"x\": the shape [0, 9223372036854775807, 9223372036854775807] holds more than 2^63 - 1 bytes. "
            "Store it in another shape.");
  EXPECT_EQ(
      error_of(with_tensor("F32", "[18446744073709551615]", "")),
      "tensor \"x\": the shape [18446744073709551615] holds more than 2^63 - 1 bytes. Store it in another shape.");
  EXPECT_EQ(error_of(with_tensor("BOOL", "[2]", "\1\2")),
            "tensor \"x\": a bool is 2, neither 0 nor 1. Store it as an integer.");
  EXPECT_EQ(error_of(with_tensor("U64", "[1]", little<std::uint64_t>(std::uint64_t{1} << 63))),
            "tensor \"x\": the unsigned value 9223372036854775808 does not fit i64. Store it as i64 or f64.");
}

TEST(HostileSafetensors, NothingIsAllocatedForWhatIsNotThere) {
  reset_peak_memory();
  const std::size_t before = memory_report().peak;
  error_of(with_tensor("F32", "[1000000000]", "1234"));
  error_of(two("[0,4]", "[4,4000000000]"));
  EXPECT_EQ(memory_report().peak, before);
}

// --- writing ---------------------------------------------------------------------------------------------------------

TEST_F(SafetensorsFile, RefusesWhatTheFormatCannotHold) {
  EXPECT_EQ(
      thrown_here<UsageError>([&] {
        save_safetensors(file("x"), {{"__metadata__", Tensor()}});
      }),
      "save_safetensors: a tensor is named __metadata__, which the format keeps for its metadata. Give it another "
      "name.");
  EXPECT_EQ(thrown_here<UsageError>([&] {
              save_safetensors(file("x"), {{"a", Tensor::abstract({2}, DType::f64)}});
            }),
            "save_safetensors: the tensor \"a\" has no values; got f64[2]. Save what was computed.");
  EXPECT_EQ(thrown_here<UsageError>([&] {
              save_safetensors(file("x"), {{"\xff", Tensor()}});
            }),
            "save_safetensors: a name or the metadata is not UTF-8. Use plain text.");
  EXPECT_EQ(files(), 0u);
}

TEST_F(SafetensorsFile, StaysAsItWasWhereWritingFails) {
  save_safetensors(file("x"), some_tensors());
  const std::string before = read_file(file("x"));

  std::signal(SIGXFSZ, SIG_IGN);  // a full disk, as far as a test can fill one
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  const rlimit small{1 << 16, limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const std::string text = thrown_here<IoError>([&] {
    save_safetensors(file("x"), {{"large", Tensor::zeros({1 << 16})}});
  });
  setrlimit(RLIMIT_FSIZE, &limit);
  EXPECT_EQ(text, "save_safetensors: cannot write the file (File too large); got \"" + file("x") +
                      "\". What was there is unchanged.");
  EXPECT_EQ(read_file(file("x")), before);
  EXPECT_EQ(files(), 1u) << "a draft was left";

  EXPECT_EQ(thrown_here<IoError>([&] { save_safetensors(file("no/x"), {}); }),
            "save_safetensors: cannot create a file beside it (No such file or directory); got \"" + file("no/x") +
                "\". What was there is unchanged.");
  EXPECT_EQ(thrown_here<IoError>([&] { save_safetensors(path_, {}); }),
            "save_safetensors: not a regular file; got \"" + path_.string() + "\". What was there is unchanged.");
  EXPECT_EQ(thrown_here<IoError>([&] { save_safetensors("", {}); }),
            "save_safetensors: no path was given; got \"\". What was there is unchanged.");
}

TEST_F(SafetensorsFile, IsWrittenBehindALinkAndKeepsItsPermissions) {
  namespace fs = std::filesystem;
  save_safetensors(file("x"), {});
  fs::permissions(file("x"), fs::perms::owner_read | fs::perms::owner_write);
  fs::create_symlink("x", file("link"));
  save_safetensors(file("link"), some_tensors());
  EXPECT_TRUE(fs::is_symlink(file("link")));
  EXPECT_EQ(load_safetensors(file("x")).tensors.size(), some_tensors().size());
  EXPECT_EQ(fs::status(file("x")).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(files(), 2u) << "a draft was left";
}

TEST_F(SafetensorsFile, TakesNoDevicesPlace) {
  ASSERT_EQ(mkfifo(file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(thrown_here<IoError>([&] { save_safetensors(file("pipe"), {}); }),
            "save_safetensors: not a regular file; got \"" + file("pipe") + "\". What was there is unchanged.");
  EXPECT_TRUE(std::filesystem::is_fifo(file("pipe")));
}

}  // namespace
}  // namespace ebb::test
