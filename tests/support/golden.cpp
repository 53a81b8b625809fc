// Reads safetensors: eight bytes of header length, a JSON header, raw little-endian values. The
// header's __metadata__ maps each case to its description, which is JSON again, inside a string.
// All that can be wrong with a file is found here, in one pass, and said with the file's name.
#include "tests/support/golden.h"

#include <fmt/core.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace ebb::test {
namespace {

static_assert(std::endian::native == std::endian::little, "the golden files are read as they lie");

// What is wrong with a file; the constructor adds which file.
[[noreturn]] void damaged(const std::string& what) { throw std::runtime_error(what); }

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) damaged("cannot be opened; EBB_GOLDEN_DIR names another directory");
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class Stored, class Value>
void decode(std::string_view bytes, std::size_t count, std::vector<Value>& values) {
  if (bytes.size() != count * sizeof(Stored)) {
    damaged(fmt::format("{} values need {} bytes, the header gives {}", count, count * sizeof(Stored), bytes.size()));
  }
  values.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, bytes.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = static_cast<Value>(stored);
  }
}

GoldenTensor read_tensor(const Json& entry, std::string_view data) {
  const auto& offsets = entry.at("data_offsets");
  const auto begin = offsets.at(0).get<std::size_t>();
  const auto end = offsets.at(1).get<std::size_t>();
  if (begin > end || end > data.size()) {
    damaged(fmt::format("bytes [{}, {}) lie outside the file's {} bytes of data: it is cut short", begin, end,
                        data.size()));
  }
  GoldenTensor tensor{entry.at("dtype"), entry.at("shape"), {}, {}};
  std::size_t count = 1;
  for (const std::int64_t extent : tensor.shape) count *= static_cast<std::size_t>(extent);
  const std::string_view bytes = data.substr(begin, end - begin);
  if (tensor.dtype == "F64") {
    decode<double>(bytes, count, tensor.reals);
  } else if (tensor.dtype == "F32") {
    decode<float>(bytes, count, tensor.reals);
  } else if (tensor.dtype == "I64") {
    decode<std::int64_t>(bytes, count, tensor.integers);
  } else {
    damaged(fmt::format("dtype {} is none of F64, F32, I64", tensor.dtype));
  }
  return tensor;
}

// A key that is missing and one that is null mean the same: nothing is said.
template <class T>
T value_or(const Json& json, const char* key, T otherwise) {
  const auto it = json.find(key);
  return it == json.end() || it->is_null() ? otherwise : it->get<T>();
}

std::optional<Tolerance> read_tolerance(const Json& tolerances, const char* key) {
  const auto it = tolerances.find(key);
  if (it == tolerances.end() || it->is_null()) return std::nullopt;
  return Tolerance{it->at("rtol"), it->at("atol")};
}

GoldenCase read_case(const std::string& name, Json json) {
  GoldenCase result;
  result.name = name;
  json.at("family").get_to(result.family);
  json.at("op").get_to(result.op);
  using Words = std::vector<std::string>;
  result.args = value_or(json, "args", Words());
  result.outputs = value_or(json, "outputs", Words());
  result.diff = value_or(json, "diff", Words());
  result.nonfinite = value_or(json, "nonfinite", Words());
  result.attrs = value_or(json, "attrs", Json::object());
  result.program = value_or(json, "program", Json::array());
  result.kink = value_or(json, "kink", false);
  result.extra = value_or(json, "extra", false);
  result.note = value_or(json, "note", std::string());
  const Json tolerances = value_or(json, "tol", Json::object());
  result.f64 = read_tolerance(tolerances, "f64");
  result.f32 = read_tolerance(tolerances, "f32");
  result.f32_two_pass = read_tolerance(tolerances, "f32_two_pass");
  result.f32_folded = read_tolerance(tolerances, "f32_folded");
  result.description = std::move(json);
  return result;
}

// Runs `read`; where it throws, says in which part of the file.
template <class Read>
auto within(const std::string& part, Read read) {
  try {
    return read();
  } catch (const std::exception& error) {
    damaged(fmt::format("{}: {}", part, error.what()));
  }
}

