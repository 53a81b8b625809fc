// The plain description of a graph, which every format of a dump is a writer over.
//
// Strings, numbers and indices only: no writer asks the tape anything, so that each is a loop over lists, and all of
// them tell the same story. Building it takes time linear in the size of the tape.
#pragma once

#include <ebb/engine/dump/dump.h>
#include <ebb/engine/lanes/symbol.h>

#include <cstddef>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ebb {

inline constexpr std::size_t kNoIndex = static_cast<std::size_t>(-1);

enum class Role : std::uint8_t {
  leaf,
  constant,  ///< a literal, printed where it is used
  forward,
  seed,  ///< the cotangent that a sweep starts from
  backward,
  accumulation,  ///< adds up the contributions to one cotangent
  scope,         ///< a scope drawn as one node: its forward part, or what one sweep recorded for it
  failed,        ///< the call at which recording stopped; its id is the next that the tape would give
};
std::string_view name(Role role);

/// What the elements of a tensor are like, and the elements themselves where there are few.
struct ValueSummary {
  std::int64_t count = 0;
  std::int64_t not_finite = 0;
  double min = 0, max = 0, mean = 0, deviation = 0;  // of the finite ones
  std::vector<double> elements;
  std::string text;  // the elements as nested rows; empty where only the summary is shown
};

/// A value that leaves a scope drawn as one node.
struct GraphOutput {
  NodeId id = kNoNode;
  std::string label;
  Shape shape;
  DType dtype = DType::f32;
};

/// A piece of a sentence. Text is plain words of ours; each format has its own way to write the others.
struct GraphPiece {
  enum class Kind : std::uint8_t {
    text,
    name,       ///< of a value
    cotangent,  ///< the name of one
    formula,
    code,  ///< an op, a shape
  };
  Kind kind = Kind::text;
  std::string text;
};
using GraphSentence = std::vector<GraphPiece>;
std::string_view name(GraphPiece::Kind kind);

/// The cotangent of a node, as one sweep found it.
struct GraphGradient {
  std::uint32_t sweep = 0;
  NodeId node = kNoNode;           // that holds it
  std::string name;                // `dx`, or `%12`
  std::vector<std::string> terms;  // what it adds up, where that is more than one: `dx1`, `dx2`
  std::optional<ValueSummary> value;
  std::vector<GraphSentence> why;  // it is a sum
};

/// What the rule of a node gave for one of its inputs: an edge, walked backwards.
struct GraphPullback {
  std::uint32_t sweep = 0;
  std::size_t input = 0;
  NodeId node = kNoNode;  // that holds it
  std::string name;       // `dxmu1`, or `%12`
  lane::Symbol local;     // the derivative by this input, in the words of the rule: `ivar`; with `ct` where it does
                          // more than multiply the cotangent
};

/// What the rules of a node and of the parts that its formula spells out give to something that they read. Parts whose
/// cotangents have no line of their own are passed over: `0.5 / sqrtvar` goes from sqrtvar to var, past `var + eps`.
struct GraphContribution {
  std::uint32_t sweep = 0;
  NodeId of = kNoNode;      // whose derivative it is: the node, or one of its parts
  NodeId target = kNoNode;  // by which
  NodeId node = kNoNode;    // that holds it
  std::string name;         // `dvar`, or `%12`
  lane::Symbol local;       // the product of the derivatives on the way, as in GraphPullback
  std::vector<GraphSentence> why;
};

/// A reduction in expressions of the accumulator `acc`, an element `a` and the count `n` of them.
struct GraphFold {
  double init = 0;
  lane::Symbol step, finish;
};

