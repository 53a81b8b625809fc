// What a tape is a list of: nodes, the scopes they were recorded in and the names they bear.
//
// A node is plain data. Whatever has a length of its own (attributes, inputs, texts) lies in the tape's chunks, and the
// node says where, so that recording a node touches no heap and rewinding a tape is a change of lengths.
#pragma once

#include <ebb/engine/row/row.h>
#include <ebb/engine/tape/var.h>

#include <cstdint>
#include <span>
#include <string_view>

namespace ebb {

/// Why a node has no value in memory.
enum class Presence : std::uint8_t {
  computed,  ///< the value is there
  pending,   ///< part of the tape's open loop, which runs when someone needs it
  lazy,      ///< a broadcast that nobody has needed in full yet
  unstored,  ///< cheaper to compute again than to read: the loops that need it do
  traced,    ///< recorded only
  released,  ///< dropped by a sweep with keep = false
};

struct Node {
  const Row* row = nullptr;
  Tensor value;  // always has shape and dtype
  std::span<const Attr> attrs;
  std::uint32_t first_input = 0;
  std::uint32_t inputs = 0;
  std::uint64_t birth = 0;       // the tape's generation when it was recorded
  NodeId origin = kNoNode;       // the node whose derivative this one is
  std::uint32_t sweep = 0;       // the sweep that recorded it, from 1; 0 outside
  std::uint32_t scope = 0;       // index into scopes()
  std::uint32_t lazy = kNoNode;  // where the source of a lazy broadcast is kept
  std::uint32_t pending = 0;     // which step or reduction of the open loop it is, if it is in it
  Presence presence = Presence::traced;
  bool named = false;         // bears at least one name
  bool pinned = false;        // a State waits for its value
  bool read_again = false;    // small, and what is unstored is computed from it: its memory stays when it is released
  bool accumulation = false;  // adds up contributions to the cotangent of `origin`
  std::string_view step;      // "1" .. "9", or what the author of the composition chose
  Location where;             // the user's line
};

/// A scope opened by a composition or a module; scope 0 is the tape itself.
struct Scope {
  std::string_view name;
  std::uint32_t parent = 0;
  Location where;
  std::size_t nodes = 0;     // how many there were when it was opened
  std::size_t text_end = 0;  // how much text there was with its name
};

/// How a node came by a name.
enum class NameKind : std::uint8_t {
  given,         ///< by name() or leaf()
  contribution,  ///< one of the summands of the cotangent of `of`
  cotangent,     ///< the whole cotangent of `of`
};

/// One name of one node, in the order they were given; dumps show an alias where it stands in this order.
struct NameEntry {
  NodeId node = kNoNode;
  NodeId of = kNoNode;      // for cotangents: the node whose cotangent this is
  NodeId position = 0;      // how many nodes there were
  NodeId origin = kNoNode;  // for cotangents: the node whose rule gave it
  std::uint32_t sweep = 0;
  std::uint32_t index = 0;  // for contributions: the how manieth, from 1
  std::uint32_t total = 0;  // for contributions: of how many
  NameKind kind = NameKind::given;
  std::string_view text;  // for given names
};

}  // namespace ebb
