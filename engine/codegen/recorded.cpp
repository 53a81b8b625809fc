#include <ebb/engine/codegen/recorded.h>

namespace ebb::codegen {
namespace {
thread_local Recording* current = nullptr;
}

Recording::Recording(Formula& formula) : formula_(formula), outer_(current) { current = this; }
Recording::~Recording() { current = outer_; }

Id Recording::note(const Value& value) {
  if (current->formula_.size() >= Formula::kMaxSize) {
    current->refused_ = true;
    return 0;
  }
  return current->formula_.add(value);
}

void Recording::refuse() { current->refused_ = true; }

}  // namespace ebb::codegen
