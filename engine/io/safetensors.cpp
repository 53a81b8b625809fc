#include <ebb/engine/io/elements.h>
#include <ebb/engine/io/output.h>
#include <ebb/engine/io/safetensors.h>
#include <ebb/engine/io/source.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>
#include <vector>

namespace ebb {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kMetadata = "__metadata__";
constexpr std::uint64_t kMaxHeader = 100'000'000;  // the format's own bound
constexpr std::string_view kFetchAgain = "Fetch the file again.";
constexpr std::string_view kNotSound = "Save it again with a sound writer.";

struct Entry {
  std::string name;
  std::string dtype = {};
  std::vector<std::uint64_t> shape = {}, offsets = {};
  bool has_dtype = false, has_shape = false, has_offsets = false;

  bool complete() const { return has_dtype && has_shape && has_offsets; }
};

// Receives the header's JSON value by value, so that memory holds what is asked for and no more, however the header is
// nested. Its states are the places where a value can stand.
class HeaderReader {
 public:
  explicit HeaderReader(const Source& source) : source_(source) {}

  std::vector<Entry> entries;
  Metadata metadata;

  bool null() { unexpected("null"); }
  bool boolean(bool) { unexpected("a bool"); }
  bool number_integer(Json::number_integer_t) { unexpected("a negative number"); }
  bool number_float(Json::number_float_t, const std::string& text) { unexpected(fmt::format("the number {}", text)); }
  bool binary(Json::binary_t&) { unexpected("binary data"); }

  bool number_unsigned(Json::number_unsigned_t value) {
    if (place_ != Place::shape && place_ != Place::offsets) unexpected(fmt::format("the number {}", value));
    std::vector<std::uint64_t>& list = place_ == Place::shape ? entries.back().shape : entries.back().offsets;
    // Long lists are refused where they are used; here they only must not grow.
    if (list.size() <= static_cast<std::size_t>(kMaxRank)) list.push_back(value);
    return true;
  }

