#include <ebb/engine/program/call.h>

#include <ebb/engine/program/replay.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/engine/row/structural.h>

namespace ebb {
namespace {

// The body's inputs: its leaves without a value, arguments first, then States, in the order of recording.
std::vector<NodeId> body_inputs(const Tape& body) {
  std::vector<NodeId> inputs;
  for (NodeId id = 0; id < body.size(); ++id) {
    if (body.node(id).row == &kLeaf && !body.node(id).value.has_buffer()) inputs.push_back(id);
  }
  return inputs;
}

Traced traced_of(const Attrs& attrs) {
  Traced traced;
  traced.tape = attrs.body("body");
  traced.arguments = body_inputs(*traced.tape);
  traced.outputs = {static_cast<NodeId>(attrs.integer("output"))};
  return traced;
}

TensorType call_type(const Call& call) {
  const Traced traced = traced_of(call.attrs());
  if (call.arity() != traced.arguments.size()) call.fail_usage("takes another number of inputs");
  for (std::size_t i = 0; i < call.arity(); ++i) {
    const Tensor& wanted = traced.type(traced.arguments[i]);
    if (call.shape(i) != wanted.shape()) call.fail_shape("was traced with " + describe(wanted));
    if (call.dtype(i) != wanted.dtype()) call.fail_dtype("was traced with " + describe(wanted));
  }
  const Tensor& out = traced.type(traced.outputs[0]);
  return {out.shape(), out.dtype()};
}

// Only where a call is computed anew, node by node; a program computes it together with the other outputs.
void call_kernel(KernelCall& call) {
  Tape tape;
  Vars arguments;
  for (const Tensor* in : call.in) arguments.push_back(tape.leaf(*in));
  call.out = replay(traced_of(call.attrs), tape, arguments, {}).outputs[0].value();
}

}  // namespace

const Row kCall{
    .name = "call",
    .kind = Kind::opaque,
    .arity = -1,
    .type = call_type,
    .vjp =
        [](const Vjp& g) {
          return local_pullback(
              g, [&](std::span<const Var> in) { return replay(traced_of(g.attrs), g.tape, in, {}).outputs[0]; });
        },
    .kernel = call_kernel,
    .ulp = 64,
};

Vars record_call(Program& program, Tape& tape, std::span<const Var> arguments, Location where) {
  const Traced& traced = program.recorded();
  CachedVector<Operand> inputs;
  CachedVector<Tensor> values;
  for (const Var& argument : arguments) inputs.emplace_back(argument, where);
  for (const Traced::Read& read : traced.reads) inputs.emplace_back(tape.read(read.state, where), where);
  for (const Operand& input : inputs) values.push_back(input.var().value());
  const bool anomaly = program.anomaly();
  const detail::Finally as_before([&] { program.set_anomaly(anomaly); });
  program.set_anomaly(anomaly || tape.anomaly());
  const Tensors results =
      program.compute(std::span(values).first(arguments.size()), std::span(values).subspan(arguments.size()));
  Vars outputs;
  const auto record = [&](NodeId node, const Tensor& value) {
    const std::array attrs{Attr{"body", Body(traced.tape)}, Attr{"output", static_cast<std::int64_t>(node)}};
    return tape.record_known(kCall, inputs, attrs, value);
  };
  for (std::size_t i = 0; i < traced.outputs.size(); ++i) outputs.push_back(record(traced.outputs[i], results[i]));
  for (std::size_t i = 0; i < traced.updates.size(); ++i) {
    const Traced::Update& update = traced.updates[i];
    tape.update(update.state, record(update.value, results[traced.outputs.size() + i]), where);
  }
  return outputs;
}

}  // namespace ebb