struct GraphNode {
  NodeId id = kNoNode;
  std::string op;
  Kind kind = Kind::opaque;
  std::string name;                        // its first name in full; empty if it bears none
  std::vector<std::string> names;          // all of them
  std::string formula;                     // what it is computed by: `x - mu`; empty for a leaf
  lane::Symbol spelled;                    // the same as a tree; the number of a name is its node, below 0 for none
  std::optional<lane::Symbol> expression;  // elementwise: what the row computes from its inputs a, b, c: `a - b`
  std::optional<GraphFold> fold;           // reduction: its steps
  std::vector<std::int64_t> map;  // movement of few elements: where each comes from, counted through all inputs
  std::string step;               // "2", "5a"; "0" for what a sweep does at the leaves; empty outside of steps
  std::size_t scope = 0;          // index into Graph::scopes
  Role role = Role::forward;
  std::uint32_t sweep = 0;        // the sweep that recorded it, from 1; 0 outside
  NodeId origin = kNoNode;        // the node whose derivative it is
  NodeId cotangent_of = kNoNode;  // the node whose cotangent, or a contribution to it, this is
  NodeId folded_into = kNoNode;   // the node whose formula spells this one out
  std::vector<NodeId> inputs;
  std::vector<Attr> attrs;
  Shape shape;
  DType dtype = DType::f32;
  std::size_t bytes = 0;
  double flops = 0;
  std::optional<double> seconds;  // that it takes by itself, if asked for
  std::size_t uses = 0;           // by how many inputs, on the whole tape
  Presence presence = Presence::computed;
  std::string where;  // `train.cpp:41`
  std::optional<ValueSummary> value;
  std::vector<GraphGradient> gradients;          // by sweep
  std::vector<GraphPullback> pullbacks;          // by sweep, as the sweep recorded them
  std::vector<GraphContribution> contributions;  // by sweep; none of a part, whose own are those of what spells it out
  std::vector<GraphSentence> why;                // it has this shape, and several ways to go
  std::string derivative;                        // that made it, of a contribution: `∂xhat/∂xmu = ivar`
  std::string message;                           // of the error, if it failed
  bool reads_repeat = false;                     // an input is shown in the place of another: its numbers are not those
  std::size_t repeats = 1;                       // how many equal ones in a row it is shown for
  std::size_t stands_for = 1;                    // how many nodes; of a scope drawn as one, those inside
  std::vector<GraphOutput> outputs;              // of a scope drawn as one node, whose id is that of its last node
};

/// A further name of a node: `dgammax = dout`.
struct GraphAlias {
  std::string name;
  std::string same_as;
  NodeId node = kNoNode;
  NodeId of = kNoNode;            // the node whose cotangent it names, if any
  NodeId origin = kNoNode;        // the node whose rule passed the cotangent on, if any
  std::size_t parent = kNoIndex;  // the alias that same_as is, if it is one
  std::string step;
  std::size_t scope = 0;
  std::uint32_t sweep = 0;
  std::string where;
  std::string derivative;  // `∂out/∂gammax = 1`
};

struct GraphEdge {
  NodeId from = kNoNode;
  NodeId to = kNoNode;
  std::size_t input = 0;         // which input of `to`
  std::size_t alias = kNoIndex;  // the alias under which `to` knows `from`
  bool backward = false;         // `to` was recorded by a sweep
  bool cotangent = false;        // carries a cotangent; otherwise a sweep reads a forward value
  std::string value;             // the label of what it carries, where that is inside a scope drawn as one node
};

/// A node, or an alias between nodes: one line of a dump.
struct GraphItem {
  bool alias = false;
  std::size_t index = 0;  // into Graph::nodes or Graph::aliases
};

/// Consecutive items of one step: 5a and 5b are one.
struct GraphStep {
  std::string label;
  std::size_t scope = 0;
  std::vector<GraphItem> items;
};

/// A stretch of the tape: forward, or one sweep.
struct GraphSection {
  std::string title;
  std::uint32_t sweep = 0;
  std::vector<GraphStep> steps;
};

struct GraphScope {
  std::string path;
  std::string name;
  std::size_t parent = 0;
  std::size_t nodes = 0;  // how many nodes of this description are in it, not counting scopes inside
  std::string where;
  std::size_t repeats = 1;  // how many equal ones in a row it is shown for
};

/// Scopes, and nodes between them, that come several times in a row and are shown once.
struct GraphRepeat {
  std::vector<std::string> shown;  // the first ones: `net.fc2`, `net.bn2`
  std::vector<std::string> last;   // and those they end with: `net.fc9`, `net.bn9`
  std::size_t times = 0;
};