  bool string(std::string& text) {
    if (place_ == Place::metadata) {
      metadata.find(key_)->second = std::move(text);
    } else if (place_ == Place::tensor && key_ == "dtype") {
      entries.back().dtype = std::move(text);
      entries.back().has_dtype = true;
    } else {
      unexpected("the text " + quote(text));
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (place_ == Place::outside) {
      place_ = Place::file;
    } else if (place_ == Place::file && key_ == kMetadata) {
      if (has_metadata_) fail(fmt::format("{} is there twice", kMetadata));
      has_metadata_ = true;
      place_ = Place::metadata;
    } else if (place_ == Place::file) {
      place_ = Place::tensor;
      entries.push_back({.name = key_});
    } else {
      unexpected("an object");
    }
    return true;
  }

  bool key(std::string& text) {
    key_ = std::move(text);
    if (place_ == Place::metadata) {
      if (!metadata.try_emplace(key_).second) fail(fmt::format("the metadata's key {} is there twice", quote(key_)));
    } else if (place_ == Place::tensor) {
      Entry& entry = entries.back();
      bool* const seen = key_ == "dtype"          ? &entry.has_dtype
                         : key_ == "shape"        ? &entry.has_shape
                         : key_ == "data_offsets" ? &entry.has_offsets
                                                  : nullptr;
      if (!seen) fail(fmt::format("the tensor {} has the key {}", quote(entry.name), quote(key_)));
      if (*seen) fail(fmt::format("the tensor {} has the key {} twice", quote(entry.name), quote(key_)));
    }
    return true;
  }

  bool end_object() {
    if (place_ == Place::tensor && !entries.back().complete()) {
      fail(fmt::format("the tensor {} lacks one of dtype, shape and data_offsets", quote(entries.back().name)));
    }
    place_ = place_ == Place::file ? Place::outside : Place::file;
    return true;
  }

  bool start_array(std::size_t) {
    if (place_ == Place::tensor && key_ == "shape") {
      place_ = Place::shape;
      entries.back().has_shape = true;
    } else if (place_ == Place::tensor && key_ == "data_offsets") {
      place_ = Place::offsets;
      entries.back().has_offsets = true;
    } else {
      unexpected("a list");
    }
    return true;
  }
  bool end_array() {
    place_ = Place::tensor;
    return true;
  }

  bool parse_error(std::size_t position, const std::string&, const Json::exception&) {
    fail(fmt::format("not JSON at byte {}", position));
  }

 private:
  enum class Place { outside, file, metadata, tensor, shape, offsets };

  [[noreturn]] void fail(std::string_view what) const { source_.fail(fmt::format("header: {}", what), kNotSound); }
  [[noreturn]] void unexpected(std::string_view what) const {
    if (place_ == Place::outside) fail(fmt::format("found {} instead of an object", what));
    fail(fmt::format("found {} at {}", what, quote(key_)));
  }

  const Source& source_;
  Place place_ = Place::outside;
  std::string key_;
  bool has_metadata_ = false;
};

// Where the next tensor begins, all before having been claimed: offsets neither overlap nor leave gaps.
void check_offsets(const Source& source, const Entry& entry, std::uint64_t next, std::uint64_t data) {
  const std::uint64_t begin = entry.offsets[0];
  const std::uint64_t end = entry.offsets[1];
  if (begin > end || end > data) {
    source.fail(fmt::format("bytes [{}, {}) lie outside the {} bytes of data", begin, end, data), kFetchAgain);
  }
  if (begin < next) {
    source.fail(fmt::format("bytes [{}, {}) overlap the tensor before, which ends at {}", begin, end, next), kNotSound);
  }
  if (begin > next) {
    source.fail(fmt::format("bytes [{}, {}) belong to no tensor", next, begin), kNotSound);
  }
}

Safetensors read(const Source& source) {
  if (source.size() < 8) {
    source.fail(fmt::format("{} bytes are too few for a safetensors file", source.size()), kFetchAgain);
  }
  const auto length = little_endian<std::uint64_t>(source.read(0, 8));
  if (length > source.size() - 8) {
    source.fail(fmt::format("the header takes {} bytes, only {} follow", length, source.size() - 8), kFetchAgain);
  }
  if (length > kMaxHeader) {
    source.fail(fmt::format("the header takes {} bytes, more than {}", length, kMaxHeader), kNotSound);
  }
  HeaderReader header(source);
  {
    const std::string text = source.read(8, length);
    Json::sax_parse(text, &header);
  }

  std::vector<const Entry*> order;
  for (const Entry& entry : header.entries) {
    if (entry.offsets.size() != 2) {
      source.fail(fmt::format("header: the tensor {} has not two data_offsets", quote(entry.name)), kNotSound);
    }
    order.push_back(&entry);
  }
  std::ranges::sort(order, {}, [](const Entry* entry) { return std::pair(entry->offsets[0], entry->offsets[1]); });

  Safetensors result{{}, std::move(header.metadata)};
  const std::uint64_t start = 8 + length;
  const std::uint64_t data = source.size() - start;
  // All checks come before the first element is read, so a bad file costs no memory.
  std::vector<std::pair<const Element*, Shape>> types;
  std::uint64_t next = 0;
  for (const Entry* entry : order) {
    const Source part = source.within(fmt::format("tensor {}: ", quote(entry->name)));
    check_offsets(part, *entry, next, data);
    next = entry->offsets[1];
    const Element* const element = element_of_safetensors(entry->dtype);
    if (!element) part.fail(fmt::format("dtype {} is not supported", quote(entry->dtype)), "Convert it to F32.");
    const Shape shape = shape_of(part, *element, entry->shape);
    const std::uint64_t bytes = bytes_of(*element, shape).value_or(0);
    if (bytes != next - entry->offsets[0]) {
      part.fail(fmt::format("{}{} takes {} bytes, the header gives {}", element->safetensors, to_string(shape), bytes,
                            next - entry->offsets[0]),
                kNotSound);
    }
    if (!result.tensors.try_emplace(entry->name).second) part.fail("the name is there twice", kNotSound);
    types.emplace_back(element, shape);
  }
  if (next != data) source.fail(fmt::format("bytes [{}, {}) belong to no tensor", next, data), kNotSound);

  for (std::size_t i = 0; i < order.size(); ++i) {
    const Source part = source.within(fmt::format("tensor {}: ", quote(order[i]->name)));
    SourceStream stream(part, start + order[i]->offsets[0]);
    result.tensors.find(order[i]->name)->second = read_elements(stream, part, *types[i].first, false, types[i].second);
  }
  return result;
}

std::string header_of(const std::vector<const TensorMap::value_type*>& order, const Metadata& metadata,
                      const Location& where) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadata)] = metadata;
  std::uint64_t begin = 0;
  for (const auto* const named : order) {
    const Tensor& tensor = named->second;
    const std::uint64_t end = begin + tensor.bytes();
    header[named->first] = {{"dtype", element_of(tensor.dtype()).safetensors},
                            {"shape", std::vector<std::int64_t>(tensor.shape().begin(), tensor.shape().end())},
                            {"data_offsets", {begin, end}}};
    begin = end;
  }
  try {
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');  // the elements are aligned
    return text;
  } catch (const Json::type_error&) {
    throw UsageError(
        fmt::format("save_safetensors: a name or the metadata is not UTF-8. Use plain text. ({})", to_string(where)));
  }
}

}  // namespace

Safetensors load_safetensors(const std::string& path, Location where) {
  return read(Source::file("load_safetensors", path, where));
}

Safetensors parse_safetensors(std::span<const std::byte> bytes, Location where) {
  return read(Source::memory("parse_safetensors", bytes, where));
}

void save_safetensors(const std::string& path, const TensorMap& tensors, const Metadata& metadata, Location where) {
  std::vector<const TensorMap::value_type*> order;
  for (const auto& named : tensors) {
    const auto& [name, tensor] = named;
    if (name == kMetadata) {
      throw UsageError(
          fmt::format("save_safetensors: a tensor is named {}, which the format keeps for its metadata. "
                      "Give it another name. ({})",
                      kMetadata, to_string(where)));
    }
    if (!tensor.has_buffer() && tensor.numel() > 0) {
      throw UsageError(
          fmt::format("save_safetensors: the tensor {} has no values; got {}. Save what was computed. ({})",
                      quote(name), describe(tensor), to_string(where)));
    }
    order.push_back(&named);
  }
  // Wide elements first: then each tensor is aligned without gaps.
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [](const auto* named) { return size_of(named->second.dtype()); });

  const std::string header = header_of(order, metadata, where);
  write_file("save_safetensors", path, where, [&](const Write& write) {
    const auto length = static_cast<std::uint64_t>(header.size());
    write(std::as_bytes(std::span(&length, 1)));
    write(std::as_bytes(std::span(header)));
    for (const auto* const named : order) write({named->second.raw(), named->second.bytes()});
  });
}

}  // namespace ebb
