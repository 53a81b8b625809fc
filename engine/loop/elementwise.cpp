#include <ebb/engine/error.h>
#include <ebb/engine/loop/elementwise.h>
#include <ebb/engine/threads/pool.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace ebb {
namespace {

constexpr std::int64_t kGrain = 16 * 1024;  // elements worth a thread
constexpr std::size_t kMaxArity = LaneCall::kMaxArity;

// Calls f(task) for each task of a range, every other call of this function from the last to the first: what one op
// touched last is still in the cache when the next begins there.
template <class F>
void to_and_fro(std::int64_t begin, std::int64_t end, bool back, F&& f) {
  if (back) {
    for (std::int64_t t = end; t-- > begin;) f(t);
  } else {
    for (std::int64_t t = begin; t < end; ++t) f(t);
  }
}
// The axes that are left after merging, innermost last, and each operand's stride along them in elements.
struct Walk {
  int rank = 0;
  std::array<std::int64_t, kMaxRank> size{};
  std::array<std::array<std::int64_t, kMaxRank>, kMaxArity> stride{};

  Walk(std::span<const Source> in, const Shape& out) {
    std::array<std::array<std::int64_t, kMaxRank>, kMaxArity> full{};
    for (std::size_t k = 0; k < in.size(); ++k) {
      const Shape& shape = *in[k].shape;
      std::int64_t step = 1;
      for (int i = shape.rank() - 1, o = out.rank() - 1; i >= 0; --i, --o) {
        full[k][static_cast<std::size_t>(o)] = shape[i] == 1 ? 0 : step;
        step *= shape[i];
      }
    }
    for (int axis = 0; axis < out.rank(); ++axis) {
      const std::size_t a = static_cast<std::size_t>(axis);
      if (out[axis] == 1) continue;
      bool merge = rank > 0;
      for (std::size_t k = 0; merge && k < in.size(); ++k) {
        merge = stride[k][static_cast<std::size_t>(rank - 1)] == full[k][a] * out[axis];
      }
      if (!merge) ++rank;
      const std::size_t r = static_cast<std::size_t>(rank - 1);
      size[r] = merge ? size[r] * out[axis] : out[axis];
      for (std::size_t k = 0; k < in.size(); ++k) stride[k][r] = full[k][a];
    }
  }
};

}  // namespace

namespace {
thread_local bool last_direction = false;
}

bool next_direction() { return last_direction = !last_direction; }
void set_direction(bool back) { last_direction = back; }

Lane lane_of(const Row& row, DType dtype) {
  const LaneTable* table = row.lanes[static_cast<std::size_t>(active_isa())];
  return table ? table->by_dtype[static_cast<std::size_t>(dtype)] : nullptr;
}

