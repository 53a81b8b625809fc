// The order of a schedule's actions, where what they compute leaves it open.
//
// Loops come in the order in which their first op was recorded, and an optimizer records its ops last. By then every
// gradient is in memory. So what only makes a State's new value runs as soon as it can, and so does what is a single
// number: a gradient's memory is free again, and it is read while it is near.
#pragma once

#include <ebb/engine/program/plan/schedule.h>

namespace ebb {

void advance_updates(const Traced& traced, Schedule& schedule);

/// Puts an action in front of an earlier one, behind all that it reads.
void move_action(Schedule& schedule, std::size_t from, std::size_t to);

}  // namespace ebb
