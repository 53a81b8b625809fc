// The files of this folder as the library holds them.
#pragma once

#include <span>
#include <string_view>

namespace ebb::detail {

extern const std::string_view kPlayerPage;  // with the marks {{title}}, {{style}}, {{data}} and {{script}}
extern const std::string_view kPlayerStyle;
extern const std::span<const std::string_view> kPlayerScripts;  // in the order of their names: one script, joined

}  // namespace ebb::detail
