// NumPy's files: those that numpy wrote (tests/io/numpy/make.py) come in value by value, ours are numpy's to the byte,
// and every way in which a file can lie is told apart, in exact words.
#include <ebb/engine/io/npy.h>

#include "tests/io/files.h"

namespace ebb::test {
namespace {

class NpyFile : public Folder {};

std::string numpy(const std::string& name) { return std::string(EBB_TEST_DIR) + "/numpy/" + name; }

// The rule of make.py.
Tensor expected(const std::string& kind) {
  const bool swapped = kind.starts_with("big_");
  const char letter = kind == "fortran" ? 'f' : kind[swapped ? 4 : 0];
  Tensor t = Tensor::empty({2, 3}, DType::f64);
  for (int i = 0; i < 6; ++i) {
    const double value = letter == 'u' ? i : letter == 'i' ? i - 2 : letter == 'b' ? i % 2 : (i - 2) / 2.0;
    t.mutable_data<double>()[static_cast<std::size_t>(i)] = value;
  }
  if (letter == 'f') return t.to(kind.ends_with("f8") ? DType::f64 : DType::f32);
  return t.to(letter == 'b' ? DType::boolean : DType::i64);
}

TEST(Npy, ReadsWhatNumpyWrote) {
  for (const char* kind : {"f4", "f8", "i8", "b1"}) {
    EXPECT_TRUE(identical(load_npy(numpy(std::string(kind) + ".npy")), expected(kind))) << kind;
  }
  EXPECT_TRUE(identical(load_npy(numpy("version2.npy")), expected("i8")));
  EXPECT_TRUE(identical(load_npy(numpy("scalar.npy")), Tensor::full({}, 2.5, DType::f64)));
  EXPECT_TRUE(identical(load_npy(numpy("vector.npy")), Tensor::of({5}, {0.0F, 1.0F, 2.0F, 3.0F, 4.0F})));
  EXPECT_TRUE(identical(load_npy(numpy("empty.npy")), Tensor::zeros({0, 3}, DType::f64)));
  const Tensor fortran = load_npy(numpy("fortran3.npy"));
  EXPECT_EQ(fortran.shape(), (Shape{2, 3, 4}));
  for (std::int64_t i = 0; i < 24; ++i) EXPECT_EQ(fortran.at(i), static_cast<double>(i));
}

TEST_F(NpyFile, IsNumpysToTheByte) {
  for (const char* name : {"f4", "f8", "i8", "b1", "scalar", "vector", "empty"}) {
    const std::string theirs = numpy(std::string(name) + ".npy");
    save_npy(file(name), load_npy(theirs));
    EXPECT_EQ(read_file(file(name)), read_file(theirs)) << name;
  }
  EXPECT_EQ(files(), 7u) << "a draft was left";
}

TEST(Npz, ReadsWhatNumpyWrote) {
  for (const char* name : {"stored.npz", "packed.npz"}) {
    TensorMap arrays = load_npz(numpy(name));
    if (const auto large = arrays.find("large"); large != arrays.end()) {
      EXPECT_TRUE(identical(large->second, Tensor::zeros({100, 100}, DType::f64)));
      arrays.erase(large);
    }
    EXPECT_EQ(arrays.size(), 18u);
    for (const auto& [kind, array] : arrays) EXPECT_TRUE(identical(array, expected(kind))) << name << " " << kind;
  }
}

// --- files that lie --------------------------------------------------------------------------------------------------

template <class Parse>
std::string error_of(const std::string& bytes, std::string_view op, Parse parse) {
  const std::string text = thrown_here<IoError>([&] { parse(as_bytes(bytes)); });
  const std::string begin = std::string(op) + ": ";
  const std::string source = "; got " + std::to_string(bytes.size()) + " bytes in memory";
  EXPECT_TRUE(text.starts_with(begin)) << text;
  const auto at = text.find(source);
  EXPECT_NE(at, text.npos) << text;
  return text.substr(begin.size(), at - begin.size()) + text.substr(at + source.size());
}

std::string npy_error(const std::string& bytes) {
  return error_of(bytes, "parse_npy", [](auto span) { parse_npy(span); });
}

std::string npy(const std::string& header, const std::string& data = "") {
  return "\x93NUMPY\x01" + std::string(1, '\0') + little(static_cast<std::uint16_t>(header.size())) + header + data;
}

std::string npy_of(const std::string& descr, const std::string& shape, const std::string& data = "") {
  return npy("{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + "}", data);
}

std::string header_error(const std::string& header) {
  const std::string text = npy_error(npy(header));
  const std::string begin = "the header ", end = ". Save it again with numpy.save.";
  EXPECT_TRUE(text.starts_with(begin) && text.ends_with(end)) << text;
  return text.substr(begin.size(), text.size() - begin.size() - end.size());
}

TEST(HostileNpy, WhatEbbDoesNotRead) {
  const auto error = [](const std::string& name) {
    const std::string path = numpy(name);
    const std::string text = thrown_here<IoError>([&] { load_npy(path); });
    const auto at = text.find("; got \"" + path + "\"");
    EXPECT_NE(at, text.npos) << text;
    return text.substr(0, at) + text.substr(at + path.size() + 8);
  };
  EXPECT_EQ(error("complex.npy"), "load_npy: dtype \"<c8\" is not supported. Save it as float32.");
  EXPECT_EQ(error("text.npy"), "load_npy: dtype \"<U2\" is not supported. Save it as float32.");
  EXPECT_EQ(error("object.npy"), "load_npy: dtype \"|O\" is not supported. Save it as float32.");
  EXPECT_EQ(error("records.npy"), "load_npy: the array holds records. Save one array for each field.");
  EXPECT_EQ(error("make.py"), "load_npy: not an .npy file. Save it again with numpy.save.");
}

TEST(HostileNpy, Lengths) {
  EXPECT_EQ(npy_error(""), "0 bytes are too few for an .npy file. Fetch the file again.");
  EXPECT_EQ(npy_error("\x93NUMPY\x02" + std::string(4, '\0')),
            "11 bytes are too few for an .npy file. Fetch the file again.");
  EXPECT_EQ(npy_error("\x93NUMPY\x04" + std::string(4, '\0')),
            "version 4 of the format is not known. Save it again with numpy.save.");
  EXPECT_EQ(npy_error("\x93NUMPY\x01" + std::string(1, '\0') + little<std::uint16_t>(80) + "{"),
            "the header takes 80 bytes, only 1 follow. Fetch the file again.");
  EXPECT_EQ(npy_error("\x93NUMPY\x02" + std::string(1, '\0') + little<std::uint32_t>(0xffffffff) + "{"),
            "the header takes 4294967295 bytes, only 1 follow. Fetch the file again.");
  EXPECT_EQ(npy_error("\x93NUMPY\x02" + std::string(1, '\0') + little<std::uint32_t>(70000) + std::string(70000, ' ')),
            "the header takes 70000 bytes, more than 65536. Save it again with numpy.save.");
  EXPECT_EQ(npy_error(npy_of("<f4", "(3,)", "12345678")),
            "f4 of shape [3] take 12 bytes, 8 follow the header. Fetch the file again.");
  EXPECT_EQ(npy_error(npy_of("<f4", "(1,)", "12345678")),
            "f4 of shape [1] take 4 bytes, 8 follow the header. Fetch the file again.");
  EXPECT_EQ(npy_error(npy_of("<f8", "(4294967296, 4294967296)")),
            "the shape [4294967296, 4294967296] holds more than 2^63 - 1 bytes. Store it in another shape.");
  EXPECT_EQ(npy_error(npy_of("<f8", "(1,1,1,1,1,1,1,1,1)", "12345678")),
            "the shape has more than 8 axes. Store it in another shape.");
}

TEST(HostileNpy, Headers) {
  EXPECT_EQ(header_error(""), "is not NumPy's dictionary, at byte 0");
  EXPECT_EQ(header_error("{"), "is not NumPy's dictionary, at byte 1");
  EXPECT_EQ(header_error("{'descr': 3}"), "is not NumPy's dictionary, at byte 10");
  EXPECT_EQ(header_error("{'descr': '<f4'"), "is not NumPy's dictionary, at byte 15");
  EXPECT_EQ(header_error("{'descr': '<f4' 'x'}"), "is not NumPy's dictionary, at byte 16");
  EXPECT_EQ(header_error("{'fortran_order': Maybe}"), "is not NumPy's dictionary, at byte 18");
  EXPECT_EQ(header_error("{'shape': (-1,)}"), "is not NumPy's dictionary, at byte 11");
  EXPECT_EQ(header_error("{'shape': (1 2)}"), "is not NumPy's dictionary, at byte 13");
  EXPECT_EQ(header_error("{'shape': (99999999999999999999,)}"), "is not NumPy's dictionary, at byte 11");
  EXPECT_EQ(header_error("{'shape': (1,)} x"), "is not NumPy's dictionary, at byte 16");
  EXPECT_EQ(header_error("{'shape': (1,)}"), "lacks one of descr, fortran_order and shape");
  EXPECT_EQ(header_error("{'shape': (1,), 'shape': (1,)}"), "has the key \"shape\" twice");
  EXPECT_EQ(header_error("{'what': (1,)}"), "has the key \"what\"");
}

TEST(HostileNpy, Values) {
  EXPECT_EQ(npy_error(npy_of("|b1", "(2,)", "\1\2")), "a bool is 2, neither 0 nor 1. Store it as an integer.");
  EXPECT_EQ(npy_error(npy_of("<u8", "(1,)", std::string(8, '\xff'))),
            "the unsigned value 18446744073709551615 does not fit i64. Store it as i64 or f64.");
}

TEST_F(NpyFile, RefusesATensorWithoutValues) {
  EXPECT_EQ(thrown_here<UsageError>([&] { save_npy(file("x"), Tensor::abstract({2}, DType::f32)); }),
            "save_npy: the tensor has no values; got f32[2]. Save what was computed.");
  EXPECT_EQ(files(), 0u);
}

// --- archives that lie -----------------------------------------------------------------------------------------------

std::string npz_error(const std::string& bytes, std::uint64_t max_unpacked = kMaxUnpacked) {
  return error_of(bytes, "parse_npz", [&](auto span) { parse_npz(span, max_unpacked); });
}

// An archive, with every number at hand to be told wrong.
struct Member {
  std::string name = "a.npy";
  std::string data = npy_of("<f4", "(2,)", "12345678");
  std::uint16_t flags = 0, method = 0;
  std::uint32_t crc = 0;
  std::uint32_t unpacked = static_cast<std::uint32_t>(data.size());
  std::uint32_t packed = static_cast<std::uint32_t>(data.size());
  std::int64_t local = -1;  // where the directory says it lies; -1 for the truth
  std::string local_name = name;
};

std::string zip(const std::vector<Member>& members, int count = -1) {
  std::string bytes, directory;
  for (const Member& m : members) {
    const auto offset = static_cast<std::uint32_t>(m.local < 0 ? static_cast<std::int64_t>(bytes.size()) : m.local);
    const std::string same = little(m.flags) + little(m.method) + little<std::uint32_t>(0) + little(m.crc) +
                             little(m.packed) + little(m.unpacked);
    bytes += "PK\3\4" + little<std::uint16_t>(20) + same + little(static_cast<std::uint16_t>(m.local_name.size())) +
             little<std::uint16_t>(0) + m.local_name + m.data;
    directory += "PK\1\2" + little<std::uint32_t>(20) + same + little(static_cast<std::uint16_t>(m.name.size())) +
                 std::string(12, '\0') + little(offset) + m.name;
  }
  const auto n = static_cast<std::uint16_t>(count < 0 ? static_cast<int>(members.size()) : count);
  return bytes + directory + "PK\5\6" + std::string(4, '\0') + little(n) + little(n) +
         little(static_cast<std::uint32_t>(directory.size())) + little(static_cast<std::uint32_t>(bytes.size())) +
         std::string(2, '\0');
}

TEST(HostileNpz, Directories) {
  EXPECT_EQ(npz_error(""), "0 bytes are too few for an archive. Fetch the file again.");
  EXPECT_EQ(npz_error(std::string(100, 'x')),
            "not a zip archive, or cut short: the directory at its end is missing. Fetch the file again.");
  EXPECT_TRUE(parse_npz(as_bytes(zip({}))).empty());
  EXPECT_EQ(npz_error(zip({}, 1)), "a directory of 0 bytes does not hold 1 members. Fetch the file again.");
  EXPECT_EQ(npz_error(zip({Member{}}, 0)), "the directory has 51 bytes too many. Fetch the file again.");
  std::string bytes = zip({Member{}});
  bytes[bytes.size() - 6] = '\x7f';  // the directory's offset
  EXPECT_EQ(npz_error(bytes).substr(0, 21), "the directory, bytes ");
  bytes = zip({Member{}});
  bytes[bytes.size() - 18] = 1;  // the number of this disk
  EXPECT_EQ(npz_error(bytes), "the archive is one part of several. Save it again with numpy.savez.");
  bytes = zip({Member{}});
  bytes[bytes.size() - 22 - 51] = 'X';
  EXPECT_EQ(npz_error(bytes), "entry 0 of the directory is damaged. Fetch the file again.");
}

TEST(HostileNpz, Members) {
  const auto error = [](const Member& member) {
    const std::string text = npz_error(zip({member}));
    const std::string begin = "member \"a.npy\": ";
    EXPECT_TRUE(text.starts_with(begin)) << text;
    return text.substr(begin.size());
  };
  EXPECT_EQ(error({.flags = 1}), "it is encrypted. Save it again with numpy.savez.");
  EXPECT_EQ(error({.method = 14}), "packed with method 14, not deflate. Save it again with numpy.savez.");
  EXPECT_EQ(error({.local_name = "b.npy"}), "its header differs from the directory. Fetch the file again.");
  EXPECT_EQ(error({.local = 5}), "its header differs from the directory. Fetch the file again.");
  EXPECT_EQ(error({.local = 4000}), "its header at byte 4000 lies outside the archive's data. Fetch the file again.");
  EXPECT_EQ(error({.unpacked = 5}), "73 bytes are said to hold 5 unpacked ones. Fetch the file again.");
  EXPECT_EQ(error({.unpacked = 5000, .packed = 5000}),
            "its 5000 bytes from byte 35 on lie outside the archive's data. Fetch the file again.");
  EXPECT_EQ(error({.packed = 0xffffffff}), "a size of 64 bits is missing in the directory. Fetch the file again.");
  EXPECT_EQ(error({.crc = 1}), "damaged: its checksum differs. Fetch the file again.");
  EXPECT_EQ(error({.data = "x", .unpacked = 1, .packed = 1}),
            "1 bytes are too few for an .npy file. Fetch the file again.");
  EXPECT_EQ(npz_error(zip({{.name = "readme.txt"}})),
            "member \"readme.txt\": not an .npy array. Save arrays alone, with numpy.savez.");
}

TEST(HostileNpz, TwoMembers) {
  EXPECT_EQ(npz_error(zip({Member{}, Member{}})),
            "member \"a.npy\": the name is there twice. Save it again with numpy.savez.");
  // The first member's data reach over the second's header.
  EXPECT_EQ(npz_error(zip({{.unpacked = 100, .packed = 100}, {.name = "b.npy"}})),
            "the members \"a.npy\" and \"b.npy\" overlap. Save it again with numpy.savez.");
}

TEST(HostileNpz, Bombs) {
  // Deflated: "large" in packed.npz is 80,128 bytes, all of it together 82,000 and more.
  const std::string packed = read_file(numpy("packed.npz"));
  EXPECT_EQ(
      npz_error(packed, 50'000),
      "member \"large.npy\": what is packed unpacks to more than 50000 bytes in all. Allow more with max_unpacked, "
      "if the file is to be trusted.");
  EXPECT_EQ(parse_npz(as_bytes(packed), 100'000).size(), 19u);
  reset_peak_memory();
  const std::size_t before = memory_report().peak;
  EXPECT_EQ(npz_error(zip({{.method = 8, .unpacked = 4'000'000'000}})),
            "member \"a.npy\": 73 bytes cannot unpack to 4000000000. Fetch the file again.");
  EXPECT_EQ(memory_report().peak, before);
}

TEST(HostileNpz, DamagedDeflate) {
  EXPECT_EQ(npz_error(zip({{.data = "\x07", .method = 8, .unpacked = 20, .packed = 1}})),
            "member \"a.npy\": damaged, after 0 unpacked bytes. Fetch the file again.");
  // A stored block of one byte, the last: it ends at once.
  const std::string one("\x01\x01\x00\xfe\xffx", 6);
  EXPECT_EQ(npz_error(zip({{.data = one, .method = 8, .unpacked = 20, .packed = 6}})),
            "member \"a.npy\": the data ends after 1 unpacked bytes. Fetch the file again.");
  EXPECT_EQ(npz_error(zip({{.data = one.substr(0, 5), .method = 8, .unpacked = 20, .packed = 5}})),
            "member \"a.npy\": cut short, 0 bytes could be unpacked. Fetch the file again.");
  std::string bytes = read_file(numpy("packed.npz"));
  bytes[200] = static_cast<char>(bytes[200] ^ 0x55);
  EXPECT_THROW(parse_npz(as_bytes(bytes)), IoError);
}

}  // namespace
}  // namespace ebb::test
