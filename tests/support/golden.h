// The reference data in tests/golden, read into plain standard types.
//
// A file is read whole by load_safetensors and checked whole when it is opened: every tensor belongs
// to a case, every case is described. A test that has a GoldenFile therefore never meets damaged data
// halfway. What tests see are plain values, so that a mistake in the engine's arithmetic cannot hide
// one in the reference. tests/golden/README.md says what the cases mean.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ebb::test {

using Json = nlohmann::json;

/// Row-major values. Those of the file's F64 and F32 are in `reals`, those of I64 in `integers`;
/// the other is empty.
struct GoldenTensor {
  std::string dtype;  // "F64", "F32" or "I64", as in the file
  std::vector<std::int64_t> shape;
  std::vector<double> reals;
  std::vector<std::int64_t> integers;

  std::size_t size() const { return dtype == "I64" ? integers.size() : reals.size(); }
};

/// A value passes if |value - reference| <= atol[role] + rtol * |reference|.
struct Tolerance {
  double rtol = 0;
  std::map<std::string, double, std::less<>> atol;
};

/// One case: its description, and its tensors by role. Keys that few cases have (`steps`, `layers`,
/// `problem`, ...) are read from `description`, which holds all of them.
struct GoldenCase {
  std::string name;
  std::string family;
  std::string op;
  std::vector<std::string> args;
  std::vector<std::string> outputs;
  std::vector<std::string> diff;
  std::vector<std::string> nonfinite;
  Json attrs = Json::object();
  Json program = Json::array();  // empty unless the case is a composed function
  bool kink = false;
  bool extra = false;
  std::string note;
  std::optional<Tolerance> f64;
  std::optional<Tolerance> f32;  // absent where float32 overflows
  std::optional<Tolerance> f32_two_pass;
  std::optional<Tolerance> f32_folded;
  Json description;
  std::map<std::string, GoldenTensor, std::less<>> tensors;

  bool has(std::string_view role) const { return tensors.contains(role); }

  /// Throws std::out_of_range that names case and role.
  const GoldenTensor& tensor(std::string_view role) const;
};

/// All cases of one safetensors file, in the order of their names.
class GoldenFile {
 public:
  /// Throws std::runtime_error that names the file and what is wrong with it.
  explicit GoldenFile(const std::filesystem::path& path);

  const std::vector<GoldenCase>& cases() const { return cases_; }

  /// Throws std::out_of_range that names file and case.
  const GoldenCase& find(std::string_view name) const;

 private:
  std::filesystem::path path_;
  std::vector<GoldenCase> cases_;
};

/// The directory that EBB_GOLDEN_DIR names, or else tests/golden of the source tree.
std::filesystem::path golden_dir();

/// The file of a family ("ops", "batchnorm", ...) in golden_dir(), read at its first use and kept.
const GoldenFile& golden(const std::string& family);

/// The first element of `role` that misses its reference, in words; nothing if all pass. Infinities
/// must agree in sign, NaN never passes. Throws std::out_of_range if the tolerance does not speak
/// of the role.
std::optional<std::string> mismatch(std::span<const double> values, const GoldenCase& golden_case,
                                    std::string_view role, const Tolerance& tolerance);

}  // namespace ebb::test
