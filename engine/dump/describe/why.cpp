// Why each step is as it is, in sentences: shapes, kinds of rows and fan-out say it, so nothing here knows any
// procedure.
//
// The sentences belong to the description, since a reader of the page and one of the worked example are told the same.
// Their pieces are marked, so that each format writes names and formulas in its own way.
#include <ebb/engine/dump/describe/flow.h>
#include <ebb/engine/dump/graph.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>

namespace ebb {
namespace {

using Piece = GraphPiece::Kind;
using lane::Symbol;

const Symbol kOne{Symbol::Op::literal, "1", 1, {}};
constexpr std::size_t kListed = 7;  // so many ways out of a node are named

GraphPiece text(std::string words) { return {Piece::text, std::move(words)}; }
GraphPiece code(std::string words) { return {Piece::code, std::move(words)}; }
GraphPiece formula(std::string words) { return {Piece::formula, std::move(words)}; }
// One that is a literal is called by its value.
GraphPiece cotangent(std::string name) {
  const bool number = name.find_first_not_of("-0123456789.e+") == std::string::npos;
  return number ? formula(std::move(name)) : GraphPiece{Piece::cotangent, std::move(name)};
}

GraphSentence sentence(std::initializer_list<GraphSentence> parts) {
  GraphSentence out;
  for (const GraphSentence& part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

std::string count(std::size_t n) {
  constexpr const char* kWords[] = {"no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"};
  return n < std::size(kWords) ? kWords[n] : fmt::format("{}", n);
}

GraphSentence listed(const GraphSentence& pieces) {
  GraphSentence out;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    if (i > 0) out.push_back(text(i + 1 == pieces.size() ? " and " : ", "));
    out.push_back(pieces[i]);
  }
  return out;
}

std::string along(const std::vector<std::int64_t>& axes) {
  if (axes.size() == 1) return fmt::format("along axis {}", axes[0]);
  return fmt::format("along axes {} and {}", fmt::join(axes.begin(), axes.end() - 1, ", "), axes.back());
}

// Axes along which a tensor of shape `from` is repeated to have shape `to`.
std::vector<std::int64_t> repeated_axes(const Shape& from, const Shape& to) {
  std::vector<std::int64_t> out;
  const int missing = to.rank() - from.rank();
  for (int axis = 0; axis < to.rank(); ++axis) {
    if ((axis < missing ? 1 : from[axis - missing]) != to[axis]) out.push_back(axis);
  }
  return out;
}

bool broadcasts(const GraphNode& node, const GraphNode& input) {
  return node.kind == Kind::elementwise && input.shape.rank() <= node.shape.rank() &&
         input.shape.numel() < node.shape.numel() && input.shape.numel() > 0;
}

// A factor -1 is the sign of what follows.
Symbol negated(Symbol symbol) {
  if (symbol.op == Symbol::Op::negate) return symbol.operands[0];
  if (symbol.op != Symbol::Op::divide && symbol.op != Symbol::Op::multiply) return -symbol;
  symbol.operands[0] = negated(std::move(symbol.operands[0]));
  return symbol;
}

Symbol product(const Symbol& a, const Symbol& b) {
  const auto is_minus = [](const Symbol& s) { return s.op == Symbol::Op::negate && detail::is_unit(s.operands[0]); };
  if (detail::is_unit(a)) return b;
  if (detail::is_unit(b)) return a;
  if (is_minus(a)) return negated(b);
  return is_minus(b) ? negated(a) : a * b;
}

Symbol with_cotangent(Symbol local, const Symbol& cotangent) {
  if (local.op == Symbol::Op::name && local.value == detail::kNoNumber && local.word == detail::kCotangent) {
    return cotangent;
  }
  for (Symbol& operand : local.operands) operand = with_cotangent(std::move(operand), cotangent);
  return local;
}

// The local derivative of one rule after another.
Symbol chained(const Symbol& first, const Symbol& then) {
  if (!detail::mentions_cotangent(then)) return product(first, then);
  const Symbol ct = Symbol::name(detail::kCotangent, detail::kNoNumber);
  return with_cotangent(then, detail::mentions_cotangent(first) ? first : product(ct, first));
}

class Explainer {
 public:
  explicit Explainer(Graph& graph) : graph_(graph) {}

  void run() {
    index();
    for (GraphNode& node : graph_.nodes) {
      for (GraphGradient& gradient : node.gradients) {
        if (gradient.terms.size() > 1) gradient.why = {sum(node, gradient)};
      }
      if (node.folded_into != kNoNode) continue;
      for (const GraphPullback& pullback : node.pullbacks) contribute(node, node, pullback, {&node, kOne, {}});
      std::ranges::stable_sort(node.contributions, {}, &GraphContribution::sweep);
      node.why = forward(node);
    }
    name_derivatives();
  }

 private:
  struct Link {  // a rule on the way, and what it gave to
    const GraphNode* node;
    NodeId target;
  };
  struct Way {  // from a node through rules
    const GraphNode* from;
    Symbol local;  // the product so far
    std::vector<Link> links;
  };

  void index();
  void name_derivatives();
  const GraphNode* node(NodeId id) const {
    const std::size_t i = id == kNoNode ? kNoIndex : graph_.index_of(id);
    return i == kNoIndex ? nullptr : &graph_.nodes[i];
  }
  GraphPiece name(NodeId id) const {
    const GraphNode* of = node(id);
    if (of && of->role == Role::scope) return code(of->name);
    return {of && of->sweep > 0 ? Piece::cotangent : Piece::name, graph_.label_of(id)};
  }
  // What has no name and is spelled out elsewhere is called by its formula.
  GraphPiece spelled(NodeId id) const {
    const GraphNode* of = node(id);
    return of && of->folded_into != kNoNode ? formula(of->formula) : name(id);
  }
  GraphPiece incoming(const GraphNode& from, std::uint32_t sweep) const {
    const auto found = std::ranges::find(from.gradients, sweep, &GraphGradient::sweep);
    return found == from.gradients.end() ? text("the cotangent") : cotangent(found->name);
  }
  const std::vector<NodeId>& readers(NodeId id) const {
    static const std::vector<NodeId> none;
    const auto found = readers_.find(id);
    return found == readers_.end() ? none : found->second;
  }
  GraphSentence ways(NodeId id) const;

  void contribute(GraphNode& home, const GraphNode& at, const GraphPullback& pullback, Way way) const;
  std::vector<GraphSentence> forward(const GraphNode& home) const;
  std::vector<GraphSentence> backward(const GraphContribution& given, const Way& way) const;
  GraphSentence sum(const GraphNode& of, const GraphGradient& gradient) const;

  Graph& graph_;
  std::map<NodeId, std::vector<const GraphNode*>> parts_;  // what a formula spells out, and its node
  std::map<NodeId, std::vector<NodeId>> readers_;          // on the way forward, each once
};

void Explainer::index() {
  for (const GraphNode& node : graph_.nodes) {
    if (node.role != Role::constant) parts_[graph_.spelled_out_by(node.id)].push_back(&node);
  }
  for (const GraphEdge& edge : graph_.edges) {
    const GraphNode* from = node(edge.from);
    if (edge.backward || !from || from->sweep != 0 || from->folded_into != kNoNode) continue;
    std::vector<NodeId>& readers = readers_[edge.from];
    const NodeId to = graph_.spelled_out_by(edge.to);
    if (std::ranges::find(readers, to) == readers.end()) readers.push_back(to);
  }
}

// Where a contribution stands in a line of its own, under the name that it has there.
void Explainer::name_derivatives() {
  const auto called = [&](NodeId id) {
    const std::string text = spelled(id).text;
    return text.find(' ') == std::string::npos ? text : "(" + text + ")";
  };
  const auto add = [](std::string& to, const std::string& text) { to += (to.empty() ? "" : ", ") + text; };
  std::map<std::pair<NodeId, std::string>, GraphAlias*> aliases;
  for (GraphAlias& alias : graph_.aliases) aliases[{alias.node, alias.name}] = &alias;
  for (const GraphNode& node : graph_.nodes) {
    for (const GraphContribution& given : node.contributions) {
      const bool multiplies = !detail::mentions_cotangent(given.local);
      const std::string text = fmt::format("∂{}/∂{}{} = {}", called(given.of), called(given.target),
                                           multiplies ? "" : " ct", given.local.text());
      const std::size_t held = graph_.index_of(given.node);
      if (const auto alias = aliases.find({given.node, given.name}); alias != aliases.end()) {
        add(alias->second->derivative, text);
      } else if (held != kNoIndex && graph_.nodes[held].sweep == given.sweep &&
                 graph_.nodes[held].role == Role::backward) {
        add(graph_.nodes[held].derivative, text);
      }
    }
  }
}

GraphSentence Explainer::ways(NodeId id) const {
  const std::vector<NodeId>& all = readers(id);
  GraphSentence out;
  for (std::size_t i = 0; i < all.size() && (i + 1 < kListed || all.size() == kListed); ++i)
    out.push_back(name(all[i]));
  if (out.size() < all.size()) out.push_back(text(fmt::format("{} more", all.size() - out.size())));
  return listed(out);
}

std::vector<GraphSentence> Explainer::forward(const GraphNode& home) const {
  if (home.role == Role::failed) return {{text("Recording stopped here: "), code(home.message)}};
  if (home.role == Role::seed) {
    if (home.cotangent_of == kNoNode) return {{text("Given: a cotangent, with which the backward pass begins.")}};
    return {
        {text("Given: the cotangent of "), name(home.cotangent_of), text(", with which the backward pass begins.")}};
  }
  if (home.sweep != 0 || home.role == Role::constant || home.role == Role::scope) return {};
  std::vector<GraphSentence> out;
  for (const GraphNode* part : parts_.at(home.id)) {
    const GraphNode* first = part->inputs.empty() ? nullptr : node(part->inputs[0]);
    if (part->kind == Kind::reduction && first && part->shape.numel() > 0) {
      std::vector<std::int64_t> axes;
      for (const Attr& attr : part->attrs) {
        if (const IntList* list = std::get_if<IntList>(&attr.value); list && attr.name == "axes") {
          axes.assign(list->begin(), list->end());
        }
      }
      out.push_back({code(part->op),
                     text(fmt::format(" takes {} numbers{} to one: ", first->shape.numel() / part->shape.numel(),
                                      axes.empty() ? "" : " " + along(axes))),
                     code(to_string(first->shape)), text(" becomes "), code(to_string(part->shape)), text(".")});
    } else if (part->kind == Kind::elementwise) {
      std::vector<NodeId> inputs = part->inputs;
      std::ranges::sort(inputs);
      inputs.erase(std::unique(inputs.begin(), inputs.end()), inputs.end());
      for (const NodeId id : inputs) {
        const GraphNode* input = node(id);
        if (!input || input->role == Role::constant || !broadcasts(*part, *input)) continue;
        out.push_back(
            {spelled(id), text(" has shape "), code(to_string(input->shape)),
             text(fmt::format(": it is repeated {} to meet ", along(repeated_axes(input->shape, part->shape)))),
             code(to_string(part->shape)), text(".")});
      }
    } else if (part->kind == Kind::contraction) {
      out.push_back({text("Each element of "), code(to_string(part->shape)), text(" is a sum of products.")});
    }
  }
  if (out.empty() && home.kind == Kind::elementwise) out.push_back({text("Each element is computed by itself.")});
  if (const std::size_t n = readers(home.id).size(); n > 1) {
    const std::string back = fmt::format(". On the way back {} contributions will meet at it.", count(n));
    out.push_back(sentence({{name(home.id), text(fmt::format(" goes {} ways from here, to ", count(n)))},
                            ways(home.id),
                            {text(home.gradients.empty() ? "." : back)}}));
  }
  return out;
}

// What a rule of `at` gives. If that is to a part, its rules make something of it: told at once where the part's
// cotangent is spelled out or passed on, and step by step where it stands in a line of its own.
void Explainer::contribute(GraphNode& home, const GraphNode& at, const GraphPullback& pullback, Way way) const {
  const NodeId target = at.inputs[pullback.input];
  GraphContribution given;
  given.sweep = pullback.sweep;
  given.of = way.from->id;
  given.target = target;
  given.node = pullback.node;
  given.name = pullback.name;
  given.local = chained(way.local, pullback.local);
  way.links.push_back({&at, target});
  way.local = given.local;
  std::vector<const GraphPullback*> further;
  const GraphNode* next = node(target);
  if (next && next != &home && graph_.spelled_out_by(target) == home.id) {
    for (const GraphPullback& one : next->pullbacks) {
      if (one.sweep == pullback.sweep) further.push_back(&one);
    }
  }
  const GraphNode* held = node(given.node);
  const bool shown = held && held->folded_into == kNoNode && held->role != Role::constant;
  const bool changes = std::ranges::any_of(further, [&](const GraphPullback* one) { return one->node != given.node; });
  if (further.empty() || (shown && changes)) {
    const auto incoming = std::ranges::find(way.from->gradients, given.sweep, &GraphGradient::sweep);
    const bool same = incoming != way.from->gradients.end() && incoming->node == given.node;
    if (further.empty() || !same) {
      given.why = backward(given, way);
      home.contributions.push_back(std::move(given));
    }
    way = {next, kOne, {}};
  }
  for (const GraphPullback* one : further) contribute(home, *next, *one, way);
}

std::vector<GraphSentence> Explainer::backward(const GraphContribution& given, const Way& way) const {
  const GraphPiece of = spelled(given.of);
  const GraphPiece to = spelled(given.target);
  const GraphPiece what = cotangent(given.name);
  const GraphPiece from = incoming(*way.from, given.sweep);
  std::vector<GraphSentence> out;
  if (detail::is_unit(given.local)) {
    const bool repeated = std::ranges::any_of(way.links, [&](const Link& link) {
      const GraphNode* input = node(link.target);
      return input && broadcasts(*link.node, *input);
    });
    out.push_back({text("The derivative of "), of, text(" by "), to, text(" is 1: "), what});
    if (what.text == from.text && !repeated) {
      out.back().push_back(text(" passes as it stands."));
    } else {
      out.back().insert(out.back().end(), {text(" is "), from, text(repeated ? ", added up." : " as it stands.")});
    }
  } else if (detail::mentions_cotangent(given.local)) {
    GraphSentence rules;
    for (const Link& link : way.links) rules.push_back(code(link.node->op));
    out.push_back(sentence(
        {{text("Chain rule: the rule of ")},
         listed(rules),
         {text(" takes the cotangent ct, which is "), from, text(", to "), formula(given.local.text()), text(".")}}));
  } else {
    out.push_back({text("Chain rule: "), what, text(" is "), from, text(" times the derivative of "), of, text(" by "),
                   to, text(", which is "), formula(given.local.text()), text(".")});
  }
  for (const Link& link : way.links) {
    const GraphNode* input = node(link.target);
    if (!input) continue;
    const std::int64_t many = link.node->shape.numel();
    const std::int64_t few = input->shape.numel();
    if (broadcasts(*link.node, *input)) {
      out.push_back({spelled(link.target),
                     text(fmt::format(" was repeated {}: each of its elements had a part in {} elements of ",
                                      along(repeated_axes(input->shape, link.node->shape)), many / few)),
                     of, text(", so their cotangents are added. A sum stands where the broadcast was.")});
    } else if (link.node->kind == Kind::reduction && many > 0 && many < few) {
      out.push_back({code(link.node->op), text(fmt::format(" took {} elements of ", few / many)), spelled(link.target),
                     text(" to one, so each of them gets that one's cotangent. A broadcast stands where the "),
                     code(link.node->op), text(" was.")});
    }
  }
  return out;
}

GraphSentence Explainer::sum(const GraphNode& of, const GraphGradient& gradient) const {
  const std::vector<NodeId>& all = readers(of.id);
  const std::size_t n = gradient.terms.size();
  GraphSentence out{name(of.id)};
  if (all.size() == n) {
    out = sentence({out, {text(fmt::format(" went {} ways on the way forward, to ", count(n)))}, ways(of.id)});
  } else {
    out.push_back(text(fmt::format(" is used {} times", count(n))));
  }
  GraphSentence terms;
  if (n <= kListed) {
    for (const std::string& term : gradient.terms) terms.push_back(cotangent(term));
  } else {
    terms.push_back(text(fmt::format("{} of them", n)));
  }
  return sentence(
      {out,
       {text(". A change of "), name(of.id), text(" moves the result through each of them, so the contributions add: "),
        cotangent(gradient.name), text(" is the sum of ")},
       listed(terms),
       {text(".")}});
}

}  // namespace

void explain(Graph& graph) { Explainer(graph).run(); }

}  // namespace ebb