std::vector<GoldenCase> read_cases(const std::string& bytes) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof(length)) damaged("is too short for a safetensors file");
  std::memcpy(&length, bytes.data(), sizeof(length));
  const std::string_view rest = std::string_view(bytes).substr(sizeof(length));
  if (length > rest.size()) {
    damaged(fmt::format("the header takes {} bytes, only {} follow", length, rest.size()));
  }
  const Json header = within("header", [&] { return Json::parse(rest.substr(0, length)); });
  const std::string_view data = rest.substr(length);

  std::map<std::string, GoldenCase, std::less<>> cases;
  const Json metadata = within("header", [&] { return header.at("__metadata__"); });
  for (const auto& [name, text] : metadata.items()) {
    if (name == "__file__") continue;
    cases[name] = within(fmt::format("case {}", name), [&, &key = name, &json = text] {
      return read_case(key, Json::parse(json.get_ref<const std::string&>()));
    });
  }
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    within(fmt::format("tensor {}", name), [&, &key = name, &json = entry] {
      const auto slash = key.find('/');
      const auto it = cases.find(std::string_view(key).substr(0, slash));
      if (slash == std::string::npos || it == cases.end()) damaged("belongs to no case");
      it->second.tensors.emplace(key.substr(slash + 1), read_tensor(json, data));
    });
  }

  std::vector<GoldenCase> result;
  for (auto& [name, golden_case] : cases) result.push_back(std::move(golden_case));
  return result;
}

}  // namespace

const GoldenTensor& GoldenCase::tensor(std::string_view role) const {
  const auto it = tensors.find(role);
  if (it == tensors.end()) {
    throw std::out_of_range(fmt::format("golden case {} has no tensor {}", name, role));
  }
  return it->second;
}

GoldenFile::GoldenFile(const std::filesystem::path& path) : path_(path) {
  try {
    cases_ = read_cases(read_all(path));
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("golden file {}: {}", path.string(), error.what()));
  }
}

const GoldenCase& GoldenFile::find(std::string_view name) const {
  for (const GoldenCase& golden_case : cases_) {
    if (golden_case.name == name) return golden_case;
  }
  throw std::out_of_range(fmt::format("golden file {} has no case {}", path_.string(), name));
}

std::filesystem::path golden_dir() {
  const char* named = std::getenv("EBB_GOLDEN_DIR");
  return named != nullptr && *named != '\0' ? named : EBB_GOLDEN_SOURCE_DIR;
}

const GoldenFile& golden(const std::string& family) {
  static std::map<std::string, GoldenFile> files;
  const auto it = files.find(family);
  if (it != files.end()) return it->second;
  return files.try_emplace(family, golden_dir() / (family + ".safetensors")).first->second;
}

std::optional<std::string> mismatch(std::span<const double> values, const GoldenCase& golden_case,
                                    std::string_view role, const Tolerance& tolerance) {
  const GoldenTensor& tensor = golden_case.tensor(role);
  const auto atol = tolerance.atol.find(role);
  if (atol == tolerance.atol.end()) {
    throw std::out_of_range(fmt::format("golden case {} has no tolerance for {}", golden_case.name, role));
  }
  if (values.size() != tensor.reals.size()) {
    return fmt::format("{}/{}: {} values, expected {}", golden_case.name, role, values.size(), tensor.reals.size());
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double value = values[i];
    const double reference = tensor.reals[i];
    const double bound = atol->second + tolerance.rtol * std::abs(reference);
    // Equality first: it passes infinities of one sign, whose difference would be NaN.
    const bool passes = value == reference || (std::isfinite(reference) && std::abs(value - reference) <= bound);
    if (!passes) {
      return fmt::format("{}/{}[{}]: got {}, expected {}, off by {:.3g} where {:.3g} is allowed", golden_case.name,
                         role, i, value, reference, std::abs(value - reference), bound);
    }
  }
  return std::nullopt;
}

}  // namespace ebb::test
