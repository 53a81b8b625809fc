#include <ebb/engine/dump/formats/latex.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <vector>

namespace ebb::detail {
namespace {

constexpr std::array<std::string_view, 24> kGreek{
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu",
    "nu",    "xi",   "pi",    "rho",   "sigma",   "tau",  "phi", "chi",   "psi",  "omega", "Sigma",  "Delta"};

constexpr std::size_t kLongestName = 48;

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// --- the tree of a formula -------------------------------------------------------------------------------------------

struct Term {
  enum class Kind : std::uint8_t { number, name, call, list, infix, prefix, attribute };
  Kind kind = Kind::name;
  std::string text;  // the number, the name, the op, the operator
  std::vector<Term> parts;
};

// Recursive descent. Null where the text is not of the language.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::optional<Term> parse() {
    Term term = any();
    if (failed_ || !rest_.empty()) return {};
    return term;
  }

 private:
  static constexpr int kDeepest = 200;

  void blanks() {
    while (rest_.starts_with(' ')) rest_.remove_prefix(1);
  }
  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    blanks();
    return true;
  }
  void expect(std::string_view token) { failed_ = failed_ || !take(token); }
  static Term infix(std::string op, Term a, Term b) {
    return {Term::Kind::infix, std::move(op), {std::move(a), std::move(b)}};
  }

  Term any() {
    Term left = all();
    while (!failed_ && take("|| ")) left = infix("||", std::move(left), all());
    return left;
  }
  Term all() {
    Term left = compared();
    while (!failed_ && take("&& ")) left = infix("&&", std::move(left), compared());
    return left;
  }
  Term compared() {
    Term left = sum();
    for (const std::string_view op : {"<= ", ">= ", "== ", "!= ", "< ", "> "}) {
      if (take(op)) return infix(std::string(op.substr(0, op.size() - 1)), std::move(left), sum());
    }
    return left;
  }
  Term sum() {
    Term left = product();
    while (!failed_) {
      if (take("+ ")) {
        left = infix("+", std::move(left), product());
      } else if (take("- ")) {
        left = infix("-", std::move(left), product());
      } else {
        break;
      }
    }
    return left;
  }
  Term product() {
    Term left = signed_one();
    while (!failed_) {
      if (take("* ")) {
        left = infix("*", std::move(left), signed_one());
      } else if (take("/ ")) {
        left = infix("/", std::move(left), signed_one());
      } else {
        break;
      }
    }
    return left;
  }
  Term signed_one() {
    const bool minus = rest_.starts_with('-');
    if (!minus && !rest_.starts_with('!')) return primary();
    rest_.remove_prefix(1);
    return {Term::Kind::prefix, minus ? "-" : "\\lnot ", {deeper(&Parser::signed_one)}};
  }
  Term deeper(Term (Parser::*rule)()) {
    if (++depth_ > kDeepest) failed_ = true;
    Term term = failed_ ? Term{} : (this->*rule)();
    --depth_;
    return term;
  }

  std::string word() {
    std::size_t n = 0;
    const auto part_of_name = [](char c) {
      return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '#' || c == '\'' || c == '%' ||
             static_cast<unsigned char>(c) >= 0x80;
    };
    while (n < rest_.size() && part_of_name(rest_[n])) ++n;
    std::string text(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return text;
  }
  // Digits, a point, an exponent with its sign.
  std::string digits() {
    std::size_t n = 0;
    while (n < rest_.size() && (is_digit(rest_[n]) || rest_[n] == '.')) ++n;
    if (n < rest_.size() && rest_[n] == 'e') {
      ++n;
      if (n < rest_.size() && (rest_[n] == '-' || rest_[n] == '+')) ++n;
      while (n < rest_.size() && is_digit(rest_[n])) ++n;
    }
    std::string text(rest_.substr(0, n));
    rest_.remove_prefix(n);
    return text;
  }

  Term primary() {
    if (take("(")) {
      Term inside = deeper(&Parser::any);
      expect(")");
      return inside;
    }
    if (take("[")) {
      Term list{Term::Kind::list, "", {}};
      arguments(list, "]");
      return list;
    }
    if (rest_.starts_with('`')) {
      const std::size_t end = rest_.find('`', 1);
      failed_ = failed_ || end == std::string_view::npos;
      if (failed_) return {};
      Term name{Term::Kind::name, std::string(rest_.substr(1, end - 1)), {}};
      rest_.remove_prefix(end + 1);
      blanks();
      return name;
    }
    if (!rest_.empty() && is_digit(rest_[0])) {
      Term number{Term::Kind::number, digits(), {}};
      blanks();
      return number;
    }
    Term term{Term::Kind::name, word(), {}};
    failed_ = failed_ || term.text.empty();
    if (failed_) return term;
    if (take("(")) {
      term.kind = Term::Kind::call;
      arguments(term, ")");
    } else if (rest_.starts_with('=') && !rest_.starts_with("==")) {
      rest_.remove_prefix(1);
      return {Term::Kind::attribute, term.text, {deeper(&Parser::any)}};
    }
    blanks();
    return term;
  }
  void arguments(Term& of, std::string_view end) {
    if (take(end)) return;
    do {
      of.parts.push_back(deeper(&Parser::any));
    } while (!failed_ && take(","));
    expect(end);
  }

  std::string_view rest_;
  bool failed_ = false;
  int depth_ = 0;
};

