#include <ebb/engine/program/plan/bands.h>

#include <ebb/engine/loop/plan.h>
#include <ebb/engine/program/plan/order.h>

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

  /// Another thread's part must need nothing of this one's: no chunks, whose accumulators are merged.
  bool is_apart() const { return cut_.chunks == 1 && cut_.tasks > 1; }

  std::optional<Band> grow() {
    if (!is_apart()) return std::nullopt;
    std::size_t whole = 0, last_whole = begin_;
    for (std::size_t a = begin_; a < stop(); ++a) {
      if (!(schedule_.actions[a].shape == shape_)) continue;
      ++whole;
      last_whole = a;
    }
    if (whole < 2) return std::nullopt;
    return Band{begin_, last_whole + 1, shape_, axes_};
  }

  /// The first action that is none of the band's.
  std::size_t stop() const {
    std::size_t end = begin_;
    while (end < schedule_.actions.size() && joins(schedule_.actions[end], end)) ++end;
    return end;
  }

  /// A later loop over what the band has in memory, which might as well come next.
  std::optional<std::size_t> next() const {
    const std::size_t end = stop();
    for (std::size_t a = end + 1; a < schedule_.actions.size(); ++a) {
      const Action& action = schedule_.actions[a];
      if (!(action.shape == shape_) || !joins(action, end)) continue;
      const auto home = [&](const View& view) { return schedule_.home[view.root]; };
      const auto ready = [&](const View& view) { return home(view) < end || home(view) == schedule_.actions.size(); };
      const auto inside = [&](const View& view) {
        return view.shape == shape_ && home(view) >= begin_ && home(view) < end;
      };
      if (std::ranges::all_of(action.sources, ready) && std::ranges::any_of(action.sources, inside)) return a;
    }
    return std::nullopt;
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
  const Shape shape_;
  const IntList axes_;
  const Plan plan_;
  const Cut cut_;
  const std::size_t begin_;
};

bool reduces(const Action& action) {
  return action.kind == Action::Kind::loop && action.axes && action.shape.numel() > 0;
}

}  // namespace

void draw_together(Schedule& schedule) {
  for (std::size_t a = 0; a < schedule.actions.size(); ++a) {
    if (!reduces(schedule.actions[a])) continue;
    const Grower grower(schedule, a);
    while (grower.is_apart()) {
      const std::optional<std::size_t> next = grower.next();
      if (!next) break;
      move_action(schedule, *next, grower.stop());
    }
  }
}

std::vector<Band> find_bands(const Schedule& schedule) {
  std::vector<Band> bands;
  for (std::size_t a = 0; a < schedule.actions.size(); ++a) {
    if (!reduces(schedule.actions[a])) continue;
    if (std::optional<Band> band = Grower(schedule, a).grow()) {
      a = band->end - 1;
      bands.push_back(*band);
    }
  }
  return bands;
}

}  // namespace ebb
