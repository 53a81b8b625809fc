// The dump as data, for the page and for programs: everything that the description of a graph holds, under the same
// names. docs/dump.schema.json says what each member means. One node is one line, so that two dumps can be compared.
#include <ebb/engine/dump/graph.h>
#include <ebb/engine/dump/writing/json.h>
#include <ebb/engine/dump/labels.h>

namespace ebb {
namespace {

using detail::Json;

constexpr int kVersion = 1;  // a member that changes its meaning or goes adds one; a new member does not

std::string_view name(Presence presence) {
  constexpr std::string_view kNames[] = {"computed", "pending", "lazy", "unstored", "traced", "released"};
  return kNames[static_cast<std::size_t>(presence)];
}

void text(Json& json, std::string_view key, const std::string& value) {
  if (!value.empty()) json.member(key, std::string_view(value));
}

void id(Json& json, std::string_view key, NodeId value) {
  if (value != kNoNode) json.member(key, value);
}

void list(Json& json, std::string_view key, const auto& values) {
  json.key(key).begin_array();
  for (const auto& value : values) json.value(value);
  json.end_array();
}

// An expression as a tree: a number, the name of an operand, {"node": 7} for the value of a node, or a list of an
// operator or function and what it is applied to.
void tree(Json& json, const lane::Symbol& symbol) {
  using Op = lane::Symbol::Op;
  constexpr std::string_view kSigns[] = {"",  "",   "",  "where", "-",  "+",  "-",  "*",  "/",
                                         "<", "<=", ">", ">=",    "==", "!=", "&&", "||", "!"};
  if (symbol.op == Op::literal) {
    json.value(symbol.value);
  } else if (symbol.op != Op::name) {
    json.begin_array();
    json.value(symbol.op == Op::call ? std::string_view(symbol.word) : kSigns[static_cast<std::size_t>(symbol.op)]);
    for (const lane::Symbol& operand : symbol.operands) tree(json, operand);
    json.end_array();
  } else if (symbol.value == detail::kNoNumber) {
    json.value(std::string_view(symbol.word));
  } else {
    json.begin_object().member("node", static_cast<NodeId>(symbol.value)).end_object();
  }
}

void expression(Json& json, const lane::Symbol& symbol, std::string_view text_key, std::string_view tree_key) {
  json.member(text_key, std::string_view(symbol.text()));
  tree(json.key(tree_key), symbol);
}

// `{"name": "xmu"}` among strings of plain words.
void sentence(Json& json, const GraphSentence& sentence) {
  json.begin_array();
  for (const GraphPiece& piece : sentence) {
    if (piece.kind == GraphPiece::Kind::text) {
      json.value(std::string_view(piece.text));
    } else {
      json.begin_object().member(ebb::name(piece.kind), std::string_view(piece.text)).end_object();
    }
  }
  json.end_array();
}

void reasons(Json& json, const std::vector<GraphSentence>& why) {
  if (why.empty()) return;
  json.key("why").begin_array();
  for (const GraphSentence& one : why) sentence(json, one);
  json.end_array();
}

void value(Json& json, const ValueSummary& value) {
  json.begin_object().member("count", value.count).member("not_finite", value.not_finite);
  json.member("min", value.min).member("max", value.max).member("mean", value.mean);
  json.member("deviation", value.deviation);
  if (!value.elements.empty()) list(json, "elements", value.elements);
  json.end_object();
}

void attribute(Json& json, const Attr& attr) {
  json.key(attr.name);
  if (const IntList* values = std::get_if<IntList>(&attr.value)) {
    json.begin_array();
    for (const std::int64_t element : *values) json.value(element);
    json.end_array();
  } else if (const std::int64_t* integer = std::get_if<std::int64_t>(&attr.value)) {
    json.value(*integer);
  } else if (const double* real = std::get_if<double>(&attr.value)) {
    json.value(*real);
  } else if (const bool* flag = std::get_if<bool>(&attr.value)) {
    json.value(*flag);
  } else if (const std::string_view* word = std::get_if<std::string_view>(&attr.value)) {
    json.value(*word);
  } else {
    json.null();  // a recorded function
  }
}

void derivatives(Json& json, const Graph& graph, const GraphNode& node) {
  if (!node.gradients.empty()) {
    json.key("gradients").begin_array();
    for (const GraphGradient& gradient : node.gradients) {
      json.begin_object().member("sweep", gradient.sweep).member("node", gradient.node);
      json.member("name", std::string_view(gradient.name));
      if (!gradient.terms.empty()) list(json, "terms", gradient.terms);
      if (gradient.value && graph.index_of(gradient.node) == kNoIndex) value(json.key("value"), *gradient.value);
      reasons(json, gradient.why);
      json.end_object();
    }
    json.end_array();
  }
  if (!node.pullbacks.empty()) {
    json.key("pullbacks").begin_array();
    for (const GraphPullback& pullback : node.pullbacks) {
      json.begin_object().member("sweep", pullback.sweep).member("input", pullback.input);
      json.member("node", pullback.node).member("name", std::string_view(pullback.name));
      expression(json, pullback.local, "local", "local_tree");
      json.end_object();
    }
    json.end_array();
  }
  if (!node.contributions.empty()) {
    json.key("contributions").begin_array();
    for (const GraphContribution& given : node.contributions) {
      json.begin_object().member("sweep", given.sweep).member("of", given.of);
      json.member("target", given.target).member("node", given.node);
      json.member("name", std::string_view(given.name));
      expression(json, given.local, "local", "local_tree");
      reasons(json, given.why);
      json.end_object();
    }
    json.end_array();
  }
}

void node(Json& json, const Graph& graph, const GraphNode& node) {
  json.line().begin_object().member("id", node.id).member("role", ebb::name(node.role));
  json.member("op", std::string_view(node.op)).member("kind", ebb::name(node.kind));
  text(json, "name", node.name);
  if (node.names.size() > 1) list(json, "names", node.names);
  text(json, "formula", node.formula);
  if (node.expression) expression(json, *node.expression, "expression", "expression_tree");
  if (node.fold) {
    json.key("fold").begin_object().member("init", node.fold->init);
    expression(json, node.fold->step, "step", "step_tree");
    expression(json, node.fold->finish, "finish", "finish_tree");
    json.end_object();
  }
  if (!node.map.empty()) list(json, "map", node.map);
  text(json, "step", node.step);
  json.member("scope", node.scope).member("sweep", node.sweep);
  id(json, "origin", node.origin);
  id(json, "cotangent_of", node.cotangent_of);
  id(json, "folded_into", node.folded_into);
  list(json, "inputs", node.inputs);
  if (!node.attrs.empty()) {
    json.key("attributes").begin_object();
    for (const Attr& attr : node.attrs) attribute(json, attr);
    json.end_object();
  }
  list(json, "shape", node.shape);
  json.member("dtype", ebb::name(node.dtype)).member("bytes", node.bytes).member("flops", node.flops);
  if (node.seconds) json.member("seconds", *node.seconds);
  json.member("uses", node.uses).member("presence", name(node.presence));
  text(json, "where", node.where);
  if (node.value) value(json.key("value"), *node.value);
  derivatives(json, graph, node);
  reasons(json, node.why);
  text(json, "message", node.message);
  if (node.reads_repeat) json.member("reads_repeat", true);
  if (node.repeats != 1) json.member("repeats", node.repeats);
  if (node.stands_for != 1) json.member("stands_for", node.stands_for);
  if (!node.outputs.empty()) {
    json.key("outputs").begin_array();
    for (const GraphOutput& output : node.outputs) {
      json.begin_object().member("id", output.id).member("label", std::string_view(output.label));
      list(json, "shape", output.shape);
      json.member("dtype", ebb::name(output.dtype)).end_object();
    }
    json.end_array();
  }
  json.end_object();
}

void alias(Json& json, const GraphAlias& alias) {
  json.line().begin_object().member("name", std::string_view(alias.name));
  json.member("same_as", std::string_view(alias.same_as)).member("node", alias.node);
  id(json, "of", alias.of);
  id(json, "origin", alias.origin);
  if (alias.parent != kNoIndex) json.member("parent", alias.parent);
  text(json, "step", alias.step);
  json.member("scope", alias.scope).member("sweep", alias.sweep);
  text(json, "where", alias.where);
  json.end_object();
}

void edge(Json& json, const GraphEdge& edge) {
  json.line().begin_object().member("from", edge.from).member("to", edge.to).member("input", edge.input);
  if (edge.alias != kNoIndex) json.member("alias", edge.alias);
  json.member("backward", edge.backward).member("cotangent", edge.cotangent);
  text(json, "value", edge.value);
  json.end_object();
}

void section(Json& json, const GraphSection& section) {
  json.line().begin_object().member("title", std::string_view(section.title)).member("sweep", section.sweep);
  json.key("steps").begin_array();
  for (const GraphStep& step : section.steps) {
    json.line().begin_object().member("label", std::string_view(step.label)).member("scope", step.scope);
    json.key("items").begin_array();
    for (const GraphItem& item : step.items) {
      json.begin_object().member(item.alias ? "alias" : "node", item.index).end_object();
    }
    json.end_array().end_object();
  }
  json.end_array().end_object();
}

void scope(Json& json, const GraphScope& scope) {
  json.line().begin_object().member("path", std::string_view(scope.path)).member("name", std::string_view(scope.name));
  json.member("parent", scope.parent).member("nodes", scope.nodes);
  text(json, "where", scope.where);
  if (scope.repeats != 1) json.member("repeats", scope.repeats);
  json.end_object();
}

}  // namespace

std::string write_json(const Graph& graph, const DumpOptions&) {
  Json json;
  json.begin_object();
  json.line().member("format", "ebb graph").line().member("version", kVersion);
  json.line().member("title", std::string_view(graph.title));
  json.line().member("mode", graph.mode == Tape::Mode::eager ? "eager" : "trace");
  json.line().member("tape_size", graph.tape_size);
  const auto each = [&](std::string_view key, const auto& values, auto&& write) {
    json.line().key(key).begin_array();
    for (const auto& value : values) write(json, value);
    json.line().end_array();
  };
  each("scopes", graph.scopes, scope);
  each("nodes", graph.nodes, [&](Json& to, const GraphNode& of) { node(to, graph, of); });
  each("aliases", graph.aliases, alias);
  each("edges", graph.edges, edge);
  each("sections", graph.sections, section);
  each("outside", graph.outside, [](Json& to, const std::pair<NodeId, std::string>& of) {
    to.line().begin_object().member("id", of.first).member("label", std::string_view(of.second)).end_object();
  });
  each("repeats", graph.repeats, [](Json& to, const GraphRepeat& of) {
    to.line().begin_object();
    list(to, "shown", of.shown);
    list(to, "last", of.last);
    to.member("times", of.times).end_object();
  });
  json.line().end_object();
  return json.take() + "\n";
}

}  // namespace ebb
