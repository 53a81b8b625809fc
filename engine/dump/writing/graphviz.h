// Graphviz's program `dot`, which places the nodes of a graph and draws it.
#pragma once

#include <ebb/engine/error.h>

#include <string>
#include <string_view>

namespace ebb::detail {

/// What `dot -T<language>` makes of a drawing: "svg", or "plain" for the positions alone.
///
/// Throws    IoError if Graphviz is not installed or fails.
std::string graphviz(std::string_view drawing, const char* language, const Location& where);

}  // namespace ebb::detail
