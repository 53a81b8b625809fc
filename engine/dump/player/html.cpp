// The dump as a page: the graph as JSON, the places of its boxes, and the player that reads both, all in one file.
//
// Text of the graph reaches the page only as data in JSON, in which no `<` stands as such: so a name can neither end
// the script that holds it nor become markup.
#include <ebb/engine/dump/writing/json.h>
#include <ebb/engine/dump/player/figure.h>
#include <ebb/engine/dump/player/player.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

namespace ebb {
namespace {

using detail::Figure;
using detail::Json;

std::string figure_json(const Graph& graph) {
  const Figure figure = detail::place(graph);
  Json json;
  json.begin_object().member("width", figure.width).member("height", figure.height);
  const auto tenths = [&](std::string_view key, double value) { json.key(key).raw(fmt::format("{:.1f}", value)); };
  json.key("boxes").begin_array();
  for (const Figure::Box& box : figure.boxes) {
    json.line().begin_object().member("node", box.node);
    tenths("x", box.x);
    tenths("y", box.y);
    tenths("width", box.width);
    tenths("height", box.height);
    for (const auto& [key, lines] : {std::pair("formula", &box.formula), std::pair("gradient", &box.gradient)}) {
      json.key(key).begin_array();
      for (const std::string& line : *lines) json.value(std::string_view(line));
      json.end_array();
    }
    json.end_object();
  }
  json.end_array().key("arrows").begin_array();
  for (const Figure::Arrow& arrow : figure.arrows) {
    json.line().begin_object().member("from", arrow.from).member("to", arrow.to).member("gradient", arrow.gradient);
    json.member("far", arrow.far).member("label", std::string_view(arrow.label));
    tenths("label_x", arrow.label_x);
    tenths("label_y", arrow.label_y);
    json.key("points").begin_array();
    for (const double coordinate : arrow.points) json.raw(fmt::format("{:.1f}", coordinate));
    json.end_array().end_object();
  }
  json.end_array().key("homes").begin_array();
  for (const NodeId home : figure.homes) {
    if (home == kNoNode) {
      json.null();
    } else {
      json.value(home);
    }
  }
  json.end_array().end_object();
  return json.take();
}

void columns_json(Json& json, const std::vector<DumpColumn>& columns) {
  json.key("columns").begin_array();
  for (const DumpColumn& column : columns) {
    json.begin_object().member("title", std::string_view(column.title)).key("parts").begin_array();
    for (const DumpPart& part : column.parts) {
      json.line().begin_object().member("title", std::string_view(part.title));
      json.member("detail", std::string_view(part.detail)).key("lines").begin_array();
      for (const std::string& line : part.lines) json.value(std::string_view(line));
      json.end_array().key("nodes").begin_array();
      for (const NodeId node : part.nodes) json.value(node);
      json.end_array().end_object();
    }
    json.end_array().end_object();
  }
  json.end_array();
}

std::string panes_json(const std::vector<DumpPane>& panes) {
  Json json;
  json.begin_array();
  for (const DumpPane& pane : panes) {
    json.line().begin_object().member("title", std::string_view(pane.title));
    json.member("note", std::string_view(pane.note)).member("text", std::string_view(pane.text));
    json.key("table").begin_array();
    for (const auto& row : pane.table) {
      json.begin_array();
      for (const std::string& cell : row) json.value(std::string_view(cell));
      json.end_array();
    }
    json.end_array();
    columns_json(json, pane.columns);
    json.end_object();
  }
  json.end_array();
  return json.take();
}

std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size())) {
    text.replace(at, what.size(), by);
  }
  return text;
}

std::string escaped(std::string_view text) {
  return replaced(replaced(replaced(printable(text), "&", "&amp;"), "<", "&lt;"), ">", "&gt;");
}

}  // namespace

std::string write_html(const Graph& graph, const DumpOptions& options) {
  const std::string data =
      replaced(fmt::format("{{\"graph\": {},\n\"figure\": {},\n\"panes\": {}}}", write_json(graph, options),
                           figure_json(graph), panes_json(options.panes)),
               "<", "\\u003c");
  const std::string title = escaped(graph.title.empty() ? "Graph" : graph.title);
  const std::string script = fmt::format("{}", fmt::join(detail::kPlayerScripts, ""));
  std::string out;
  std::string_view rest = detail::kPlayerPage;
  // Each mark is looked for in the template alone, so that none is found in what replaces another.
  const std::pair<std::string_view, std::string_view> parts[] = {
      {"{{title}}", title}, {"{{style}}", detail::kPlayerStyle}, {"{{data}}", data}, {"{{script}}", script}};
  for (const auto& [mark, text] : parts) {
    const std::size_t at = rest.find(mark);
    out += rest.substr(0, at);
    out += text;
    rest.remove_prefix(at + mark.size());
  }
  return out += rest;
}

}  // namespace ebb
