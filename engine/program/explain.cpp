#include <ebb/engine/program/explain.h>

#include <ebb/engine/dump/labels.h>
#include <ebb/engine/row/cost.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

namespace ebb {
namespace {

class Explainer {
 public:
  explicit Explainer(const Program& program)
      : program_(program),
        traced_(program.optimised()),
        labels_(*traced_.tape, std::vector<bool>(traced_.tape->size(), false)) {}

  Explanation run() {
    Explanation out;
    out.setting = program_.setting();
    out.arena_bytes = program_.memory().arena_bytes;
    out.result_bytes = program_.memory().result_bytes;
    out.peak_bytes = program_.memory().peak_bytes();
    out.rewrites = to_string(program_.log());
    const Schedule& schedule = program_.schedule();
    for (std::size_t a = 0; a < schedule.actions.size(); ++a) out.actions.push_back(action(a));
    for (const ebb::Band& band : schedule.bands) {
      bool generated = true;  // or else each of them runs by itself
      for (std::size_t a = band.begin; a < band.end; ++a) generated = generated && program_.is_generated(a);
      if (generated) out.bands.push_back({band.begin, band.end, band.shape, band.axes});
    }
    return out;
  }

 private:
  Explanation::Value value(NodeId id, const Shape& shape) const {
    const DType dtype = traced_.type(id).dtype();
    return {labels_.label(id), {shape, dtype}, static_cast<std::size_t>(shape.numel()) * size_of(dtype)};
  }

  Explanation::Action action(std::size_t a) const {
    const Schedule& schedule = program_.schedule();
    const ebb::Action& from = schedule.actions[a];
    Explanation::Action out;
    std::vector<NodeId> nodes;
    if (from.kind == ebb::Action::Kind::loop) {
      out.what = "loop";
      out.shape = from.shape;
      out.generated = program_.is_generated(a);
      for (const View& view : from.sources) out.reads.push_back(value(view.root, view.shape));
      for (NodeId id : from.steps) {
        out.steps.push_back(fmt::format("{} = {}", labels_.label(id), labels_.formula(id)));
        if (schedule.stored[id] && schedule.home[id] == a) out.writes.push_back(value(id, traced_.type(id).shape()));
      }
      for (NodeId id : from.reductions) {
        out.reductions.push_back(value(id, traced_.type(id).shape()));
        out.steps.push_back(fmt::format("{} = {}", labels_.label(id), labels_.formula(id)));
      }
      nodes = from.steps;
      nodes.insert(nodes.end(), from.reductions.begin(), from.reductions.end());
      out.flops = static_cast<double>(from.shape.numel()) * static_cast<double>(nodes.size());
    } else {
      nodes = {from.node};
      const Node& node = traced_.node(from.node);
      out.what = node.row->name;
      for (std::size_t i = 0; i < node.inputs; ++i) {
        const NodeId in = traced_.input(from.node, i);
        out.reads.push_back(value(in, traced_.type(in).shape()));
      }
      out.writes.push_back(value(from.node, node.value.shape()));
      out.steps.push_back(fmt::format("{} = {}", labels_.label(from.node), labels_.formula(from.node)));
      out.flops = flops(*traced_.tape, from.node);
    }
    for (const auto& read : out.reads) out.bytes_read += read.bytes;
    for (const auto* list : {&out.writes, &out.reductions}) {
      for (const auto& write : *list) out.bytes_written += write.bytes;
    }
    for (NodeId id : nodes) {
      const Location where = traced_.node(id).where;
      const auto same = [&](const Location& l) { return to_string(l) == to_string(where); };
      if (where && std::ranges::none_of(out.lines, same)) out.lines.push_back(where);
    }
    return out;
  }

  const Program& program_;
  const Traced& traced_;
  detail::Labels labels_;
};

std::string list(const std::vector<Explanation::Value>& values) {
  std::string text;
  for (const auto& value : values) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", value.name, to_string(value.type));
  }
  return text;
}

}  // namespace

Explanation explain(const Program& program) { return Explainer(program).run(); }

std::size_t Explanation::bytes() const {
  return std::accumulate(actions.begin(), actions.end(), std::size_t{0}, [](std::size_t sum, const Action& action) {
    return sum + action.bytes_read + action.bytes_written;
  });
}

double Explanation::flops() const {
  return std::accumulate(actions.begin(), actions.end(), 0.0,
                         [](double sum, const Action& action) { return sum + action.flops; });
}

std::size_t Explanation::passes(std::int64_t elements) const {
  return static_cast<std::size_t>(std::ranges::count_if(
      actions, [&](const Action& action) { return action.what == "loop" && action.shape.numel() >= elements; }));
}

std::string Explanation::text() const {
  std::string text = fmt::format(
      "program, {}: {} actions, {} bytes moved, {:.4g} flops; arena {} bytes, peak {} bytes\n",
      setting == Setting::exact ? "exact" : "relaxed", actions.size(), bytes(), flops(), arena_bytes, peak_bytes);
  for (std::size_t a = 0; a < actions.size(); ++a) {
    const Action& action = actions[a];
    for (const Band& band : bands) {
      if (band.begin != a) continue;
      text += fmt::format("\n     {} to {} together, part by part: loops over {} that reduce axes {}\n", a,
                          band.end - 1, to_string(band.shape), to_string(band.axes.shape()));
    }
    text += fmt::format("\n{:>3}  {}{}{}  {} bytes in, {} out", a, action.what,
                        action.what == "loop" ? " over " + to_string(action.shape) : "",
                        action.generated ? ", generated" : "", action.bytes_read, action.bytes_written);
    for (std::size_t i = 0; i < action.lines.size(); ++i) {
      text += fmt::format("{}{}", i == 0 ? "  " : ", ", to_string(action.lines[i]));
    }
    text += '\n';
    if (!action.reads.empty()) text += fmt::format("     read    {}\n", list(action.reads));
    for (const std::string& step : action.steps) text += fmt::format("             {}\n", step);
    if (!action.writes.empty()) text += fmt::format("     write   {}\n", list(action.writes));
    if (!action.reductions.empty()) text += fmt::format("     reduce  {}\n", list(action.reductions));
  }
  if (!rewrites.empty()) text += "\nrewrites\n" + rewrites;
  return text;
}

}  // namespace ebb
