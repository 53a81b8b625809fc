// Files that are written whole or not at all.
//
// The bytes go to a new file beside the target, which takes the target's name once they are safely on the disk.
// Whatever goes wrong before - no room left, an exception, a crash - the old file is as it was. A link stays a link, a
// file keeps its permissions, and what is no file (a folder, /dev/null) is refused.
#pragma once

#include <ebb/engine/error.h>

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace ebb {

/// Appends bytes to the file being written.
using Write = std::function<void(std::span<const std::byte>)>;

/// Writes `path` with what `content` hands to its argument, for the function `op` that was called at `where`. Throws
/// IoError if that fails, and passes on what `content` throws.
void write_file(std::string_view op, const std::string& path, const Location& where,
                const std::function<void(const Write&)>& content);

}  // namespace ebb
