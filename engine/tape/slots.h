// Slots: the process-wide table that says which tapes live. Private to the tape.
//
// It only grows; a slot is used again by a later tape, and its counter tells the two apart. A Var holds a slot's
// number, so that it can ask whether its tape is alive without following a pointer to it.
#pragma once

#include <ebb/engine/error.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

namespace ebb {

class Tape;

struct Slot {
  std::atomic<Tape*> tape{nullptr};
  std::uint64_t first_generation = 0;  // of its tape: past all those of the tapes before
};

class SlotTable {
 public:
  // Slot 0 stays empty: it is the slot of a Var without a tape.
  std::uint32_t take(Tape* tape) {
    const std::lock_guard lock(mutex_);
    std::uint32_t index = 0;
    if (free_.empty()) {
      index = ++count_;
      if (index / kChunk >= chunks_.size()) throw UsageError("tape: too many tapes are alive");
      std::atomic<Slot*>& chunk = chunks_[index / kChunk];
      if (!chunk.load()) chunk.store(new Slot[kChunk]);
    } else {
      index = free_.back();
      free_.pop_back();
    }
    (*this)[index].tape.store(tape, std::memory_order_release);
    return index;
  }
  void give_back(std::uint32_t index, std::uint64_t last_generation) {
    const std::lock_guard lock(mutex_);
    (*this)[index].tape.store(nullptr, std::memory_order_release);
    (*this)[index].first_generation = last_generation + 1;
    free_.push_back(index);
  }
  Slot& operator[](std::uint32_t index) {
    return chunks_[index / kChunk].load(std::memory_order_acquire)[index % kChunk];
  }

 private:
  static constexpr std::uint32_t kChunk = 1024;
  std::mutex mutex_;
  std::array<std::atomic<Slot*>, 1024> chunks_{};
  std::uint32_t count_ = 0;
  std::vector<std::uint32_t> free_;
};

inline SlotTable& slots() {
  static SlotTable* table = new SlotTable;  // never destroyed: Vars may outlive everything
  return *table;
}

}  // namespace ebb
