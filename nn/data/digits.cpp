#include <ebb/nn/data/digits.h>
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <string>
#include <string_view>

namespace ebb::nn {
namespace {

constexpr int kPixels = 64;
constexpr int kInk = 16;  // the darkest pixel

class Reader {
 public:
  Reader(const std::filesystem::path& path, Location where) : path_(path), where_(where) {}

  Dataset read() const;

 private:
  [[noreturn]] void fail(const std::string& what, std::string_view advice) const {
    throw IoError(fmt::format("read_digits: {}; got \"{}\". {} ({})", what, path_.string(), advice, to_string(where_)));
  }
  std::string unpacked() const;
  int field(std::string_view text, std::int64_t line, int index) const;

  const std::filesystem::path& path_;
  Location where_;
};

constexpr std::string_view kFetchAgain = "Fetch the file again: digits.csv.gz ships in nn/data.";

std::string Reader::unpacked() const {
  {
    std::ifstream file(path_, std::ios::binary);
    if (!file) {
      fail(fmt::format("cannot open the file ({})", std::strerror(errno)),
           "Give the path of digits.csv.gz, which ships in nn/data.");
    }
    unsigned char magic[2] = {};
    file.read(reinterpret_cast<char*>(magic), 2);
    if (file.gcount() < 2) fail(fmt::format("the file has {} bytes, too few for gzip", file.gcount()), kFetchAgain);
    if (magic[0] != 0x1f || magic[1] != 0x8b) {
      fail(fmt::format("the file is not gzip, it begins with {:02x} {:02x} instead of 1f 8b", magic[0], magic[1]),
           "Compress it with gzip.");
    }
  }
  const gzFile file = gzopen(path_.c_str(), "rb");
  if (!file) fail("cannot open the file", "Is there memory left?");
  std::string text;
  char block[1 << 14];
  int n = 0;
  while ((n = gzread(file, block, sizeof block)) > 0) text.append(block, static_cast<std::size_t>(n));
  int code = Z_OK;
  gzerror(file, &code);
  gzclose(file);
  if (code == Z_BUF_ERROR) {
    fail(fmt::format("the file is cut short, {} bytes could be unpacked", text.size()), kFetchAgain);
  }
  if (n < 0) fail(fmt::format("the file is damaged, after {} unpacked bytes", text.size()), kFetchAgain);
  return text;
}

int Reader::field(std::string_view text, std::int64_t line, int index) const {
  const int largest = index == kPixels ? 9 : kInk;
  int value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > largest) {
    fail(fmt::format("line {}, field {}: \"{}\" is not a whole number of 0..{}", line, index + 1, text.substr(0, 20),
                     largest),
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
      fail(fmt::format("line {} has {} fields instead of {}", line, width, kPixels + 1),
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
  if (labels.empty()) fail("the file has no lines", kFetchAgain);
  const auto n = static_cast<std::int64_t>(labels.size());
  return {Tensor::from({n, kPixels}, std::span<const float>(pixels)),
          Tensor::from({n}, std::span<const std::int64_t>(labels))};
}

}  // namespace

Dataset read_digits(Location where) { return read_digits(EBB_DATA_DIR "/digits.csv.gz", where); }

Dataset read_digits(const std::filesystem::path& path, Location where) { return Reader(path, where).read(); }

}  // namespace ebb::nn
