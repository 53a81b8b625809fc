// Reserves: memory for work that must not run out of it half-way.
//
// A program writes new values over old ones, so an error after the first of them would leave States half updated. What
// it then asks the cache for is known from an earlier run, and is set aside before the first write.
#pragma once

#include <cstddef>
#include <vector>

namespace ebb {

/// Blocks of the cache for work that cannot be taken back. The work is done once in a way that can be; a Rehearsal
/// counts what it asks for. From then on fill() has as much ready before it begins, and a Use hands it out where the
/// system has nothing left.
class Reserve {
 public:
  Reserve() = default;
  Reserve(const Reserve&) = delete;
  Reserve& operator=(const Reserve&) = delete;
  ~Reserve();

  /// Counts, while it lives, what all threads ask of the cache. False if somebody else is at it: then nothing is
  /// counted.
  class Rehearsal {
   public:
    explicit Rehearsal(Reserve& reserve);
    Rehearsal(const Rehearsal&) = delete;
    Rehearsal& operator=(const Rehearsal&) = delete;
    ~Rehearsal();
    explicit operator bool() const { return counts_; }

   private:
    bool counts_;
  };
  /// Sets aside what was counted; throws std::bad_alloc when the system has not as much.
  void fill();
  class Use {
   public:
    explicit Use(Reserve& reserve);
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;
    ~Use();

   private:
    Reserve& reserve_;
  };

 private:
  friend class ReserveAccess;
  struct Kind {
    int size_class;
    std::size_t wanted = 0;
    std::vector<void*> blocks{};
  };
  std::vector<Kind> kinds_;
  Reserve* next_ = nullptr;  // of those in use
};

}  // namespace ebb
