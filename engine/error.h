// What goes wrong, and where it is told.
//
// Every error that a caller can cause is one of four types below, thrown before any state has changed. A message has
// one form: `<op>: <what is wrong, naming sizes>; got <every input>. <What to do.> (file:line, in the.scopes)`. Notes
// are things worth one line once; they go to a handler that a program may replace, and nothing else in the library
// prints.
#pragma once

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>

namespace ebb {

/// The base of every error the library throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Sizes, ranks or axes that do not fit.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// A dtype that an op does not take, or two that differ.
class DTypeError : public Error {
 public:
  using Error::Error;
};

/// A call that is wrong by its order, its handles or its values.
class UsageError : public Error {
 public:
  using Error::Error;
};

/// A file that is missing, damaged or not what it claims to be.
class IoError : public Error {
 public:
  using Error::Error;
};

/// Where a call stands in the user's source. As a default argument, `Location::current()` names the caller's line.
/// (std::source_location would do, but Clang 14 lacks the builtin that libstdc++ makes it from.)
struct Location {
  const char* file = "";
  std::uint32_t line = 0;

  static constexpr Location current(const char* file = __builtin_FILE(), std::uint32_t line = __builtin_LINE()) {
    return {file, line};
  }
  /// False for a place that is not known.
  explicit operator bool() const { return line != 0; }
};

/// `file.cpp:41`, with the folders of the path left out.
std::string to_string(const Location& where);

/// Receives the notes: one line each, without a newline. An empty handler silences them.
using NoteHandler = std::function<void(std::string_view)>;

/// Replaces the note handler and returns the one before. The first handler writes to stderr.
NoteHandler set_note_handler(NoteHandler handler);

/// Hands `text` to the note handler.
void note(std::string_view text);

/// Hands `text` to the note handler the first time this text is met in the process.
void note_once(const std::string& text);

}  // namespace ebb
