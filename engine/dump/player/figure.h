// The figure of the page: boxes for what was computed, arrows between them, and where Graphviz places them.
//
// It is the figure in which backpropagation is taught. Forward nodes are boxes; a cotangent has no box of its own but
// runs back along the arrow that it belongs to. So each node of the graph has a home among the boxes, and each
// contribution to a cotangent an arrow.
#pragma once

#include <ebb/engine/dump/graph.h>

#include <string>
#include <vector>

namespace ebb::detail {

/// Lengths are in points, from the upper left corner.
struct Figure {
  struct Box {
    NodeId node = kNoNode;
    std::vector<std::string> formula;   // in lines
    std::vector<std::string> gradient;  // its cotangent, and what that adds up, in lines
    double x = 0, y = 0;                // the centre
    double width = 0, height = 0;
  };
  struct Arrow {
    NodeId from = kNoNode, to = kNoNode;
    bool gradient = false;         // reads a cotangent, as an update of a parameter does
    std::string label{};           // the contributions that run back along it, where others join them at its start
    bool far = false;              // passes over so much that Graphviz did not place it
    std::vector<double> points{};  // of a Bezier curve
    double label_x = 0, label_y = 0;
  };
  double width = 0, height = 0;
  std::vector<Box> boxes;
  std::vector<Arrow> arrows;
  std::vector<NodeId> homes;  // by index into Graph::nodes; kNoNode for a literal
};

/// Throws    IoError if Graphviz is not installed or fails.
Figure place(const Graph& graph);

}  // namespace ebb::detail
