// A small writer of line plots as SVG: panels side by side over one vertical axis, steps on a logarithmic axis.
#pragma once

#include <string>
#include <vector>

namespace demo {

struct Point {
  double x, y;
};

struct Curve {
  std::string name;
  std::string color;
  std::vector<Point> points;
};

/// A point worth a word.
struct Mark {
  Point at;
  std::string text;
  std::string color;
};

struct Panel {
  std::string title;
  std::vector<Curve> curves;  ///< in every panel the same names and colours
  std::vector<Mark> marks;
  double target;  ///< a dashed line at this height
  std::string target_text;
};

struct Plot {
  std::string title;
  std::string subtitle;
  std::string x_label;
  std::string y_label;
  std::vector<Panel> panels;
};

/// The plot as the text of an SVG file; y runs from 0 to 100.
std::string svg(const Plot& plot);

}  // namespace demo
