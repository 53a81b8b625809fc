// explain: what a program does, as data and as text.
#pragma once

#include <ebb/engine/program/program.h>

#include <string>
#include <vector>

namespace ebb {

struct Explanation {
  struct Value {
    std::string name;  ///< its name in the optimised graph, or `%12`
    TensorType type;
    std::size_t bytes = 0;
  };
  struct Action {
    std::string what;        ///< `loop`, or the row whose kernel is called
    Shape shape;             ///< a loop's
    bool generated = false;  ///< a loop for which there is machine code; others run on the rows' lanes
    std::vector<Value> reads, writes, reductions;
    std::vector<std::string> steps;  ///< formulas, in order
    std::size_t bytes_read = 0, bytes_written = 0;
    double flops = 0;
    std::vector<Location> lines;  ///< the user's, each once
  };
  struct Band {
    std::size_t begin = 0, end = 0;  ///< actions [begin, end) run together, part by part
    Shape shape;                     ///< of its loops, but for those over what they keep
    IntList axes;                    ///< what those reduce; a part is some of what is kept
  };
  Setting setting = Setting::relaxed;
  std::vector<Action> actions;
  std::vector<Band> bands;  ///< in order
  std::size_t arena_bytes = 0, result_bytes = 0, peak_bytes = 0;
  std::string rewrites;  ///< the log of the passes

  std::size_t bytes() const;
  double flops() const;
  /// How many loops run over this many elements at least.
  std::size_t passes(std::int64_t elements) const;
  std::string text() const;
};

/// Bytes are those that each loop or kernel brings in and writes, each tensor once: what a memory without caches would
/// see. Flops count a step as one for each element, whatever it computes.
Explanation explain(const Program& program);

}  // namespace ebb
