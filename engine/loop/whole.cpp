#include <ebb/engine/loop/reduction.h>
#include <ebb/engine/loop/scan.h>
#include <ebb/engine/loop/whole.h>

namespace ebb {

void run_whole(const Row& row, KernelCall& call) {
  if (row.kernel) {
    row.kernel(call);
  } else if (row.kind == Kind::scan) {
    run_scan(row, call.in, call.attrs, call.out);
  } else if (row.kind != Kind::reduction) {
    call.fail("the row has no kernel", "Give it Row::kernel, or make it with own_row.");
  } else {
    run_reduction(row, *call.in[0], call.attrs.list("axes"), call.out);
  }
}

}  // namespace ebb