void run_elementwise(const Row& row, std::span<const Source> in, DType lane_dtype, Tensor& out) {
  const Lane lane = lane_of(row, lane_dtype);
  std::byte* const result = out.result_raw();
  const std::int64_t total = out.numel();
  if (total == 0) return;
  const std::int64_t out_size = static_cast<std::int64_t>(size_of(out.dtype()));
  std::array<std::int64_t, kMaxArity> in_size{};
  for (std::size_t k = 0; k < in.size(); ++k) {
    // Only a condition, input 0 of a select, has another size than the rest.
    const bool condition = k == 0 && row.signature == Signature::select;
    in_size[k] = condition ? 1 : static_cast<std::int64_t>(size_of(lane_dtype));
  }
  const bool stream = static_cast<std::int64_t>(out.bytes()) >= kStreamBytes;

  const Walk walk(in, out.shape());
  const std::size_t last = static_cast<std::size_t>(std::max(walk.rank - 1, 0));
  const std::int64_t inner = walk.rank == 0 ? 1 : walk.size[last];
  const std::int64_t rows = total / inner;
  LaneCall base;
  base.stream = stream;
  for (std::size_t k = 0; k < in.size(); ++k) {
    if (walk.rank > 0 && walk.stride[k][last] != 0) base.steps |= 1u << k;
  }

  const bool back = next_direction();
  if (rows == 1) {
    parallel_for((total + kGrain - 1) / kGrain, [&](std::int64_t begin, std::int64_t end) {
      LaneCall call = base;
      to_and_fro(begin, end, back, [&](std::int64_t task) {
        const std::int64_t first = task * kGrain;
        for (std::size_t k = 0; k < in.size(); ++k) {
          const std::int64_t offset = (base.steps >> k & 1) != 0 ? first * in_size[k] : 0;
          call.in[k] = static_cast<const std::byte*>(in[k].data) + offset;
        }
        call.out = result + first * out_size;
        call.n = std::min(total, first + kGrain) - first;
        lane(call);
      });
    });
    return;
  }

  // Rows along the axis next to the innermost go in one call; the axes outside of it are counted through.
  const std::size_t next = last - 1;
  base.n = inner;
  base.out_step = inner * out_size;
  for (std::size_t k = 0; k < in.size(); ++k) base.row_step[k] = walk.stride[k][next] * in_size[k];
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, kGrain / inner);
  parallel_for((rows + rows_per_task - 1) / rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    LaneCall call = base;
    to_and_fro(begin, end, back, [&](std::int64_t task) {
      const std::int64_t stop = std::min(rows, (task + 1) * rows_per_task);
      for (std::int64_t row_index = task * rows_per_task; row_index < stop; row_index += call.rows) {
        const std::int64_t at = row_index % walk.size[next];
        call.rows = std::min(stop - row_index, walk.size[next] - at);
        for (std::size_t k = 0; k < in.size(); ++k) {
          std::int64_t offset = at * walk.stride[k][next];
          std::int64_t rest = row_index / walk.size[next];
          for (std::size_t axis = next; axis-- > 0;) {
            offset += rest % walk.size[axis] * walk.stride[k][axis];
            rest /= walk.size[axis];
          }
          call.in[k] = static_cast<const std::byte*>(in[k].data) + offset * in_size[k];
        }
        call.out = result + row_index * inner * out_size;
        lane(call);
      }
    });
  });
}

void run_broadcast(const Source& source, Tensor& out) {
  std::byte* const result = out.result_raw();
  const std::int64_t total = out.numel();
  if (total == 0) return;
  const std::int64_t size = static_cast<std::int64_t>(size_of(out.dtype()));
  const Walk walk(std::span(&source, 1), out.shape());
  const std::size_t last = static_cast<std::size_t>(std::max(walk.rank - 1, 0));
  const std::int64_t inner = walk.rank == 0 ? 1 : walk.size[last];
  const bool runs = walk.rank > 0 && walk.stride[0][last] != 0;
  const std::int64_t rows = total / inner;
  const std::int64_t rows_per_task = std::max<std::int64_t>(1, kGrain / inner);
  parallel_for((rows + rows_per_task - 1) / rows_per_task, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin * rows_per_task; row < std::min(rows, end * rows_per_task); ++row) {
      std::int64_t offset = 0;
      std::int64_t rest = row;
      for (std::size_t axis = last; axis-- > 0;) {
        offset += rest % walk.size[axis] * walk.stride[0][axis];
        rest /= walk.size[axis];
      }
      const std::byte* from = static_cast<const std::byte*>(source.data) + offset * size;
      std::byte* to = result + row * inner * size;
      if (runs) {
        std::memcpy(to, from, static_cast<std::size_t>(inner * size));
      } else if (size == 1) {
        std::memset(to, static_cast<int>(*from), static_cast<std::size_t>(inner));
      } else {
        with_type(out.dtype(), [&]<class T>(std::type_identity<T>) {
          T value;
          std::memcpy(&value, from, sizeof value);
          std::fill_n(reinterpret_cast<T*>(to), inner, value);
        });
      }
    }
  });
}

}  // namespace ebb
