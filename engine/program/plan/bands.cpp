#include <ebb/engine/program/plan/bands.h>

#include <ebb/engine/loop/plan.h>

#include <algorithm>
#include <optional>

namespace ebb {
namespace {

// Grows a band from one of its reducing loops.
class Grower {
 public:
  Grower(const Schedule& schedule, std::size_t seed)
      : schedule_(schedule),
        shape_(schedule.actions[seed].shape),
        axes_(*schedule.actions[seed].axes),
        plan_(shape_, axes_),
        cut_(plan_, shape_.numel()),
        begin_(seed) {}

  std::optional<Band> grow() {
    // Another thread's part must need nothing of this one's: no chunks, whose accumulators are merged.
    if (cut_.chunks > 1 || cut_.tasks < 2) return std::nullopt;
    std::size_t end = begin_, whole = 0, last_whole = begin_;
    for (; end < schedule_.actions.size() && joins(schedule_.actions[end], end); ++end) {
      if (!(schedule_.actions[end].shape == shape_)) continue;
      ++whole;
      last_whole = end;
    }
    if (whole < 2) return std::nullopt;
    return Band{begin_, last_whole + 1, shape_, axes_};
  }

 private:
  bool joins(const Action& action, std::size_t a) const {
    if (action.kind != Action::Kind::loop) return false;
    const bool whole = action.shape == shape_;
    if (whole ? action.axes && !(*action.axes == axes_) : action.axes || action.shape.numel() != cut_.cells)
      return false;
    return std::ranges::all_of(action.sources, [&](const View& view) {
      const std::size_t home = schedule_.home[view.root];
      const bool inside = home >= begin_ && home < a;
      return whole ? fits_whole(view.shape, inside) : fits_kept(view.shape, inside);
    });
  }

  // What comes from inside of the band is read where it was written: whole, or one element for all that is reduced.
  bool fits_whole(const Shape& operand, bool inside) const {
    if (operand == shape_) return true;
    Strides strides{};
    if (operand.numel() != 1 && !plan_.strides_of(operand, strides)) return false;
    if (!inside) return true;
    for (std::size_t axis = 0; axis < plan_.rank(); ++axis) {
      if ((strides[axis] == 0) != plan_.is_reduced(axis)) return false;
    }
    return true;
  }
  bool fits_kept(const Shape& operand, bool inside) const {
    return operand.numel() == cut_.cells || (!inside && operand.numel() == 1);
  }

  const Schedule& schedule_;
  const Shape& shape_;
  const IntList axes_;
  const Plan plan_;
  const Cut cut_;
  const std::size_t begin_;
};

}  // namespace

std::vector<Band> find_bands(const Schedule& schedule) {
  std::vector<Band> bands;
  for (std::size_t a = 0; a < schedule.actions.size(); ++a) {
    const Action& action = schedule.actions[a];
    if (action.kind != Action::Kind::loop || !action.axes || action.shape.numel() == 0) continue;
    if (std::optional<Band> band = Grower(schedule, a).grow()) {
      a = band->end - 1;
      bands.push_back(*band);
    }
  }
  return bands;
}

}  // namespace ebb
