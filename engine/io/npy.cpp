#include <ebb/engine/io/elements.h>
#include <ebb/engine/io/inflate.h>
#include <ebb/engine/io/npy.h>
#include <ebb/engine/io/output.h>
#include <ebb/engine/io/source.h>
#include <ebb/engine/io/zip.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace ebb {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr std::uint64_t kMaxHeader = 1 << 16;  // an array's is a line; only records, which are refused, have long ones
constexpr std::string_view kFetchAgain = "Fetch the file again.";
constexpr std::string_view kSave = "Save it again with numpy.save.";

// The header is a Python dictionary of three entries: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class HeaderParser {
 public:
  HeaderParser(const Source& source, std::string_view text) : source_(source), text_(text) { parse(); }

  std::string descr;
  bool fortran_order = false;
  std::vector<std::uint64_t> shape;

 private:
  void parse() {
    bool has_descr = false, has_order = false, has_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string key = quoted();
      expect(':');
      bool& seen = key == "descr" ? has_descr : key == "fortran_order" ? has_order : has_shape;
      if (key != "descr" && key != "fortran_order" && key != "shape") fail(fmt::format("has the key \"{}\"", key));
      if (std::exchange(seen, true)) fail(fmt::format("has the key \"{}\" twice", key));
      if (key == "descr") {
        if (peek() == '[') source_.fail("the array holds records", "Save one array for each field.");
        descr = quoted();
      } else if (key == "fortran_order") {
        fortran_order = truth();
      } else {
        sizes();
      }
      if (!accept(',') && peek() != '}') malformed();
    }
    if (peek() != '\0') malformed();
    if (!has_descr || !has_order || !has_shape) fail("lacks one of descr, fortran_order and shape");
  }

  void sizes() {
    expect('(');
    while (!accept(')')) {
      std::uint64_t size = 0;
      peek();
      const char* const begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc()) malformed();
      at_ += static_cast<std::size_t>(end - begin);
      shape.push_back(size);
      if (!accept(',') && peek() != ')') malformed();
    }
  }

  std::string quoted() {
    const char quote = peek();
    if (quote != '\'' && quote != '"') malformed();
    const std::size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) malformed();
    const std::string_view inside = text_.substr(at_ + 1, end - at_ - 1);
    at_ = end + 1;
    if (inside.size() > 40) malformed();
    return std::string(inside);
  }

  bool truth() {
    peek();
    for (const bool value : {true, false}) {
      const std::string_view word = value ? "True" : "False";
      if (text_.substr(at_).starts_with(word)) {
        at_ += word.size();
        return value;
      }
    }
    malformed();
  }

  // The next character that is not blank; 0 at the end.
  char peek() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }
  bool accept(char c) {
    if (peek() != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) malformed();
  }
  [[noreturn]] void malformed() const { fail(fmt::format("is not NumPy's dictionary, at byte {}", at_)); }
  [[noreturn]] void fail(std::string_view what) const { source_.fail(fmt::format("the header {}", what), kSave); }

  const Source& source_;
  std::string_view text_;
  std::size_t at_ = 0;
};

std::string read_text(Stream& stream, std::uint64_t bytes) {
  std::string text(static_cast<std::size_t>(bytes), '\0');
  stream.read(std::as_writable_bytes(std::span(text)));
  return text;
}

// From the first index moving fastest to the last.
Tensor from_fortran(const Tensor& reversed, const Shape& shape) {
  std::vector<std::int64_t> strides;
  std::int64_t step = 1;
  for (const std::int64_t size : shape) {
    strides.push_back(step);
    step *= size;
  }
  return with_type(reversed.dtype(), [&]<class T>(std::type_identity<T>) {
    return Tensor::from_strided(shape, reversed.data<T>().data(), strides);
  });
}

// An array that takes `length` bytes of the stream, header and all.
Tensor read_array(Stream& stream, const Source& source, std::uint64_t length) {
  if (length < 10) source.fail(fmt::format("{} bytes are too few for an .npy file", length), kFetchAgain);
  const std::string start = read_text(stream, 8);
  if (!start.starts_with(kMagic)) source.fail("not an .npy file", kSave);
  const auto version = static_cast<unsigned char>(start[6]);
  if (version < 1 || version > 3) source.fail(fmt::format("version {} of the format is not known", version), kSave);
  const std::uint64_t prefix = version == 1 ? 10 : 12;
  if (length < prefix) source.fail(fmt::format("{} bytes are too few for an .npy file", length), kFetchAgain);
  const std::string size_text = read_text(stream, prefix - 8);
  const std::uint64_t header =
      version == 1 ? little_endian<std::uint16_t>(size_text) : little_endian<std::uint32_t>(size_text);
  if (header > length - prefix) {
    source.fail(fmt::format("the header takes {} bytes, only {} follow", header, length - prefix), kFetchAgain);
  }
  if (header > kMaxHeader) {
    source.fail(fmt::format("the header takes {} bytes, more than {}", header, kMaxHeader), kSave);
  }
  const std::string text = read_text(stream, header);
  const HeaderParser parsed(source, text);

  std::string_view type = parsed.descr;
  const bool big_endian = type.starts_with('>');
  if (!type.empty() && std::string_view("<>=|").find(type[0]) != std::string_view::npos) type.remove_prefix(1);
  const Element* const element = element_of_numpy(type == "?" ? "b1" : type);
  if (!element) source.fail(fmt::format("dtype \"{}\" is not supported", parsed.descr), "Save it as float32.");
  const Shape shape = shape_of(source, *element, parsed.shape);
  const std::uint64_t data = length - prefix - header;
  if (const std::uint64_t bytes = bytes_of(*element, shape).value_or(0); bytes != data) {
    source.fail(fmt::format("{} of shape {} take {} bytes, {} follow the header", type, to_string(shape), bytes, data),
                kFetchAgain);
  }
  if (!parsed.fortran_order || shape.rank() < 2) return read_elements(stream, source, *element, big_endian, shape);
  std::vector<std::int64_t> sizes(shape.begin(), shape.end());
  std::ranges::reverse(sizes);
  return from_fortran(read_elements(stream, source, *element, big_endian, Shape(sizes)), shape);
}

