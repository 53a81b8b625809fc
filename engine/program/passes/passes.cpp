#include <ebb/engine/program/passes/passes.h>

#include <ebb/engine/check/verify.h>
#include <ebb/engine/dump/labels.h>
#include <ebb/engine/program/passes/rewriter.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace ebb {
namespace {

constexpr std::int64_t kMaxFolded = 1 << 16;  // elements of a tensor that is computed in advance

Traced share(const Traced& traced, RewriteLog&) { return rewrite(traced, nullptr); }

bool is_known(const Node& node) { return node.value.has_buffer(); }

// What a selection by a known number selects, in the shape of the selection; nothing for anything else.
std::optional<NodeId> selected(Rewriter& to, NodeId old) {
  const Node& node = to.from().node(old);
  if (!node.row->is_step() || node.row->signature != Signature::select) return std::nullopt;
  const Tensor& condition = to.node(to.of(to.from().input(old, 0))).value;
  if (!condition.has_buffer() || condition.numel() != 1) return std::nullopt;
  const NodeId result = to.of(to.from().input(old, condition.at(0) != 0 ? 1 : 2));
  if (to.shape(result) == node.value.shape()) return result;
  return to.record(kBroadcastTo, {result}, {{"shape", IntList(node.value.shape())}});
}

// By node: someone needs it written out, even if it is a broadcast.
std::vector<bool> written_out(const Traced& traced) {
  std::vector<bool> out(traced.tape->size());
  const std::vector<bool> live = live_nodes(traced);
  for (NodeId id = 0; id < out.size(); ++id) {
    const Row& row = *traced.node(id).row;
    if (!live[id] || row.is_step() || row.reads_broadcast || &row == &kBroadcastTo) continue;
    for (std::size_t i = 0; i < traced.node(id).inputs; ++i) out[traced.input(id, i)] = true;
  }
  for (NodeId id : traced.outputs) out[id] = true;
  for (const Traced::Update& update : traced.updates) out[update.value] = true;
  return out;
}

// Eager mode computes it, and so gives the bits that it would have given at run time.
Traced fold(const Traced& traced, RewriteLog& log) {
  const std::vector<bool> whole = written_out(traced);
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    const Node& node = traced.node(old);
    if (const std::optional<NodeId> result = selected(to, old)) {
      log.note("a selection by a constant is what it selects", old, *result);
      return result;
    }
    if (node.inputs == 0 || node.value.numel() > kMaxFolded) return std::nullopt;
    if (node.row == &kBroadcastTo && !whole[old]) return std::nullopt;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      if (!is_known(to.node(to.of(traced.input(old, i))))) return std::nullopt;
    }
    Tape eager;
    std::vector<Operand> operands;
    for (std::size_t i = 0; i < node.inputs; ++i) {
      operands.emplace_back(eager.leaf(to.node(to.of(traced.input(old, i))).value), node.where);
    }
    const Tensor value = eager.record(*node.row, operands, node.attrs).value();
    const bool scalar = value.rank() == 0 && value.dtype() != DType::i64;
    const NodeId known = scalar ? to.constant(value.item(), value.dtype()) : to.leaf(value);
    log.note("a function of constants is one", old, known);
    return known;
  });
}

// A number that is repeated is so under any shape.
std::optional<NodeId> reshaped_number(Rewriter& to, NodeId old) {
  NodeId in = to.of(to.from().input(old, 0));
  if (to.node(in).row != &kBroadcastTo) return std::nullopt;
  while (to.node(in).row == &kBroadcastTo) in = to.input(in, 0);
  if (to.shape(in).rank() != 0) return std::nullopt;
  return to.record(kBroadcastTo, {in}, {{"shape", IntList(to.from().type(old).shape())}});
}

Traced sink_broadcasts(const Traced& traced, RewriteLog& log) {
  return rewrite(traced, [&](Rewriter& to, NodeId old) -> std::optional<NodeId> {
    const Node& node = traced.node(old);
    if (node.row == &kReshape) return reshaped_number(to, old);
    if (!node.row->is_step()) return std::nullopt;
    std::vector<NodeId> inputs;
    bool below = false;
    std::optional<Shape> shape = Shape{};
    for (std::size_t i = 0; i < node.inputs; ++i) {
      NodeId in = to.of(traced.input(old, i));
      while (to.node(in).row == &kBroadcastTo) {
        in = to.input(in, 0);
        below = true;
      }
      inputs.push_back(in);
      shape = broadcast(*shape, to.shape(in));
    }
    if (!below) return std::nullopt;
    const NodeId small = to.record(*node.row, inputs, node.attrs);
    if (*shape == node.value.shape()) return small;
    const NodeId repeated = to.record(kBroadcastTo, {small}, {{"shape", IntList(node.value.shape())}});
    log.note("op(broadcast) -> broadcast(op)", old, repeated);
    return repeated;
  });
}

