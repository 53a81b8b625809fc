#include <ebb/engine/check/audit.h>

#include <ebb/engine/check/tolerance.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace ebb {
namespace {

// f64 rounds too, and an element that is the worst of a million may sit right at its bound.
constexpr double kSlack = 0.01;

Tensor magnitudes(Tensor x) {
  for (double& v : x.mutable_data<double>()) v = std::fabs(v);
  return x;
}

class Audit {
 public:
  Audit(const Tape& tape, const AuditOptions& options) : tape_(tape), options_(options) {}

  AuditReport run() {
    if (tape_.mode() == Tape::Mode::trace) {
      throw UsageError("audit: a trace has no values to compare. Run the same function on an eager tape.");
    }
    prepare();
    AuditReport report;
    for (NodeId id = 0; id < tape_.size(); ++id) {
      const Node& node = tape_.node(id);
      if (node.row->kind == Kind::source) {
        shadows_[id] = source(id);
      } else {
        report.entries.push_back(look_at(id));
      }
      if (uses_[id] == 0) shadows_[id].drop_buffer();
      for (std::size_t i = 0; i < node.inputs; ++i) {
        const NodeId in = tape_.input(node, i);
        if (--uses_[in] == 0) shadows_[in].drop_buffer();
      }
    }
    return report;
  }

 private:
  // How often each node is read, and its first name; in one walk each, since looking names up one by one is not linear.
  void prepare() {
    uses_.resize(tape_.size());
    shadows_.resize(tape_.size());
    names_.resize(tape_.size());
    for (NodeId id = 0; id < tape_.size(); ++id) {
      const Node& node = tape_.node(id);
      if (node.presence == Presence::released) {
        throw UsageError(
            fmt::format("audit: the value of {} %{} was released by a sweep with keep = false, which is what tape.step "
                        "asks for. Audit before the sweep, or ask for it with {{.keep = true}}. ({})",
                        node.row->name, id, to_string(node.where)));
      }
      for (std::size_t i = 0; i < node.inputs; ++i) ++uses_[tape_.input(node, i)];
    }
    const std::vector<std::string> texts = tape_.name_texts();
    for (std::size_t i = 0; i < texts.size(); ++i) {
      std::string& name = names_[tape_.names()[i].node];
      if (name.empty()) name = texts[i];
    }
  }

  Tensor source(NodeId id) const {
    const Node& node = tape_.node(id);
    if (!is_floating(node.value.dtype())) return tape_.value(id);
    // In f64 a literal is what the program says, not what f32 made of it.
    if (node.row == &kConstant) return Tensor::full({}, Attrs(node.attrs).real("value"), DType::f64);
    return tape_.value(id).to(DType::f64);
  }

  // The node's row in f64. Throws what the row throws.
  Tensor compute(NodeId id, const std::vector<Tensor>& inputs) {
    const Node& node = tape_.node(id);
    // A dtype that an op is told is the one that the shadow replaces.
    const std::vector<Attr> attrs = with_floating(node.attrs, DType::f64);
    const Tape::Mark mark = scratch_.mark();
    std::vector<Operand> operands;
    operands.reserve(inputs.size());
    for (const Tensor& input : inputs) operands.emplace_back(scratch_.leaf(input), Location{});
    Tensor value;
    try {
      value = scratch_.record(*node.row, operands, attrs).value();
    } catch (...) {
      scratch_.rewind(mark);
      throw;
    }
    scratch_.rewind(mark);
    return value;
  }

  AuditEntry look_at(NodeId id) {
    const Node& node = tape_.node(id);
    const Tensor recorded = tape_.value(id);
    AuditEntry entry;
    entry.node = id;
    entry.name = names_[id].empty() ? fmt::format("%{}", id) : names_[id];
    entry.op = node.row->name;
    entry.where = node.where;
    std::vector<Tensor> from_shadows, from_recorded;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      const NodeId in = tape_.input(node, i);
      from_shadows.push_back(shadows_[in]);
      const Tensor& value = tape_.value(in);
      from_recorded.push_back(is_floating(value.dtype()) ? value.to(DType::f64) : value);
    }
    try {
      const Tensor shadow = compute(id, from_shadows);
      if (!is_floating(recorded.dtype())) {
        entry.flips = flips(recorded, shadow);
        shadows_[id] = recorded;
        return entry;
      }
      shadows_[id] = shadow.to(DType::f64);
      accumulated(entry, recorded.to(DType::f64));
      if (recorded.dtype() == DType::f32) local(entry, recorded.to(DType::f64), from_recorded);
    } catch (const Error& error) {
      shadows_[id] = is_floating(recorded.dtype()) ? recorded.to(DType::f64) : recorded;
      entry.verdict = AuditVerdict::skipped;
      entry.note = error.what();
      return entry;
    }
    if (entry.local > entry.bound * (1 + kSlack)) {
      entry.verdict = AuditVerdict::imprecise;
    } else if (entry.accumulated > options_.threshold) {
      entry.verdict = AuditVerdict::accumulated;
    }
    return entry;
  }

  static std::int64_t flips(const Tensor& recorded, const Tensor& shadow) {
    std::int64_t count = 0;
    for (std::int64_t i = 0; i < recorded.numel(); ++i) count += recorded.at(i) != shadow.at(i);
    return count;
  }

