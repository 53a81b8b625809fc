#include <ebb/engine/io/inflate.h>
#include <ebb/nn/data/digits.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <utility>

namespace ebb::nn {

// The file, which the build makes a source of.
namespace detail {
extern const unsigned char kDigits[];
extern const std::size_t kDigitsSize;
}  // namespace detail

namespace {

constexpr int kPixels = 64;
constexpr int kInk = 16;  // the darkest pixel

class Reader {
 public:
  explicit Reader(Source source) : source_(std::move(source)) {}

  Dataset read() const;

 private:
  std::string unpacked() const;
  int field(std::string_view text, std::int64_t line, int index) const;

  Source source_;
};

constexpr std::string_view kFetchAgain = "Fetch the file again: digits.csv.gz ships in nn/data.";

std::string Reader::unpacked() const {
  if (source_.size() < 2) {
    source_.fail(fmt::format("the file has {} bytes, too few for gzip", source_.size()), kFetchAgain);
  }
  if (const std::string magic = source_.read(0, 2); magic != "\x1f\x8b") {
    source_.fail(fmt::format("the file is not gzip, it begins with {:02x} {:02x} instead of 1f 8b",
                             static_cast<unsigned char>(magic[0]), static_cast<unsigned char>(magic[1])),
                 "Compress it with gzip.");
  }
  InflateStream stream(source_, 0, source_.size(), Packing::gzip);
  std::string text;
  std::array<std::byte, 1 << 14> block{};
  while (const std::size_t n = stream.read_some(block)) text.append(reinterpret_cast<const char*>(block.data()), n);
  return text;
}

int Reader::field(std::string_view text, std::int64_t line, int index) const {
  const int largest = index == kPixels ? 9 : kInk;
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > largest) {
    source_.fail(fmt::format("line {}, field {}: \"{}\" is not a whole number of 0..{}", line, index + 1,
                             text.substr(0, 20), largest),
                 fmt::format("A line is 64 pixels of 0..{} and a label of 0..9.", kInk));
  }
  return value;
}

Dataset Reader::read() const {
  const std::string text = unpacked();
  std::vector<float> pixels;
  std::vector<std::int64_t> labels;
  std::string_view rest = text;
  for (std::int64_t line = 1; !rest.empty(); ++line) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    std::string_view fields = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (fields.ends_with('\r')) fields.remove_suffix(1);
    const auto width = std::ranges::count(fields, ',') + 1;
    if (width != kPixels + 1) {
      source_.fail(fmt::format("line {} has {} fields instead of {}", line, width, kPixels + 1),
                   fmt::format("A line is 64 pixels of 0..{} and a label of 0..9.", kInk));
    }
    for (int i = 0; i <= kPixels; ++i) {
      const std::size_t comma = std::min(fields.find(','), fields.size());
      const int value = field(fields.substr(0, comma), line, i);
      fields.remove_prefix(std::min(comma + 1, fields.size()));
      if (i < kPixels) {
        pixels.push_back(static_cast<float>(value) / kInk);  // exact
      } else {
        labels.push_back(value);
      }
    }
  }
  if (labels.empty()) source_.fail("the file has no lines", kFetchAgain);
  const auto n = static_cast<std::int64_t>(labels.size());
  return {Tensor::from({n, kPixels}, std::span<const float>(pixels)),
          Tensor::from({n}, std::span<const std::int64_t>(labels))};
}

}  // namespace

Dataset read_digits(Location where) {
  const std::span file(detail::kDigits, detail::kDigitsSize);
  return Reader(Source::memory("read_digits", std::as_bytes(file), where)).read();
}

Dataset read_digits(const std::string& path, Location where) {
  return Reader(Source::file("read_digits", path, where)).read();
}

}  // namespace ebb::nn