// Whether a pass has kept what the function takes and gives.
void verify_interface(const Pass& pass, const Traced& before, const Traced& after) {
  const auto require = [&](const TensorType& was, const TensorType& is, std::string_view what, std::size_t i) {
    if (was == is) return;
    throw Error(fmt::format("compile: pass {} is wrong: {} {} was {}, is {}.", pass.name, what, i, to_string(was),
                            to_string(is)));
  };
  const auto type = [](const Traced& traced, NodeId id) {
    return TensorType{traced.type(id).shape(), traced.type(id).dtype()};
  };
  if (before.arguments.size() != after.arguments.size() || before.reads.size() != after.reads.size() ||
      before.outputs.size() != after.outputs.size() || before.updates.size() != after.updates.size()) {
    throw Error(
        fmt::format("compile: pass {} is wrong: it adds or drops an argument, a State or a result.", pass.name));
  }
  for (std::size_t i = 0; i < before.arguments.size(); ++i) {
    require(type(before, before.arguments[i]), type(after, after.arguments[i]), "argument", i);
  }
  for (std::size_t i = 0; i < before.outputs.size(); ++i) {
    require(type(before, before.outputs[i]), type(after, after.outputs[i]), "output", i);
  }
  for (std::size_t i = 0; i < before.updates.size(); ++i) {
    require(type(before, before.updates[i].value), type(after, after.updates[i].value), "update", i);
  }
}

detail::Labels labels_of(const Traced& stage) { return {*stage.tape, std::vector<bool>(stage.tape->size(), true)}; }

// `%24 = gamma * ivar`: a number is explained where it first stands, a name explains itself.
std::string defined(const detail::Labels& labels, NodeId id) {
  const bool named = labels.first(id) != detail::kNoEntry || labels.is_literal(id);
  return named ? labels.formula(id) : fmt::format("{} = {}", labels.label(id), labels.formula(id));
}

}  // namespace

const Pass kShare{"share", Setting::exact, share};
const Pass kFold{"fold", Setting::exact, fold};
const Pass kSinkBroadcasts{"sink_broadcasts", Setting::exact, sink_broadcasts};

std::span<const Pass> engine_passes() {
  static const std::array passes{kSinkBroadcasts, kFold, kShare};
  return passes;
}

Traced optimise(Traced traced, std::span<const Pass> passes, Setting setting, RewriteLog& log) {
  log.stages.push_back(std::move(traced));
  for (const Pass& pass : passes) {
    if (pass.setting == Setting::relaxed && setting == Setting::exact) continue;
    log.passes.push_back(pass.name);
    log.stages.push_back(pass.run(log.stages.back(), log));
    verify_interface(pass, log.stages[log.stages.size() - 2], log.stages.back());
#ifndef NDEBUG
    verify(*log.stages.back().tape);
#endif
  }
  return log.stages.back();
}

std::string to_string(const RewriteLog& log) {
  std::size_t widest = 0;
  for (const Rewrite& rewrite : log.rewrites) widest = std::max(widest, rewrite.rule.size());
  std::string text;
  std::size_t labelled = log.stages.size();
  std::optional<detail::Labels> before, after;
  for (const Rewrite& rewrite : log.rewrites) {
    if (labelled != rewrite.pass) {
      labelled = rewrite.pass;
      before.emplace(labels_of(log.stages[labelled]));
      after.emplace(labels_of(log.stages[labelled + 1]));
    }
    // What became itself in other words, as a sum whose factor another rule has taken out, tells nobody anything.
    if (before->formula(rewrite.before) == after->formula(rewrite.after)) continue;
    text += fmt::format("{:<16} {:<{}}  {}  ->  {}\n", log.passes[rewrite.pass], rewrite.rule, widest,
                        before->formula(rewrite.before), defined(*after, rewrite.after));
  }
  return text;
}

std::string formulas(const Traced& stage) {
  const detail::Labels labels = labels_of(stage);
  const std::vector<bool> live = live_nodes(stage);
  std::string text;
  for (NodeId id = 0; id < stage.tape->size(); ++id) {
    if (!live[id] || labels.is_literal(id) || labels.folded_into(id) != kNoNode || stage.node(id).inputs == 0) continue;
    text += fmt::format("{} = {}\n", labels.label(id), labels.formula(id));
  }
  return text;
}

}  // namespace ebb
