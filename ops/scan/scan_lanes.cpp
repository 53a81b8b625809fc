// The steps of the scans, once per instruction set.
#include <ebb/engine/lanes/scan.h>

namespace ebb::EBB_ISA {

struct CumulativeSum {
  static constexpr int kArity = 1;
  static constexpr int kInit = 0;
  template <class C>
  static C step(C acc, C x) {
    return acc + x;
  }
  template <class C>
  static C merge(C acc, C total) {
    return acc + total;
  }
};

// Never cut: behind a 0 every product is 0, even where a piece by itself would overflow.
struct CumulativeProduct {
  static constexpr int kArity = 1;
  static constexpr int kInit = 1;
  template <class C>
  static C step(C acc, C x) {
    return acc * x;
  }
};

struct LinearRecurrence {
  static constexpr int kArity = 2;
  static constexpr int kInit = 0;
  template <class C>
  static C step(C acc, C a, C b) {
    return a * acc + b;
  }
};

extern const std::array<ScannerTable, 3> kScanners;
const std::array<ScannerTable, 3> kScanners{scanner_table<CumulativeSum>(), scanner_table<CumulativeProduct>(),
                                            scanner_table<LinearRecurrence>()};

}  // namespace ebb::EBB_ISA