struct Graph {
  std::string title;
  Location asked;  // the line that asked for a dump, for errors
  Tape::Mode mode = Tape::Mode::eager;
  std::size_t tape_size = 0;                            // nodes on the whole tape
  std::vector<GraphNode> nodes;                         // by id
  std::vector<GraphAlias> aliases;                      // in the order they were given
  std::vector<GraphEdge> edges;                         // into the nodes above; from may be outside
  std::vector<GraphSection> sections;                   // in reading order; literals are in none
  std::vector<GraphScope> scopes;                       // [0] is the tape itself
  std::vector<std::pair<NodeId, std::string>> outside;  // nodes that are used but not shown
  std::vector<GraphRepeat> repeats;

  /// The index of a node, or kNoIndex if it is not shown.
  std::size_t index_of(NodeId id) const;
  /// What a reader calls a node: its name, or `%12`.
  std::string label_of(NodeId id) const;
  /// The node whose formula spells a node out, through any number of formulas; itself if there is none.
  NodeId spelled_out_by(NodeId id) const;
};

/// `f64[4, 3]`; empty for a scope with several outputs, and for a call that failed.
std::string type_of(const GraphNode& node);
/// `net.fc2, net.bn2 x 8, up to net.fc9, net.bn9`.
std::string to_string(const GraphRepeat& repeat);
/// ` x 12` where equal ones in a row are shown once; empty otherwise.
std::string times(std::size_t repeats);

/// Makes a graph smaller: repeated scopes shown once, scopes drawn as one node, the neighbourhood of one node.
Graph condense(Graph graph, const DumpOptions& options);

/// Adds the reasons: why a sum stands where a broadcast was, why contributions add.
void explain(Graph& graph);

/// Describes the part of `tape` that the options ask for.
Graph describe(const Tape& tape, const DumpOptions& options = {});

/// What the value of a node is like, with its elements if there are at most `full`; nothing if it has no value. A
/// broadcast that nobody has needed in full is not computed for it.
std::optional<ValueSummary> summarise(const Tape& tape, NodeId id, std::int64_t full);

/// The seconds that a node takes when it is called by itself: the median of several runs. Nothing of a node without a
/// value, or without an input that is a tensor.
std::optional<double> time_of(const Tape& tape, NodeId id);
/// `850 ns`, `1.2 ms`.
std::string duration(double seconds);
/// `48 B, 6 flops`, and the time if it was asked for.
std::string cost_of(const GraphNode& node);

/// The elements, as rows; of a large tensor `100 values: min 1, mean 1.02, max 3, deviation 0.2, 1 not finite`.
std::string to_string(const ValueSummary& value);
/// The same in fewer columns.
std::string brief(const ValueSummary& value);

/// What stands above a dump in text: the title, how many nodes, what is shown once of several.
std::string heading(const Graph& graph);

std::string write_text(const Graph& graph, const DumpOptions& options);
std::string write_tree(const Graph& graph, const DumpOptions& options);
std::string write_dot(const Graph& graph, const DumpOptions& options);
std::string write_mermaid(const Graph& graph, const DumpOptions& options);
std::string write_markdown(const Graph& graph, const DumpOptions& options);
std::string write_json(const Graph& graph, const DumpOptions& options);
std::string write_html(const Graph& graph, const DumpOptions& options);

/// The text with what a table or a label cannot hold made visible: newlines and other control characters, marks that
/// turn the order of letters around, and bytes that are not UTF-8, as `\n`, `\x07`, `\u202e`.
std::string printable(std::string_view text);

/// Made printable, and cut off after so many columns.
std::string shortened(std::string_view text, std::size_t longest);

/// The length of the UTF-8 sequence at the start of a text that is not empty, or 0 if it is none.
std::size_t utf8_sequence(std::string_view text);

/// The number of the code point that such a sequence is.
std::uint32_t code_point(std::string_view sequence);

/// How many columns a terminal needs for UTF-8 text: two for a wide letter, none for an accent that joins the one
/// before.
std::size_t columns(std::string_view text);

}  // namespace ebb
