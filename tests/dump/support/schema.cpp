#include "tests/dump/support/schema.h"

#include <fmt/format.h>

#include <set>

namespace ebb::test {
namespace {

using nlohmann::json;

bool has_type(const json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "boolean") return value.is_boolean();
  if (type == "integer") return value.is_number_integer();
  if (type == "number") return value.is_number();
  return type == "null" && value.is_null();
}

class Check {
 public:
  explicit Check(const json& root) : root_(root) {}

  std::string run(const json& value, const json& schema, const std::string& place) const {
    static const std::set<std::string> known{"$schema", "$defs",      "$ref",     "title",
                                             "type",    "enum",       "const",    "anyOf",
                                             "items",   "properties", "required", "additionalProperties",
                                             "minimum", "description"};
    for (const auto& [word, rule] : schema.items()) {
      if (!known.contains(word)) return fmt::format("{}: the schema's word {} is not known", place, word);
    }
    if (schema.contains("$ref")) {
      const std::string wrong =
          run(value, root_.at(json::json_pointer(schema["$ref"].get<std::string>().substr(1))), place);
      if (!wrong.empty()) return wrong;
    }
    if (schema.contains("type") && !has_type(value, schema["type"])) {
      return fmt::format("{}: {} is no {}", place, value.dump().substr(0, 60), schema["type"].get<std::string>());
    }
    if (schema.contains("const") && value != schema["const"]) {
      return fmt::format("{}: {} is not {}", place, value.dump(), schema["const"].dump());
    }
    if (schema.contains("enum") && std::ranges::find(schema["enum"], value) == schema["enum"].end()) {
      return fmt::format("{}: {} is none of {}", place, value.dump(), schema["enum"].dump());
    }
    if (schema.contains("minimum") && value < schema["minimum"]) {
      return fmt::format("{}: {} is below {}", place, value.dump(), schema["minimum"].dump());
    }
    if (schema.contains("anyOf")) {
      std::string all;
      for (const json& option : schema["anyOf"]) {
        const std::string wrong = run(value, option, place);
        if (wrong.empty()) return {};
        all += (all.empty() ? "" : "; ") + wrong;
      }
      return all;
    }
    if (value.is_array() && schema.contains("items")) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        const std::string wrong = run(value[i], schema["items"], fmt::format("{}/{}", place, i));
        if (!wrong.empty()) return wrong;
      }
    }
    return value.is_object() ? members(value, schema, place) : std::string();
  }

 private:
  std::string members(const json& value, const json& schema, const std::string& place) const {
    const json properties = schema.value("properties", json::object());
    for (const json& name : schema.value("required", json::array())) {
      if (!value.contains(name)) return fmt::format("{}: {} is missing", place, name.get<std::string>());
    }
    for (const auto& [name, member] : value.items()) {
      const std::string at = place + "/" + name;
      if (properties.contains(name)) {
        const std::string wrong = run(member, properties[name], at);
        if (!wrong.empty()) return wrong;
      } else if (schema.contains("additionalProperties")) {
        const json& others = schema["additionalProperties"];
        if (others == false) return fmt::format("{}: is not in the schema", at);
        const std::string wrong = run(member, others, at);
        if (!wrong.empty()) return wrong;
      }
    }
    return {};
  }

  const json& root_;
};

}  // namespace

std::string violation(const json& value, const json& schema) { return Check(schema).run(value, schema, ""); }

}  // namespace ebb::test