  void accumulated(AuditEntry& entry, const Tensor& recorded) const {
    const auto got = recorded.data<double>();
    const auto want = shadows_[entry.node].data<double>();
    const double unit = ulp_of(DType::f32, largest(shadows_[entry.node]));
    double worst = -1;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double error = distance(got[i], want[i]);
      if (error <= worst) continue;
      worst = error;
      entry.element = static_cast<std::int64_t>(i);
      entry.recorded = got[i];
      entry.shadow = want[i];
    }
    entry.accumulated = std::max(worst, 0.0) / unit;
  }

  // The node's own error, element by element. What it is relative to depends on the kind: the result; the result of the
  // same op on magnitudes, where terms are added; the largest element, where nothing is known of the inside.
  void local(AuditEntry& entry, const Tensor& recorded, const std::vector<Tensor>& inputs) {
    const Node& node = tape_.node(entry.node);
    const Tensor exact = compute(entry.node, inputs).to(DType::f64);
    const auto got = recorded.data<double>();
    const auto want = exact.data<double>();
    entry.bound = std::max(node.row->ulp, 0.5);  // f64 inputs of f32 outputs are rounded at least
    Tensor scale = exact;
    const Kind kind = node.row->kind;
    if (kind == Kind::reduction || kind == Kind::contraction || kind == Kind::scan) {
      std::vector<Tensor> sizes;
      double elements = 1;
      for (const Tensor& input : inputs) {
        elements *= static_cast<double>(input.numel());
        sizes.push_back(input.dtype() == DType::f64 ? magnitudes(input) : input);
      }
      scale = compute(entry.node, sizes).to(DType::f64);
      // [M, K] and [K, N] to [M, N]: K products are added up.
      if (kind == Kind::contraction && recorded.numel() > 0) {
        entry.bound = std::max({entry.bound, 4.0, std::sqrt(elements / static_cast<double>(recorded.numel()))});
      }
    }
    const auto sizes = scale.data<double>();
    const double most = kind == Kind::opaque ? largest(exact) : 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const double of = std::max({std::fabs(want[i]), std::isfinite(sizes[i]) ? std::fabs(sizes[i]) : 0, most});
      // Beyond f32's range its infinity is right.
      if (std::isinf(got[i]) && std::fabs(want[i]) > std::numeric_limits<float>::max()) continue;
      const double error = distance(got[i], want[i]);
      // What is flushed to zero below the normal numbers is no error of the op.
      if (error <= smallest_normal(DType::f32)) continue;
      entry.local = std::max(entry.local, error / ulp_of(DType::f32, of));
    }
  }

  const Tape& tape_;
  const AuditOptions& options_;
  Tape scratch_;
  std::vector<std::uint32_t> uses_;
  std::vector<Tensor> shadows_;
  std::vector<std::string> names_;
};

bool bad(const AuditEntry& entry) {
  return entry.verdict == AuditVerdict::imprecise || entry.verdict == AuditVerdict::accumulated;
}

std::string sentence(const AuditEntry& e) {
  const std::string number = fmt::format("%{}", e.node);
  std::string text = fmt::format("{}{} {}", number, e.name == number ? "" : fmt::format(" \"{}\"", e.name), e.op);
  if (e.where) text += fmt::format(" ({})", to_string(e.where));
  if (e.verdict == AuditVerdict::imprecise) {
    return text + fmt::format(": its own error is {:.3g} ulp, its row allows {:.3g}", e.local, e.bound);
  }
  return text + fmt::format(
                    ": {:.9g} where f64 gives {:.9g} (element {}), {:.3g} ulp of the largest element off; its "
                    "own error is {:.3g} ulp",
                    e.recorded, e.shadow, e.element, e.accumulated, e.local);
}

}  // namespace

std::string_view name(AuditVerdict verdict) {
  constexpr std::string_view kNames[] = {"good", "imprecise", "accumulated", "skipped"};
  return kNames[static_cast<int>(verdict)];
}

const AuditEntry* AuditReport::first_bad() const {
  const auto found = std::ranges::find_if(entries, bad);
  return found == entries.end() ? nullptr : &*found;
}

std::string AuditReport::text(std::size_t rows) const {
  const AuditEntry* const first = first_bad();
  std::string out = first ? fmt::format("audit: {} of {} nodes are bad. The first is {}.\n",
                                        std::ranges::count_if(entries, bad), entries.size(), sentence(*first))
                          : fmt::format("audit: passed, {} nodes\n", entries.size());
  std::vector<const AuditEntry*> order;
  for (const bool wanted : {true, false}) {
    for (const AuditEntry& entry : entries) {
      if (bad(entry) == wanted) order.push_back(&entry);
    }
  }
  const std::size_t shown = std::min(rows, order.size());
  std::vector<std::array<std::string, 8>> cells{
      {"id", "name", "op", "own error", "bound", "accumulated", "verdict", "line"}};
  for (std::size_t i = 0; i < shown; ++i) {
    const AuditEntry& e = *order[i];
    const std::string number = fmt::format("%{}", e.node);
    const bool compared = e.verdict != AuditVerdict::skipped;
    cells.push_back({number, e.name == number ? "" : e.name, std::string(e.op),
                     compared ? fmt::format("{:.3g}", e.local) : "", compared ? fmt::format("{:.3g}", e.bound) : "",
                     compared ? fmt::format("{:.3g}", e.accumulated) : "",
                     e.flips > 0 ? fmt::format("{} flipped", e.flips) : std::string(ebb::name(e.verdict)),
                     e.where ? to_string(e.where) : ""});
  }
  for (const auto& row : cells) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      std::size_t width = 0;
      for (const auto& other : cells) width = std::max(width, other[c].size());
      if (width > 0) line += fmt::format("  {:<{}}", row[c], width);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  if (shown < order.size()) out += fmt::format("  and {} more\n", order.size() - shown);
  return out;
}

AuditReport audit(const Tape& tape, const AuditOptions& options) { return Audit(tape, options).run(); }

}  // namespace ebb
