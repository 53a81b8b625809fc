// The choice of the instruction set: asked of the CPU once, and overruled by EBB_ISA.
#include <ebb/engine/error.h>
#include <ebb/engine/lanes/isa.h>

#include <cstdlib>
#include <string>

namespace ebb {
namespace {

Isa chosen_isa() {
  if (const char* wish = std::getenv("EBB_ISA"); wish != nullptr && *wish != '\0') {
    for (int i = 0; i < kIsaCount; ++i) {
      if (wish != kIsaNames[static_cast<std::size_t>(i)]) continue;
      const Isa isa{static_cast<unsigned char>(i)};
      if (supported(isa)) return isa;
      throw UsageError("EBB_ISA: this CPU has no " + std::string(wish));
    }
    throw UsageError("EBB_ISA: '" + std::string(wish) + "' is no instruction set; the sets are base, avx2, avx512");
  }
  if (supported(Isa::avx512)) return Isa::avx512;
  return supported(Isa::avx2) ? Isa::avx2 : Isa::base;
}

}  // namespace

bool supported(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  switch (isa) {
    case Isa::base:
      return true;
    case Isa::avx2:
      return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
    case Isa::avx512:
      return supported(Isa::avx2) && __builtin_cpu_supports("avx512f") != 0 &&
             __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
             __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512cd") != 0;
  }
  return false;
#else
  return isa == Isa::base;
#endif
}

Isa active_isa() {
  static const Isa isa = chosen_isa();
  return isa;
}

}  // namespace ebb
