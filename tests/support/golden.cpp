// The tensors come from load_safetensors; __metadata__ maps each case to its description, which is JSON inside a
// string. All that can be wrong with a file is found here, in one pass, and said with the file's name.
#include "tests/support/golden.h"

#include <ebb/engine/io/safetensors.h>
#include <fmt/core.h>

#include <cmath>
#include <cstdlib>
#include <stdexcept>

namespace ebb::test {
namespace {

// What is wrong with a file; the constructor adds which file.
[[noreturn]] void damaged(const std::string& what) { throw std::runtime_error(what); }

GoldenTensor plain(const Tensor& tensor) {
  const auto copy = []<class T>(std::span<const T> data) { return std::vector<T>(data.begin(), data.end()); };
  const auto shape = copy(tensor.shape().sizes());
  switch (tensor.dtype()) {
    case DType::f64:
      return {"F64", shape, copy(tensor.data<double>()), {}};
    case DType::f32:
      return {"F32", shape, copy(tensor.to(DType::f64).data<double>()), {}};
    case DType::i64:
      return {"I64", shape, {}, copy(tensor.data<std::int64_t>())};
    case DType::boolean:
      break;
  }
  damaged("dtype BOOL is none of F64, F32, I64");
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

std::vector<GoldenCase> read_cases(const Safetensors& file) {
  std::map<std::string, GoldenCase, std::less<>> cases;
  for (const auto& [name, text] : file.metadata) {
    if (name == "__file__") continue;
    cases[name] = within(fmt::format("case {}", name),
                         [&, &key = name, &json = text] { return read_case(key, Json::parse(json)); });
  }
  for (const auto& [name, tensor] : file.tensors) {
    within(fmt::format("tensor {}", name), [&, &key = name, &values = tensor] {
      const auto slash = key.find('/');
      const auto it = cases.find(std::string_view(key).substr(0, slash));
      if (slash == std::string::npos || it == cases.end()) damaged("belongs to no case");
      it->second.tensors.emplace(key.substr(slash + 1), plain(values));
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
    cases_ = read_cases(load_safetensors(path));
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
