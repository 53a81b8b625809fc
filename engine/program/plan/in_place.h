// Results that are written over what they are made of.
//
// An elementwise loop has read an element before it writes the one at the same place. So a result may take the memory
// of an operand that nothing reads any more, and what ends in an output lies in the output's memory from the start. The
// new value of a State may take that of the old one, once every kernel is done that may refuse what it finds: an error
// must leave each State as it was.
#pragma once

#include <ebb/engine/program/plan/schedule.h>

#include <vector>

namespace ebb {

/// An update, by its number, whose `value` may be written over what the State, by the number of its read, holds.
struct OverState {
  std::size_t update, read;
  NodeId value;
};

struct InPlace {
  std::vector<NodeId> over;    // by node: in whose memory it is written; kNoNode if in its own
  std::vector<NodeId> inside;  // by node: the result of the program in whose memory it is written first; or kNoNode
  std::vector<bool> rewrites;  // by node: it is written where an operand lies
  std::vector<OverState> states;
};

/// `result` marks what is handed out.
InPlace find_in_place(const Traced& traced, const Schedule& schedule, const std::vector<bool>& result);

/// The first action behind all kernels that may refuse values.
std::size_t after_refusals(const Traced& traced, const Schedule& schedule);

}  // namespace ebb