// --- setting it ------------------------------------------------------------------------------------------------------

struct Set {
  std::string text;
  int binding = 9;  // as in lanes/symbol.h
};

std::string within(const Set& s, int binding) {
  return s.binding < binding ? fmt::format("\\left({}\\right)", s.text) : s.text;
}

bool same(const Term& a, const Term& b) {
  return a.kind == b.kind && a.text == b.text && a.parts.size() == b.parts.size() &&
         std::ranges::equal(a.parts, b.parts, same);
}

// `1e-05` and `1.5e+20` with a power of ten.
std::string set_number(std::string text) {
  if (text == "inf" || text == "-inf") return text[0] == '-' ? "-\\infty" : "\\infty";
  if (text == "nan" || text == "-nan") return "\\mathrm{NaN}";
  const std::size_t e = text.find('e');
  if (e == std::string::npos) return text;
  const int exponent = std::stoi(text.substr(e + 1));
  const std::string front = text.substr(0, e);
  const std::string power = fmt::format("10^{{{}}}", exponent);
  if (front == "1" || front == "-1") return front == "1" ? power : "-" + power;
  return fmt::format("{} \\cdot {}", front, power);
}

std::string upright(std::string_view word) {
  std::string out;
  for (const char c : word) out += c == '_' ? std::string("\\_") : std::string(1, c);
  return fmt::format("\\mathrm{{{}}}", out);
}

class Setter {
 public:
  explicit Setter(const Notation& notation) : notation_(notation) {}

  Set set(const Term& term) const {
    switch (term.kind) {
      case Term::Kind::number:
        return {set_number(term.text), term.text.find('e') == std::string::npos ? 9 : 4};
      case Term::Kind::name:
        if (term.text == "true" || term.text == "false") return {upright(term.text)};
        if (term.text == "inf" || term.text == "nan") return {set_number(term.text)};
        return {notation_.name(term.text)};
      case Term::Kind::prefix:
        return {term.text + within(set(term.parts[0]), 5), 4};
      case Term::Kind::list:
        return {fmt::format("[{}]", joined(term.parts))};
      case Term::Kind::attribute:
        return {fmt::format("{} = {}", upright(term.text), set(term.parts[0]).text), 1};
      case Term::Kind::infix:
        return infix(term);
      case Term::Kind::call:
        return call(term);
    }
    return {};
  }

 private:
  std::string joined(std::span<const Term> terms) const {
    std::vector<std::string> all;
    for (const Term& term : terms) all.push_back(set(term).text);
    return fmt::format("{}", fmt::join(all, ",\\, "));
  }

