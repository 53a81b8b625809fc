// Lanes are the elements that differ along the axis alone. Inner lanes lie side by side and go through a pack together;
// where the axis is the innermost, whole lanes are taken a few at a time, so that one's additions hide behind
// another's. A lone long lane is cut into pieces, whose totals are found first; bounds depend on the shape alone.
#include <ebb/engine/loop/scan.h>

#include <ebb/engine/threads/pool.h>

#include <algorithm>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 16 * 1024;     // elements worth a thread
constexpr std::int64_t kTile = 256;            // lanes side by side
constexpr std::int64_t kPieces = 16;           // of a lone lane
constexpr std::int64_t kLongLane = 64 * 1024;  // elements from which on a lone lane is cut

struct Walk {
  const Scanner& scanner;
  std::array<const std::byte*, 2> in;
  std::byte* out;
  std::int64_t size;  // of an element
  std::int64_t length;
  bool reverse;

  // `lanes` lanes from element `first` on, `steps` steps of each.
  void run(void* cells, std::int64_t first, std::int64_t lanes, std::int64_t lane_step, std::int64_t steps,
           std::int64_t step, bool keep = true) const {
    const std::int64_t begin = (reverse ? first + (steps - 1) * step : first) * size;
    ScanCall call;
    for (std::size_t k = 0; k < in.size(); ++k) call.in[k] = in[k] ? in[k] + begin : nullptr;
    call.out = keep ? out + begin : nullptr;
    call.cells = cells;
    call.lanes = lanes;
    call.lane_step = lane_step;
    call.steps = steps;
    call.step = reverse ? -step : step;
    scanner.run(call);
  }

  // One lane in pieces: their totals, what comes before each, and then the steps.
  void run_in_pieces(std::int64_t first) const {
    std::array<std::int64_t, kPieces> totals;
    std::array<std::int64_t, kPieces> cells;
    scanner.init(totals.data(), kPieces);
    scanner.init(cells.data(), kPieces);
    const std::int64_t piece = (length + kPieces - 1) / kPieces;
    constexpr std::int64_t kTogether = 4;
    const auto each = [&](std::int64_t* carry, bool keep) {
      parallel_for(kPieces / kTogether, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t p = begin * kTogether; p < end * kTogether; p += kTogether) {
          const std::int64_t whole = std::clamp<std::int64_t>(length / piece - p, 0, kTogether);
          if (whole > 0) run(carry + p, first + p * piece, whole, piece, piece, 1, keep);
          const std::int64_t rest = std::min(length - (p + whole) * piece, piece);
          if (whole < kTogether && rest > 0) run(carry + p + whole, first + (p + whole) * piece, 1, 1, rest, 1, keep);
        }
      });
    };
    each(totals.data(), false);
    const std::size_t n = static_cast<std::size_t>(kPieces);
    for (std::size_t i = 1; i < n; ++i) {
      const std::size_t to = reverse ? n - 1 - i : i;
      const std::size_t from = reverse ? to + 1 : to - 1;
      cells[to] = cells[from];
      scanner.merge(&cells[to], &totals[from], 1);
    }
    each(cells.data(), true);
  }
};

}  // namespace

void run_scan(const Row& row, std::span<const Tensor* const> in, const Attrs& attrs, Tensor& out) {
  const std::size_t dtype = static_cast<std::size_t>(out.dtype());
  out = Tensor::empty(out.shape(), out.dtype());
  const Shape& shape = out.shape();
  const std::int64_t total = shape.numel();
  if (total == 0) return;
  const int axis = static_cast<int>(attrs.integer("axis"));
  std::int64_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  const Scanner& scanner = *row.scanner[static_cast<std::size_t>(active_isa())]->by_dtype[dtype];
  const Walk walk{scanner,           {in[0]->raw(), in.size() > 1 ? in[1]->raw() : nullptr},
                  out.mutable_raw(), static_cast<std::int64_t>(size_of(out.dtype())),
                  shape[axis],       attrs.flag("reverse")};
  const std::int64_t outer = total / walk.length / inner;

  if (inner == 1 && outer < 4 && walk.length >= kLongLane && scanner.merge) {
    for (std::int64_t lane = 0; lane < outer; ++lane) walk.run_in_pieces(lane * walk.length);
    return;
  }
  // A task is some lanes of the innermost axis, or a tile of the lanes that lie side by side.
  const std::int64_t tiles = (inner + kTile - 1) / kTile;
  const std::int64_t per_task = inner > 1 ? 1 : std::clamp<std::int64_t>(kGrain / walk.length, 4, kTile);
  const std::int64_t tasks = inner > 1 ? outer * tiles : (outer + per_task - 1) / per_task;
  const std::int64_t group = std::max<std::int64_t>(1, kGrain * tasks / total);
  parallel_for((tasks + group - 1) / group, [&](std::int64_t begin, std::int64_t end) {
    std::array<std::int64_t, kTile> cells;
    for (std::int64_t task = begin * group; task < std::min(tasks, end * group); ++task) {
      if (inner == 1) {
        const std::int64_t lanes = std::min(per_task, outer - task * per_task);
        scanner.init(cells.data(), lanes);
        walk.run(cells.data(), task * per_task * walk.length, lanes, walk.length, walk.length, 1);
      } else {
        const std::int64_t first = task % tiles * kTile;
        const std::int64_t lanes = std::min(kTile, inner - first);
        scanner.init(cells.data(), lanes);
        walk.run(cells.data(), task / tiles * walk.length * inner + first, lanes, 1, walk.length, inner);
      }
    }
  });
}

}  // namespace ebb
