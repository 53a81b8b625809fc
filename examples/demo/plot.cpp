#include "demo/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace demo {
namespace {

constexpr double kWidth = 330, kHeight = 300;  // of a panel
constexpr double kGap = 34, kLeft = 78, kRight = 30, kTop = 128, kBottom = 64;
constexpr const char* kInk = "#333333";
constexpr const char* kFaint = "#e4e4e4";

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    c == '&' ? out += "&amp;" : c == '<' ? out += "&lt;" : out += c;
  }
  return out;
}

class Drawing {
 public:
  explicit Drawing(const Plot& plot) : plot_(plot) {
    for (const Panel& panel : plot.panels) {
      for (const Curve& curve : panel.curves) {
        for (const Point& p : curve.points) last_ = std::max(last_, p.x);
      }
    }
  }

  std::string draw() {
    const double n = static_cast<double>(plot_.panels.size());
    const double width = kLeft + n * kWidth + (n - 1) * kGap + kRight;
    out_ = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
        "height=\"{1:.0f}\" "
        "font-family=\"Helvetica, Arial, sans-serif\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        width, kTop + kHeight + kBottom);
    text(kLeft, 36, plot_.title, 21, kInk, "start", "bold");
    text(kLeft, 60, plot_.subtitle, 14, "#666666");
    double x = kLeft;
    for (const Curve& curve : plot_.panels.front().curves) {  // the legend
      line(x, 84, x + 28, 84, curve.color, 3);
      text(x + 36, 89, curve.name, 14, kInk);
      x += 60 + 8.0 * static_cast<double>(curve.name.size());
    }
    for (std::size_t i = 0; i < plot_.panels.size(); ++i) {
      panel(plot_.panels[i], kLeft + static_cast<double>(i) * (kWidth + kGap), i == 0);
    }
    text((kLeft + width - kRight) / 2, kTop + kHeight + 50, plot_.x_label, 14, kInk, "middle");
    const double middle = kTop + kHeight / 2;
    out_ += fmt::format("<g transform=\"rotate(-90 24 {:.1f})\">\n", middle);
    text(24, middle, plot_.y_label, 14, kInk, "middle");
    return out_ + "</g>\n</svg>\n";
  }

 private:
  double at_x(double x) const { return std::log(std::max(x, 1.0)) / std::log(last_) * kWidth; }
  static double at_y(double y) { return kTop + kHeight * (1 - y / 100); }

  void line(double x1, double y1, double x2, double y2, const std::string& color, double width = 1,
            const std::string& dash = "") {
    out_ += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" stroke-width=\"{}\"{}/>\n", x1, y1,
        x2, y2, color, width, dash.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dash));
  }
  void text(double x, double y, const std::string& words, int size, const std::string& color,
            const char* anchor = "start", const char* weight = "normal") {
    out_ += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" fill=\"{}\" text-anchor=\"{}\" "
        "font-weight=\"{}\">{}</text>\n",
        x, y, size, color, anchor, weight, escaped(words));
  }

  void panel(const Panel& panel, double left, bool first) {
    text(left + kWidth / 2, kTop - 12, panel.title, 15, kInk, "middle", "bold");
    for (int y = 0; y <= 100; y += 20) {
      line(left, at_y(y), left + kWidth, at_y(y), kFaint);
      if (first) text(left - 8, at_y(y) + 5, std::to_string(y), 13, kInk, "end");
    }
    for (double x = 1; x <= last_; x *= 10) {
      line(left + at_x(x), kTop, left + at_x(x), kTop + kHeight, kFaint);
      text(left + at_x(x), kTop + kHeight + 20, fmt::format("{:.0f}", x), 13, kInk, "middle");
    }
    line(left, at_y(panel.target), left + kWidth, at_y(panel.target), "#999999", 1, "5 4");
    text(left + 6, at_y(panel.target) - 6, panel.target_text, 12, "#777777");
    for (const Curve& curve : panel.curves) {
      out_ +=
          fmt::format("<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2.2\" stroke-linejoin=\"round\" points=\"",
                      curve.color);
      for (const Point& p : curve.points) out_ += fmt::format("{:.1f},{:.1f} ", left + at_x(p.x), at_y(p.y));
      out_ += "\"/>\n";
    }
    for (const Mark& mark : panel.marks) {
      const double x = left + at_x(mark.at.x);
      out_ += fmt::format(
          "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"4.5\" fill=\"white\" stroke=\"{}\" stroke-width=\"2\"/>\n", x,
          at_y(mark.at.y), mark.color);
      // Below and well to the left of the point, where neither its own steep curve nor the other one is.
      text(x - 30, at_y(mark.at.y) + 32, mark.text, 13, mark.color, "end");
    }
    line(left, kTop, left, kTop + kHeight, kInk);
    line(left, kTop + kHeight, left + kWidth, kTop + kHeight, kInk);
  }

  const Plot& plot_;
  double last_ = 10;
  std::string out_;
};

}  // namespace

std::string svg(const Plot& plot) { return Drawing(plot).draw(); }

}  // namespace demo
