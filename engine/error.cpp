#include <ebb/engine/error.h>

#include <fmt/format.h>

#include <cstdio>
#include <mutex>
#include <unordered_set>
#include <utility>

namespace ebb {
namespace {

struct Notes {
  std::mutex mutex;
  NoteHandler handler = [](std::string_view text) { fmt::print(stderr, "ebb: {}\n", text); };
  std::unordered_set<std::string> seen;
};

Notes& notes() {
  static Notes instance;
  return instance;
}

}  // namespace

std::string to_string(const Location& where) {
  const std::string_view path = where.file;
  const std::size_t slash = path.find_last_of('/');
  return fmt::format("{}:{}", slash == path.npos ? path : path.substr(slash + 1), where.line);
}

NoteHandler set_note_handler(NoteHandler handler) {
  const std::lock_guard lock(notes().mutex);
  return std::exchange(notes().handler, std::move(handler));
}

void note(std::string_view text) {
  NoteHandler handler;  // called outside the lock: it may itself replace the handler
  {
    const std::lock_guard lock(notes().mutex);
    handler = notes().handler;
  }
  if (handler) handler(text);
}

void note_once(const std::string& text) {
  {
    const std::lock_guard lock(notes().mutex);
    if (!notes().seen.insert(text).second) return;
  }
  note(text);
}

}  // namespace ebb
