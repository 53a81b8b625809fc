// Names: how the texts of names() come about.
//
// A sweep notes only whose cotangent a node is; the text is made when someone asks. A single contribution to xhat is
// dxhat; of several to xmu the i-th in sweep order is dxmu1, dxmu2, and their sum is dxmu. A text that its scope has
// already seen gets a number: dx#2.
#include <ebb/engine/tape/slots.h>
#include <ebb/engine/tape/tape.h>
#include <fmt/format.h>

#include <unordered_map>

namespace ebb {

std::string_view Tape::keep_text(std::string_view text) {
  if (text.empty()) throw UsageError("name: a name must not be empty.");
  if (text.size() > 1024) throw UsageError("name: a name must not be longer than 1024 characters.");
  const std::span<const char> kept = text_.append(text);
  return {kept.data(), kept.size()};
}

Var Tape::name(const Var& var, std::string_view text, std::string_view step) {
  check_thread();
  const NodeId id = resolve(var);
  NameEntry entry;
  entry.node = id;
  entry.position = static_cast<NodeId>(nodes_.size());
  entry.text = keep_text(text);
  names_.push_back(entry);
  nodes_[id].named = true;
  if (!step.empty()) nodes_[id].step = keep_text(step);
  return var;
}

void Tape::set_step(const Var& var, std::string_view step) {
  check_thread();
  nodes_[resolve(var)].step = keep_text(step);
}

Tape::ScopeGuard Tape::scope(std::string_view scope_name, Location where) {
  check_thread();
  ScopeGuard guard(*this, scope_, outer_);
  const std::string_view kept = keep_text(scope_name);
  scopes_.push_back({kept, scope_, where, nodes_.size(), text_.size()});
  scope_ = static_cast<std::uint32_t>(scopes_.size() - 1);
  if (!outer_) outer_ = where;
  return guard;
}

Tape::ScopeGuard::~ScopeGuard() {
  if (slot_ == 0) return;
  Tape* tape = slots()[slot_].tape.load(std::memory_order_acquire);
  if (!tape || tape->first_generation_ != birth_) return;
  // A scope whose nodes were all rewound while it was open leaves nothing behind, or a loop of such would grow.
  const Scope& closing = tape->scopes_[tape->scope_];
  if (tape->scope_ + 1 == tape->scopes_.size() && closing.parent == before_ && closing.nodes >= tape->nodes_.size()) {
    if (tape->text_.size() == closing.text_end) tape->text_.truncate(closing.text_end - closing.name.size());
    tape->scopes_.truncate(tape->scope_);
  }
  tape->scope_ = before_;
  tape->outer_ = outer_;
}

std::string Tape::scope_path(std::uint32_t scope) const {
  std::string path;
  for (; scope != 0; scope = scopes_[scope].parent) {
    path = path.empty() ? std::string(scopes_[scope].name) : fmt::format("{}.{}", scopes_[scope].name, path);
  }
  return path;
}

std::string Tape::place(std::string_view op, const Location& where, std::uint32_t scope) const {
  std::uint32_t around = scope;
  for (std::uint32_t s = scope; s != 0; s = scopes_[s].parent) {
    if (scopes_[s].name != op) continue;
    around = scopes_[s].parent;
    break;
  }
  std::string text = where ? to_string(where) : "";
  if (around != 0) text += fmt::format("{}in {}", text.empty() ? "" : ", ", scope_path(around));
  return text.empty() ? text : fmt::format(" ({})", text);
}

std::vector<std::string> Tape::name_texts() const {
  // How many contributions each cotangent had, by node and sweep.
  std::unordered_map<std::uint64_t, std::uint32_t> totals;
  const auto key = [](const NameEntry& entry) { return std::uint64_t{entry.of} << 32 | entry.sweep; };
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const NameEntry& entry = names_[i];
    if (entry.kind == NameKind::contribution) {
      std::uint32_t& total = totals[key(entry)];
      total = std::max(total, entry.index);
    }
  }
  std::vector<std::string> texts(names_.size());
  std::unordered_map<NodeId, std::string>
      plain;  // a node's first name without a number, for the names of its cotangents
  std::unordered_map<std::string, int> seen;
  for (std::size_t i = 0; i < names_.size(); ++i) {
    const NameEntry& entry = names_[i];
    std::string text;
    if (entry.kind == NameKind::given) {
      text = entry.text;
    } else {
      const auto base = plain.find(entry.of);
      const std::uint32_t total = totals[key(entry)];
      if (base == plain.end()) continue;
      if (entry.kind == NameKind::contribution) {
        text = fmt::format("d{}", base->second);
        // The first of two contributions to x1 is dx1_1: dx11 is the cotangent of x11.
        const bool digit = text.back() >= '0' && text.back() <= '9';
        if (total > 1) text += fmt::format("{}{}", digit ? "_" : "", entry.index);
      } else if (entry.index == total) {
        text = fmt::format("d{}", base->second);
      } else {
        continue;  // a partial sum
      }
    }
    plain.try_emplace(entry.node, text);
    const std::uint32_t scope = nodes_[entry.kind == NameKind::given ? entry.node : entry.of].scope;
    const std::string path = scope_path(scope);
    texts[i] = text;
    // Someone may have given the name dx#2 already.
    while (int count = seen[fmt::format("{}/{}", path, texts[i])]++) {
      texts[i] = fmt::format("{}#{}", text, count + 1);
    }
  }
  return texts;
}

std::string Tape::name_of(NodeId id) const {
  if (nodes_[id].named) {
    const std::vector<std::string> texts = name_texts();
    for (std::size_t i = 0; i < names_.size(); ++i) {
      if (names_[i].node == id && !texts[i].empty()) return texts[i];
    }
  }
  return fmt::format("%{}", id);
}

Var Tape::find(std::string_view wanted) const {
  const std::vector<std::string> texts = name_texts();
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (texts[i].empty()) continue;
    // A cotangent's name belongs where its node stands, whichever rule made it.
    const NameEntry& entry = names_[i];
    const std::string path = scope_path(nodes_[entry.kind == NameKind::given ? entry.node : entry.of].scope);
    if (texts[i] == wanted || (!path.empty() && fmt::format("{}/{}", path, texts[i]) == wanted)) {
      return var(names_[i].node);
    }
  }
  throw UsageError(fmt::format("find: nothing on this tape is named {}. dump(tape) lists the names.", wanted));
}

}  // namespace ebb