  Set infix(const Term& term) const {
    const Term& a = term.parts[0];
    const Term& b = term.parts[1];
    if (term.text == "/") return {fmt::format("\\frac{{{}}}{{{}}}", set(a).text, set(b).text), 8};
    if (term.text == "*" && same(a, b)) return {fmt::format("{}^{{2}}", within(set(a), 9)), 8};
    if (term.text == "*") {
      const bool scaled = a.kind == Term::Kind::number || b.kind == Term::Kind::number;
      return {fmt::format("{} {} {}", within(set(a), 4), scaled ? "\\cdot" : "\\odot", within(set(b), 5)), 4};
    }
    if (term.text == "+" || term.text == "-") {
      return {fmt::format("{} {} {}", within(set(a), 3), term.text, within(set(b), 4)), 3};
    }
    if (term.text == "&&" || term.text == "||") {
      const int binding = term.text == "&&" ? 1 : 0;
      return {fmt::format("{} {} {}", within(set(a), binding), binding == 1 ? "\\land" : "\\lor",
                          within(set(b), binding + 1)),
              binding};
    }
    const std::string_view sign = term.text == "<"    ? "\\lt"
                                  : term.text == ">"  ? "\\gt"
                                  : term.text == "<=" ? "\\le"
                                  : term.text == ">=" ? "\\ge"
                                  : term.text == "!=" ? "\\ne"
                                                      : "=";
    return {fmt::format("{} {} {}", within(set(a), 3), sign, within(set(b), 3)), 2};
  }

  Set call(const Term& term) const {
    std::vector<Term> arguments;
    std::map<std::string, const Term*> attributes;
    for (const Term& part : term.parts) {
      if (part.kind == Term::Kind::attribute) {
        attributes[part.text] = &part.parts[0];
      } else {
        arguments.push_back(part);
      }
    }
    const std::string& op = term.text;
    const bool one = arguments.size() == 1 && attributes.empty();
    if (op == "exp" && one) return {fmt::format("e^{{{}}}", set(arguments[0]).text), 8};
    if (op == "sqrt" && one) return {fmt::format("\\sqrt{{{}}}", set(arguments[0]).text)};
    if (op == "abs" && one) return {fmt::format("\\left|{}\\right|", set(arguments[0]).text)};
    if (op == "where" && arguments.size() == 3) {
      return {fmt::format("\\begin{{cases}} {} & \\text{{if }} {} \\\\ {} & \\text{{otherwise}} \\end{{cases}}",
                          set(arguments[1]).text, set(arguments[0]).text, set(arguments[2]).text)};
    }
    if (op == "matmul" && arguments.size() == 2) {
      const auto factor = [&](std::size_t i, const char* flag) {
        const Set operand = set(arguments[i]);
        return attributes.contains(flag) ? fmt::format("{}^{{\\top}}", within(operand, 9)) : within(operand, 5);
      };
      return {fmt::format("{}\\, {}", factor(0, "transpose_a"), factor(1, "transpose_b")), 4};
    }
    if (arguments.size() == 1 && attributes.size() == 1) {
      const auto& [key, value] = *attributes.begin();
      const std::string below = value->kind == Term::Kind::list ? joined(value->parts) : set(*value).text;
      if (key == "axes" && op == "sum") {
        return {fmt::format("\\sum_{{\\text{{axis }} {}}} {}", below, within(set(arguments[0]), 4)), 4};
      }
      if (key == "axes") {
        return {fmt::format("\\mathop{{{}}}_{{\\text{{axis }} {}}} {}", upright(op), below, parentheses(arguments))};
      }
      if (key == "shape") {
        return {fmt::format("\\mathop{{{}}}_{{[{}]}} {}", upright(op), below, parentheses(arguments))};
      }
    }
    for (const std::string_view known : {"tanh", "sin", "cos", "log", "max", "min"}) {
      if (op == known && attributes.empty()) return {fmt::format("\\{} {}", known, parentheses(arguments))};
    }
    return {upright(op) + parentheses(term.parts)};
  }
  std::string parentheses(std::span<const Term> terms) const { return fmt::format("\\left({}\\right)", joined(terms)); }

  const Notation& notation_;
};

// Letters, digits and what may stand between them, and not too many.
bool settable(std::string_view text) {
  return !text.empty() && text.size() <= kLongestName && is_letter(text[0]) && std::ranges::all_of(text, [](char c) {
    return is_letter(c) || is_digit(c) || c == '_' || c == '.' || c == '#' || c == '\'';
  });
}

