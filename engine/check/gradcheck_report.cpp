// What gradcheck says.
#include <ebb/engine/check/gradcheck.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace ebb {

std::string_view name(GradcheckVerdict verdict) {
  constexpr std::string_view kNames[] = {"right", "wrong", "vacuous", "unresolved"};
  return kNames[static_cast<int>(verdict)];
}

bool GradcheckReport::passed() const {
  return std::ranges::all_of(entries, [](const GradcheckEntry& e) { return e.verdict == GradcheckVerdict::right; });
}

std::string GradcheckReport::text() const {
  const auto bad = std::ranges::count_if(entries, [](const auto& e) { return e.verdict != GradcheckVerdict::right; });
  std::string text = bad == 0 ? fmt::format("gradcheck: passed, {} checks", entries.size())
                              : fmt::format("gradcheck: failed, {} of {} checks", bad, entries.size());
  for (const GradcheckEntry& entry : entries) text += "\n  " + entry.text;
  return text;
}

std::string describe(const GradcheckEntry& e) {
  std::string text = fmt::format("order {}, {}: {}", e.order, e.name, name(e.verdict));
  switch (e.verdict) {
    case GradcheckVerdict::right:
      return text + fmt::format("; slope {:.6g}, off by {:.1e}, known to {:.1e} at step {:.1e}", e.numeric,
                                std::fabs(e.analytic - e.numeric), e.uncertainty, e.step);
    case GradcheckVerdict::wrong:
      return text + fmt::format(
                        " at element {}: analytic {:.9g}, numeric {:.9g}, ratio {:.6g} (along a random "
                        "direction {:.9g} and {:.9g}, known to {:.1e} at step {:.1e})",
                        e.element, e.element_analytic, e.element_numeric, e.element_analytic / e.element_numeric,
                        e.analytic, e.numeric, e.uncertainty, e.step);
    case GradcheckVerdict::vacuous:
      if (e.terms == 0)
        return text + "; f does not change with it. Leave it out, or name it in GradcheckOptions::constant.";
      return text + fmt::format(
                        "; the slope {:.2e} is what is left of terms of {:.2e}: a wrong rule would pass. Check the "
                        "outputs themselves, or their sum with random weights, and with more than two values per "
                        "normalised group; if the slope must vanish, name the input in "
                        "GradcheckOptions::constant.",
                        e.numeric, e.terms);
    case GradcheckVerdict::unresolved:
      break;
  }
  return text + fmt::format(
                    "; analytic {:.6g}, and no step gives a slope to compare with: at best {:.6g}, known to "
                    "{:.1e}. Choose inputs away from kinks, and finite.",
                    e.analytic, e.numeric, e.uncertainty);
}

}  // namespace ebb