Tensor read_npy(const Source& source) {
  SourceStream stream(source, 0);
  return read_array(stream, source, source.size());
}

// Passes a stream on and sums it up as zip does.
class SummedStream final : public Stream {
 public:
  explicit SummedStream(Stream& stream) : stream_(stream) {}
  void read(std::span<std::byte> to) override {
    stream_.read(to);
    crc_ = crc32_z(crc_, reinterpret_cast<const Bytef*>(to.data()), to.size());
  }
  std::uint32_t crc() const { return static_cast<std::uint32_t>(crc_); }

 private:
  Stream& stream_;
  uLong crc_ = 0;
};

TensorMap read_npz(const Source& source, std::uint64_t max_unpacked) {
  const std::vector<ZipMember> members = read_zip(source);
  std::uint64_t unpacked = 0;
  for (const ZipMember& member : members) {
    const Source part = source.within(fmt::format("member {}: ", quote(member.name)));
    if (!member.name.ends_with(".npy")) part.fail("not an .npy array", "Save arrays alone, with numpy.savez.");
    if (!member.deflated) continue;
    if (member.unpacked > max_unpacked - unpacked) {
      part.fail(fmt::format("what is packed unpacks to more than {} bytes in all", max_unpacked),
                "Allow more with max_unpacked, if the file is to be trusted.");
    }
    unpacked += member.unpacked;
  }

  TensorMap arrays;
  for (const ZipMember& member : members) {
    const Source part = source.within(fmt::format("member {}: ", quote(member.name)));
    const auto read = [&](Stream& stream) {
      SummedStream summed(stream);
      Tensor array = read_array(summed, part, member.unpacked);
      if (summed.crc() != member.crc) part.fail("damaged: its checksum differs", kFetchAgain);
      return array;
    };
    Tensor& array = arrays[member.name.substr(0, member.name.size() - 4)];
    if (!member.deflated) {
      SourceStream stream(part, member.offset);
      array = read(stream);
      continue;
    }
    InflateStream stream(part, member.offset, member.packed, Packing::deflate);
    array = read(stream);
    std::byte more{};
    if (stream.read_some(std::span(&more, 1)) != 0 || !stream.exhausted()) {
      part.fail(fmt::format("it holds more than the {} bytes it claims", member.unpacked), kFetchAgain);
    }
  }
  return arrays;
}

// The header ends where 64 bytes do, as NumPy's own; version 1.0.
std::string header_of(const Tensor& tensor) {
  std::string shape;
  for (const std::int64_t size : tensor.shape()) shape += fmt::format("{}, ", size);
  if (tensor.rank() > 1) shape.resize(shape.size() - 2);
  if (tensor.rank() == 1) shape.pop_back();
  const Element& element = element_of(tensor.dtype());
  std::string header = fmt::format("{{'descr': '{}{}', 'fortran_order': False, 'shape': ({}), }}",
                                   element.size == 1 ? '|' : '<', element.numpy, shape);
  constexpr std::size_t kPrefix = 10;
  header.resize((kPrefix + header.size() + 1 + 63) / 64 * 64 - kPrefix - 1, ' ');
  header += '\n';
  const auto size = static_cast<std::uint16_t>(header.size());
  return std::string(kMagic) + '\x01' + '\0' + static_cast<char>(size & 0xff) + static_cast<char>(size >> 8) + header;
}

}  // namespace

Tensor load_npy(const std::string& path, Location where) { return read_npy(Source::file("load_npy", path, where)); }

Tensor parse_npy(std::span<const std::byte> bytes, Location where) {
  return read_npy(Source::memory("parse_npy", bytes, where));
}

TensorMap load_npz(const std::string& path, std::uint64_t max_unpacked, Location where) {
  return read_npz(Source::file("load_npz", path, where), max_unpacked);
}

TensorMap parse_npz(std::span<const std::byte> bytes, std::uint64_t max_unpacked, Location where) {
  return read_npz(Source::memory("parse_npz", bytes, where), max_unpacked);
}

void save_npy(const std::string& path, const Tensor& tensor, Location where) {
  if (!tensor.has_buffer() && tensor.numel() > 0) {
    throw UsageError(fmt::format("save_npy: the tensor has no values; got {}. Save what was computed. ({})",
                                 describe(tensor), to_string(where)));
  }
  const std::string header = header_of(tensor);
  write_file("save_npy", path, where, [&](const Write& write) {
    write(std::as_bytes(std::span(header)));
    write({tensor.raw(), tensor.bytes()});
  });
}

}  // namespace ebb