// Digits at the end, or after the last underscore, are an index.
std::string set_name(std::string_view text) {
  std::size_t end = text.size();
  while (end > 0 && is_digit(text[end - 1])) --end;
  std::string index(text.substr(end));
  std::string_view base = text.substr(0, end);
  if (!index.empty() && base.size() > 1 && base.ends_with('_')) base.remove_suffix(1);
  if (base.empty() || base.ends_with('#') || base.ends_with('.')) {
    base = text;
    index.clear();
  }
  std::string out;
  if (std::ranges::find(kGreek, base) != kGreek.end()) {
    out = fmt::format("\\{}", base);
  } else {
    for (const char c : base) {
      if (c == '_' || c == '#') out += '\\';
      out += c;
    }
    if (base.size() > 1) out = fmt::format("\\mathit{{{}}}", out);
  }
  return index.empty() ? out : fmt::format("{}_{{{}}}", out, index);
}

}  // namespace

Notation::Notation(const Graph& graph) {
  const auto note = [&](const std::string& name, NodeId id, bool forward) {
    if (name.empty()) return;
    if (forward) names_.insert(name);
    if (settable(name) || !strange_.try_emplace(name, id).second) return;
    numbered_.try_emplace(id, name);
  };
  for (const GraphNode& node : graph.nodes) {
    for (const std::string& name : node.names) note(name, node.id, node.sweep == 0 && node.role != Role::seed);
  }
  for (const GraphAlias& alias : graph.aliases) note(alias.name, alias.node, false);
  for (const auto& [id, label] : graph.outside) {
    if (!label.starts_with('%')) note(label, id, true);
  }
}

std::string Notation::name(std::string_view text) const {
  if (text.starts_with('%')) return fmt::format("v_{{{}}}", text.substr(1));
  if (const auto found = strange_.find(text); found != strange_.end()) return fmt::format("v_{{{}}}", found->second);
  if (!settable(text)) {
    const std::size_t path = text.find_last_of('.');  // qualified: `net.fc1.h`
    if (path != std::string_view::npos) return name(text.substr(path + 1));
    return "\\mathit{?}";
  }
  // dxmu1: a cotangent of xmu.
  if (text.size() > 1 && text[0] == 'd' && !names_.contains(text)) {
    std::size_t end = text.size();
    while (end > 1 && is_digit(text[end - 1])) --end;
    for (const std::size_t size : {text.size(), end, end > 1 && text[end - 1] == '_' ? end - 1 : end}) {
      const std::string_view of = text.substr(1, size - 1);
      if (!names_.contains(of)) continue;
      const std::string_view index = text.substr(end);
      if (size == text.size() || index.empty()) return "d" + set_name(of);
      return fmt::format("d{}_{{{}}}", set_name(of), index);
    }
  }
  return set_name(text);
}

std::string Notation::formula(std::string_view text) const {
  const std::optional<Term> term = Parser(text).parse();
  if (term) return Setter(*this).set(*term).text;
  std::string plain;
  for (const char c : printable(text)) {
    const bool safe =
        is_letter(c) || is_digit(c) || std::string_view(" .,:;=+-*/()[]'").find(c) != std::string_view::npos;
    plain += safe ? std::string(1, c) : std::string("?");
  }
  return fmt::format("\\texttt{{{}}}", plain);
}

std::string Notation::number(double value) { return set_number(fmt::format("{:.6g}", value)); }

std::string Notation::matrix(const ValueSummary& value, const Shape& shape) {
  if (shape.rank() > 2 || value.elements.empty()) return {};
  if (shape.rank() == 0) return number(value.elements[0]);
  const auto columns = static_cast<std::size_t>(shape[shape.rank() - 1]);
  std::string out = "\\begin{bmatrix}";
  for (std::size_t i = 0; i < value.elements.size(); ++i) {
    out += i == 0 ? " " : i % columns == 0 ? " \\\\ " : " & ";
    out += set_number(fmt::format("{:.4g}", value.elements[i]));
  }
  return out + " \\end{bmatrix}";
}

}  // namespace ebb::detail
