// A check of JSON against a schema, for as much of JSON Schema as docs/dump.schema.json uses: type, enum, const, anyOf,
// properties, required, additionalProperties, items, minimum and $ref into $defs.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace ebb::test {

/// What is wrong with `value`, with the place of it; empty if it is as the schema says. A word of the schema that is
/// not known here is an error too.
std::string violation(const nlohmann::json& value, const nlohmann::json& schema);

}  // namespace ebb::test
