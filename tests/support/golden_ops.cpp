#include "tests/support/golden_ops.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

namespace ebb::test {
namespace {

using Args = std::span<const Var>;

IntList list_of(const Json& json) {
  IntList out;
  for (const Json& value : json) out.push_back(value.get<std::int64_t>());
  return out;
}

Axes axes_of(const Json& attrs) { return attrs.at("axes").is_null() ? kAllAxes : Axes(list_of(attrs.at("axes"))); }

bool keepdim(const Json& attrs) { return attrs.at("keepdim").get<bool>(); }
double scalar(const Json& attrs) { return attrs.at("scalar").get<double>(); }
int integer(const Json& attrs, const char* key) { return attrs.at(key).get<int>(); }

std::optional<double> bound(const Json& attrs, const char* key) {
  return attrs.at(key).is_null() ? std::nullopt : std::optional(attrs.at(key).get<double>());
}

template <Var (*f)(const Operand&)>
Var unary(Args a, const Json&) {
  return f(a[0]);
}
template <Var (*f)(const Operand&, const Operand&)>
Var binary(Args a, const Json&) {
  return f(a[0], a[1]);
}

VarianceOptions variance_of(const Json& attrs) {
  return {.correction = attrs.at("correction").get<double>(), .keepdim = keepdim(attrs)};
}

Reduction reduction_of(const Json& attrs) {
  const std::string word = attrs.value("reduction", "mean");
  return word == "mean" ? Reduction::mean : word == "sum" ? Reduction::sum : Reduction::none;
}

Var golden_pad(Args a, const Json& attrs) {
  IntList low, high;
  for (const Json& pair : attrs.at("pads")) {
    low.push_back(pair[0].get<std::int64_t>());
    high.push_back(pair[1].get<std::int64_t>());
  }
  const std::string mode = attrs.value("mode", "constant");
  return pad(a[0], low, high,
             {.mode = mode == "reflect"     ? PadMode::reflect
                      : mode == "replicate" ? PadMode::replicate
                                            : PadMode::constant,
              .value = attrs.value("value", 0.0)});
}

Var golden_batch_norm(Args a, const Json& attrs) {
  const BatchNormOptions options{.eps = attrs.value("eps", 1e-5)};
  const auto affine = [&](std::size_t i) { return a.size() > i ? std::optional(a[i]) : std::nullopt; };
  if (attrs.at("training").get<bool>()) return batch_norm(a[0], affine(1), affine(2), options);
  return batch_norm_eval(a[0], a[1], a[2], affine(3), affine(4), options);
}

Var golden_layer_norm(Args a, const Json& attrs) {
  const auto affine = [&](std::size_t i) { return a.size() > i ? std::optional(a[i]) : std::nullopt; };
  return layer_norm(a[0], affine(1), affine(2),
                    {.normalized_ndim = integer(attrs, "normalized_ndim"), .eps = attrs.value("eps", 1e-5)});
}

Var golden_mse(Args a, const Json& attrs) {
  const Var each = square(a[0] - a[1]);
  const Reduction reduction = reduction_of(attrs);
  return reduction == Reduction::mean ? mean(each) : reduction == Reduction::sum ? sum(each) : each;
}

}  // namespace

const std::map<std::string, GoldenOp, std::less<>>& golden_ops() {
  static const std::map<std::string, GoldenOp, std::less<>> ops{
      {"neg", unary<neg>},
      {"abs", unary<abs>},
      {"sign", unary<sign>},
      {"square", unary<square>},
      {"sqrt", unary<sqrt>},
      {"rsqrt", unary<rsqrt>},
      {"reciprocal", unary<reciprocal>},
      {"exp", unary<exp>},
      {"expm1", unary<expm1>},
      {"log", unary<log>},
      {"log1p", unary<log1p>},
      {"sin", unary<sin>},
      {"cos", unary<cos>},
      {"tan", unary<tan>},
      {"atan", unary<atan>},
      {"sinh", unary<sinh>},
      {"cosh", unary<cosh>},
      {"tanh", unary<tanh>},
      {"erf", unary<erf>},
      {"relu", unary<relu>},
      {"sigmoid", unary<sigmoid>},
      {"silu", unary<silu>},
      {"logsigmoid", unary<logsigmoid>},
      {"leaky_relu", [](Args a, const Json& j) { return leaky_relu(a[0], j.at("negative_slope").get<double>()); }},
      {"elu", [](Args a, const Json& j) { return elu(a[0], j.at("alpha").get<double>()); }},
      {"gelu",
       [](Args a, const Json& j) { return gelu(a[0], j.at("approximate") == "tanh" ? Gelu::tanh : Gelu::none); }},
      {"softplus",
       [](Args a, const Json& j) {
         return softplus(a[0], {j.at("beta").get<double>(), j.at("threshold").get<double>()});
       }},
      {"clamp",
       [](Args a, const Json& j) {
         return clamp(a[0], {bound(j, "min"), bound(j, "max")});
       }},
      {"pow_scalar", [](Args a, const Json& j) { return pow(a[0], j.at("exponent").get<double>()); }},
      {"identity", [](Args a, const Json&) { return a[0]; }},
      {"add", binary<add>},
      {"sub", binary<sub>},
      {"mul", binary<mul>},
      {"div", binary<div>},
      {"pow", binary<pow>},
      {"maximum", binary<maximum>},
      {"minimum", binary<minimum>},
      {"add_scalar", [](Args a, const Json& j) { return a[0] + scalar(j); }},
      {"mul_scalar", [](Args a, const Json& j) { return a[0] * scalar(j); }},
      {"rsub_scalar", [](Args a, const Json& j) { return scalar(j) - a[0]; }},
      {"rdiv_scalar", [](Args a, const Json& j) { return scalar(j) / a[0]; }},
      {"where", [](Args a, const Json&) { return where(cast(a[0], DType::boolean), a[1], a[2]); }},
      {"sum", [](Args a, const Json& j) { return sum(a[0], axes_of(j), keepdim(j)); }},
      {"mean", [](Args a, const Json& j) { return mean(a[0], axes_of(j), keepdim(j)); }},
      {"max", [](Args a, const Json& j) { return max(a[0], axes_of(j), keepdim(j)); }},
      {"max ties=first", [](Args a, const Json& j) { return max(a[0], axes_of(j), keepdim(j), Ties::first); }},
      {"min", [](Args a, const Json& j) { return min(a[0], axes_of(j), keepdim(j)); }},
      {"min ties=first", [](Args a, const Json& j) { return min(a[0], axes_of(j), keepdim(j), Ties::first); }},
      {"prod", [](Args a, const Json& j) { return prod(a[0], axes_of(j), keepdim(j)); }},
      {"var", [](Args a, const Json& j) { return var(a[0], axes_of(j), variance_of(j)); }},
      {"std", [](Args a, const Json& j) { return std(a[0], axes_of(j), variance_of(j)); }},
      {"norm", [](Args a, const Json& j) { return norm(a[0], axes_of(j), keepdim(j)); }},
      {"cumsum", [](Args a, const Json& j) { return cumsum(a[0], integer(j, "axis")); }},
      {"cumprod", [](Args a, const Json& j) { return cumprod(a[0], integer(j, "axis")); }},
      {"logsumexp", [](Args a, const Json& j) { return logsumexp(a[0], axes_of(j), keepdim(j)); }},
      {"softmax", [](Args a, const Json& j) { return softmax(a[0], integer(j, "axis")); }},
      {"log_softmax", [](Args a, const Json& j) { return log_softmax(a[0], integer(j, "axis")); }},
      {"matmul", [](Args a, const Json&) { return matmul(a[0], a[1]); }},
      {"transpose", [](Args a, const Json& j) { return transpose(a[0], integer(j, "dim0"), integer(j, "dim1")); }},
      {"permute", [](Args a, const Json& j) { return permute(a[0], list_of(j.at("dims"))); }},
      {"reshape", [](Args a, const Json& j) { return reshape(a[0], list_of(j.at("shape"))); }},
      {"expand", [](Args a, const Json& j) { return broadcast_to(a[0], list_of(j.at("shape")).shape()); }},
      {"slice",
       [](Args a, const Json& j) {
         return slice(a[0], list_of(j.at("starts")), list_of(j.at("stops")), list_of(j.at("steps")));
       }},
      {"concat",
       [](Args a, const Json& j) { return concat(std::vector<Operand>(a.begin(), a.end()), integer(j, "axis")); }},
      {"gather", [](Args a, const Json& j) { return gather(a[0], a[1], integer(j, "axis")); }},
      {"scatter_add", [](Args a, const Json& j) { return scatter_add(a[0], a[1], a[2], integer(j, "axis")); }},
      {"pad", golden_pad},
      {"index_select", [](Args a, const Json& j) { return index_select(a[0], a[1], integer(j, "axis")); }},
      {"flip", [](Args a, const Json& j) { return flip(a[0], list_of(j.at("axes"))); }},
      {"roll", [](Args a, const Json& j) { return roll(a[0], list_of(j.at("shifts")), list_of(j.at("axes"))); }},
      {"select", [](Args a, const Json& j) { return select(a[0], integer(j, "axis"), integer(j, "index")); }},
      {"squeeze", [](Args a, const Json& j) { return squeeze(a[0], integer(j, "axis")); }},
      {"unsqueeze", [](Args a, const Json& j) { return unsqueeze(a[0], integer(j, "axis")); }},
      {"stack",
       [](Args a, const Json& j) { return stack(std::vector<Operand>(a.begin(), a.end()), integer(j, "axis")); }},
      {"tril", [](Args a, const Json& j) { return tril(a[0], integer(j, "diagonal")); }},
      {"triu", [](Args a, const Json& j) { return triu(a[0], integer(j, "diagonal")); }},
      {"tile", [](Args a, const Json& j) { return tile(a[0], list_of(j.at("reps"))); }},
      // Compositions of one line, which the programs of other operations are made of.
      {"linear",
       [](Args a, const Json&) {
         const Var y = matmul(a[0], a[1], {.transpose_b = true});
         return a.size() > 2 ? y + a[2] : y;
       }},
      {"mse_loss", golden_mse},
      {"cross_entropy",
       [](Args a, const Json& j) {
         const bool staged = j.contains("kernel");
         return cross_entropy(
             a[0], a[1],
             {.reduction = reduction_of(j), .kernel = staged ? CrossEntropyKernel::staged : CrossEntropyKernel::fused});
       }},
      {"batch_norm", golden_batch_norm},
      {"layer_norm", golden_layer_norm},
  };
  return ops;
}

std::string golden_op_key(const std::string& op, const Json& attrs) {
  if ((op == "max" || op == "min") && attrs.value("ties", "none") == "first") return op + " ties=first";
  if (op == "cross_entropy") {
    if (attrs.value("label_smoothing", 0.0) != 0) return op + " label_smoothing";
    if (attrs.value("target", "indices") != "indices") return op + " target=probabilities";
    if (attrs.contains("ignore_index") && !attrs["ignore_index"].is_null() && attrs["ignore_index"] != -100) {
      return op + " ignore_index";
    }
  }
  return op;
}

std::optional<std::string> missing_op(const GoldenCase& c) {
  const auto missing = [](const std::string& op, const Json& attrs) -> std::optional<std::string> {
    std::string key = golden_op_key(op, attrs);
    return golden_ops().contains(key) ? std::nullopt : std::optional(std::move(key));
  };
  if (c.program.empty()) return missing(c.op, c.attrs);
  for (const Json& step : c.program) {
    if (auto key = missing(step.at("op").get<std::string>(), step.value("attrs", Json::object()))) return key;
  }
  return std::nullopt;
}

Shape shape_of(const GoldenTensor& tensor) { return Shape(std::span(tensor.shape)); }

Tensor tensor_of(const GoldenTensor& tensor, DType dtype) {
  if (tensor.dtype == "I64") return Tensor::from(shape_of(tensor), std::span<const std::int64_t>(tensor.integers));
  return Tensor::from(shape_of(tensor), std::span<const double>(tensor.reals)).to(dtype);
}

const Tolerance* tolerance_of(const GoldenCase& c, DType dtype) {
  const std::optional<Tolerance>& tolerance = dtype == DType::f64 ? c.f64 : c.f32;
  return tolerance ? &*tolerance : nullptr;
}

void expect_close(const GoldenCase& c, std::string_view role, const Tensor& got, const Tolerance& tolerance) {
  EXPECT_EQ(to_string(got.shape()), to_string(shape_of(c.tensor(role)))) << c.name << "/" << role;
  const Tensor value = got.to(DType::f64);
  const auto wrong = mismatch(value.data<double>(), c, role, tolerance);
  EXPECT_FALSE(wrong.has_value()) << name(got.dtype()) << ": " << wrong.value_or("");
}

NamedVars leaves_of(GoldenRecording& recording, const GoldenCase& c) {
  NamedVars leaves;
  for (const std::string& role : c.args) leaves[role] = recording.leaf(role);
  return leaves;
}

Var GoldenRecording::leaf(const std::string& role, const std::string& name) {
  if (const auto known = leaves_.find(role); known != leaves_.end()) return known->second;
  return leaves_[role] = leaf_(role, name.empty() ? role : name);
}

void expect_golden(const GoldenCase& c, DType dtype, const GoldenChecks& checks,
                   const std::function<void(GoldenRecording&)>& record) {
  const auto expect = [&](const std::string& role, const Tensor& got, const Tolerance& tolerance, const char* how) {
    SCOPED_TRACE(how);
    if (is_floating(got.dtype())) return expect_close(c, role, got, tolerance);
    EXPECT_TRUE(identical(got, tensor_of(c.tensor(role), got.dtype()))) << c.name << "/" << role;
  };
  std::vector<Tensor> staged;
  for (const Kernels kernels : {Kernels::usual, Kernels::staged}) {
    Tape tape;
    GoldenRecording recording(tape, kernels, [&](const std::string& role, const std::string& name) {
      return tape.leaf(tensor_of(c.tensor(role), dtype), name);
    });
    record(recording);
    for (const auto& [role, value] : recording.given()) {
      expect(role, value.value(), *checks.eager, "eager");
      if (kernels == Kernels::staged) staged.push_back(value.value());
    }
  }
  for (const Setting setting : {Setting::exact, Setting::relaxed}) {
    if (setting == Setting::exact && !checks.exact) continue;
    const auto tape = std::make_shared<Tape>(Tape::Mode::trace);
    Traced traced{tape, {}, {}, {}, {}};
    std::vector<Tensor> inputs;
    GoldenRecording recording(*tape, Kernels::staged, [&](const std::string& role, const std::string& name) {
      inputs.push_back(tensor_of(c.tensor(role), dtype));
      const Var leaf = tape->leaf(Tensor::abstract(inputs.back().shape(), inputs.back().dtype()), name);
      traced.arguments.push_back(leaf.id());
      return leaf;
    });
    record(recording);
    for (const auto& [role, value] : recording.given()) traced.outputs.push_back(value.id());
    const Tensors got = Program(std::move(traced), all_passes(), setting).compute(inputs);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const std::string& role = recording.given()[i].first;
      if (setting == Setting::exact) {
        EXPECT_TRUE(identical(got[i], staged[i])) << c.name << "/" << role << ": compiled, other bits";
      } else {
        expect(role, got[i], *checks.relaxed, "compiled");
      }
    }
  }
}

void run_golden(const GoldenCase& c, NamedVars& values, Kernels kernels) {
  const auto apply = [&](const std::string& op, const Json& names, Json attrs) {
    if (kernels == Kernels::staged) attrs["kernel"] = "staged";
    std::vector<Var> args;
    for (const Json& arg : names) args.push_back(values.at(arg.get<std::string>()));
    return golden_ops().find(golden_op_key(op, attrs))->second(args, attrs);
  };
  if (c.program.empty()) {
    values[c.outputs[0]] = apply(c.op, c.args, c.attrs);
    return;
  }
  for (const Json& step : c.program) {
    values[step.at("out").get<std::string>()] =
        apply(step.at("op").get<std::string>(), step.at("args"), step.value("attrs", Json::object()));
  }
}

}  // namespace ebb::test
