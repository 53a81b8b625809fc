#include <ebb/engine/row/row.h>
#include <ebb/nn/layers/batch_norm.h>
#include <ebb/ops/elementwise/elementwise.h>
#include <ebb/ops/reduction/reduction.h>
#include <fmt/format.h>

#include <cmath>

namespace ebb::nn {
namespace {

// Speaks for the layer in errors: the form of every op's messages, with the inputs and the user's line.
constexpr Row kBatchNorm{.name = "batch_norm", .vjp = kNoGrad("a layer")};

template <class F>
void speak(const Operand& x, F&& f) {
  const NodeId id = x.var().id();
  f(Call(x.tape(), kBatchNorm, std::span(&id, 1), {}, x.where()));
}

int resolved(int axis, int rank) { return axis < 0 ? axis + rank : axis; }

// The line in the user's code, which the scope that operator() opened knows.
Operand located(const Var& x) { return Operand(x, x.tape().line(Location::current())); }

}  // namespace

BatchNorm::BatchNorm(std::int64_t num_features, const BatchNormLayerOptions& options)
    : num_features_(num_features), options_(options) {
  if (num_features <= 0) {
    throw ShapeError(fmt::format("batch_norm: num_features must be positive, got {}.", num_features));
  }
  if (!(options.eps >= 0) || !std::isfinite(options.eps)) {
    throw UsageError(fmt::format("batch_norm: eps must be >= 0 and finite, got {}.", options.eps));
  }
  if (!is_floating(options.dtype)) {
    throw DTypeError(fmt::format("batch_norm: parameters must be floating, got {}.", ebb::name(options.dtype)));
  }
  const Shape shape{num_features};
  const auto count = [&](std::string_view name) { return add_buffer(name, Tensor::zeros({}, DType::i64)); };
  if (options.scale) weight_ = add_parameter("weight", Tensor::full(shape, 1, options.dtype));
  if (options.shift) bias_ = add_parameter("bias", Tensor::zeros(shape, options.dtype));
  if (!options.track_running_stats) return;
  running_mean_ = add_buffer("running_mean", Tensor::full(shape, options.initial_mean, options.dtype));
  running_var_ = add_buffer("running_var", Tensor::full(shape, options.initial_variance, options.dtype));
  batches_ = count("num_batches_tracked");
  if (options.on_nonfinite != OnNonfinite::propagate) skipped_ = count("num_batches_skipped");
  if (options.momentum.is_by_count()) values_ = count("num_values_tracked");
}

// --- the call
// ----------------------------------------------------------------------------------------------------------

Var BatchNorm::forward(const Var& input) const {
  const Operand x = located(input);
  check(x);
  Tape& tape = input.tape();
  const bool track = options_.track_running_stats;
  const bool training = this->training(tape);
  if (!training) {
    if (track) return normalise_with_running(x);
    if (options_.eval_without_stats == EvalWithoutStats::error) {
      speak(x, [](const Call& call) {
        call.fail_usage("running statistics requested but track_running_stats=false",
                        "Keep statistics, or set eval_without_stats to use_batch.");
      });
    }
  } else if (!tape.guard(use_batch_)) {
    return normalise_with_running(x);
  }
  const std::int64_t count = input.numel() / num_features_;
  if (count == 1 && track && training && options_.single_value == SingleValuePolicy::use_running) {
    return normalise_with_running(x);
  }
  const bool allow = options_.single_value == SingleValuePolicy::allow;
  const std::optional<Var> gamma = weight_ ? std::optional(tape.read(weight_)) : std::nullopt;
  const std::optional<Var> beta = bias_ ? std::optional(tape.read(bias_)) : std::nullopt;
  const BatchNormOptions options{options_.eps, options_.channel_axis, options_.kernel,
                                 allow ? SingleValue::allow : SingleValue::error};
  // Of no values there are no statistics; whatever was kept stays as it is.
  if (!training || !track || !tape.guard(update_) || count == 0) return batch_norm(x, gamma, beta, options);
  const BatchNormResult result = batch_norm_with_statistics(x, gamma, beta, options);
  update(x, result, count);
  return result.out;
}

void BatchNorm::check(const Operand& x) const {
  const Shape& shape = x.var().shape();
  const int axis = resolved(options_.channel_axis, shape.rank());
  const bool fits = shape.rank() >= 2 && axis >= 0 && axis < shape.rank() && shape[axis] == num_features_;
  if (fits && is_floating(x.var().dtype())) return;
  speak(x, [&](const Call& call) {
    if (!is_floating(call.dtype(0))) {
      call.fail_dtype(fmt::format("needs a floating type, got {}", ebb::name(call.dtype(0))),
                      "Convert x with cast(x, DType::f32).");
    }
    if (shape.rank() < 2) call.fail_shape("needs a batch axis and a channel axis", "Reshape x to [N, C].");
    call.axis(options_.channel_axis);
    std::string advice;
    for (const int other : {-1, 1}) {
      const int at = resolved(other, shape.rank());
      if (at != axis && shape[at] == num_features_) advice = fmt::format("Did you mean channel_axis = {}?", other);
    }
    call.fail_shape(fmt::format("expected {} channels on axis {} of {}, got {}", num_features_, axis, to_string(shape),
                                shape[axis]),
                    advice);
  });
}

Var BatchNorm::normalise_with_running(const Operand& x) const {
  Tape& tape = x.tape();
  if (batches_.value().item() == 0 && !stats_initialised()) {
    // A training call of the same step has noted an update that is not committed yet.
    const Var batches = tape.read(batches_);
    if (tape.mode() == Tape::Mode::trace || batches.item() == 0) {
      note_once(fmt::format("{}: eval() with num_batches_tracked=0: using initial statistics mean {}, var {}", path(),
                            options_.initial_mean, options_.initial_variance));
    }
  }
  const std::optional<Var> gamma = weight_ ? std::optional(tape.read(weight_)) : std::nullopt;
  const std::optional<Var> beta = bias_ ? std::optional(tape.read(bias_)) : std::nullopt;
  BatchNormOptions options;
  options.eps = options_.eps;
  options.channel_axis = options_.channel_axis;
  return batch_norm_eval(x, tape.read(running_mean_), tape.read(running_var_), gamma, beta, options);
}

// --- running statistics
// ------------------------------------------------------------------------------------------------

// All of it is recorded, in the running statistics' dtype, so that a compiled step does what an eager one does. That is
// also why a batch that is not finite is left out by `where` and not by an `if`: while tracing there is no value to
// look at, and a program that was traced with a good batch must leave out a later bad one. `mean * 0 + variance * 0` is
// 0 where both are finite and NaN elsewhere, and so is its sum over the channels.
void BatchNorm::update(const Operand& x, const BatchNormResult& batch, std::int64_t count) const {
  Tape& tape = x.tape();
  const auto scope = tape.scope("running");
  const Var mean = cast(batch.mean, options_.dtype);
  const Var variance = cast(batch.variance, options_.dtype);
  const Var old_batches = tape.read(batches_);
  const bool guarded = options_.on_nonfinite != OnNonfinite::propagate;
  Var finite;
  if (guarded) {
    finite = equal(sum(mean * 0.0 + variance * 0.0), 0.0);
    if (tape.mode() == Tape::Mode::eager && finite.item() == 0) report_nonfinite(x, batch);
  }
  const auto note = [&](const State& state, const Var& before, const Var& after) {
    tape.update(state, guarded ? where(finite, after, before) : after);
  };

  const Momentum& momentum = options_.momentum;
  const double n = static_cast<double>(count);
  const Var batches = old_batches + 1.0;
  Operand new_weight = momentum.weight_of_new();
  Operand old_weight = momentum.weight_of_old();
  if (momentum.is_cumulative()) {
    new_weight = reciprocal(cast(batches, options_.dtype));
    old_weight = 1.0 - new_weight.var();
  } else if (momentum.is_by_count()) {
    const Var old_values = tape.read(values_);
    const Var values = old_values + n;
    new_weight = n / cast(values, options_.dtype);
    old_weight = 1.0 - new_weight.var();
    note(values_, old_values, values);
  }
  const Var old_mean = tape.read(running_mean_);
  note(running_mean_, old_mean, old_mean * old_weight + mean * new_weight);
  if (count > 1) {  // one value tells nothing of the variance
    const bool unbiased = options_.running_variance == RunningVariance::unbiased;
    const Var old_var = tape.read(running_var_);
    note(running_var_, old_var, old_var * old_weight + (unbiased ? variance * (n / (n - 1)) : variance) * new_weight);
  }
  note(batches_, old_batches, batches);
  if (guarded) {
    const Var skipped = tape.read(skipped_);
    tape.update(skipped_, where(finite, skipped, skipped + 1.0));
  }
}

// Says which channel is not finite, and which sample it comes from; throws if that is the policy.
void BatchNorm::report_nonfinite(const Operand& x, const BatchNormResult& batch) const {
  const bool fails = options_.on_nonfinite == OnNonfinite::error || x.tape().anomaly();
  if (!fails && x.tape().read(skipped_).item() > 0) return;  // once a layer is enough
  const Tensor& values = x.var().value();
  const Shape& shape = values.shape();
  const int axis = resolved(options_.channel_axis, shape.rank());
  std::int64_t channel = 0;
  while (std::isfinite(batch.mean.value().at(channel)) && std::isfinite(batch.variance.value().at(channel))) ++channel;
  std::int64_t inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  std::string cause = "too large for the dtype";
  for (std::int64_t i = 0; i < values.numel(); ++i) {
    const double value = values.at(i);
    if (i / inner % num_features_ != channel || std::isfinite(value)) continue;
    const std::int64_t sample = axis == 0 ? i % inner : i / (values.numel() / shape[0]);
    cause = fmt::format("{} from x[{}{}]",
                        std::isnan(value) ? "NaN"
                        : value > 0       ? "inf"
                                          : "-inf",
                        axis == 0 ? ":, " : "", sample);
    break;
  }
  const std::string what =
      fmt::format("non-finite batch statistic in channel {} ({}); running statistics not updated", channel, cause);
  if (!fails) {
    note(fmt::format("{}: {} ({})", path(), what, to_string(x.where())));
    return;
  }
  speak(x, [&](const Call& call) {
    call.fail_usage(what, "Look for what made x non-finite with tape.set_anomaly(true).");
  });
}

// --- settings
// ----------------------------------------------------------------------------------------------------------

namespace {

const State& required(const State& state, const char* what) {
  if (!state) throw UsageError(fmt::format("batch_norm: {}", what));
  return state;
}

constexpr const char* kNoStats = "running statistics requested but track_running_stats=false";

}  // namespace

const State& BatchNorm::weight() const { return required(weight_, "no scale parameter (scale=false)"); }
const State& BatchNorm::bias() const { return required(bias_, "no shift parameter (shift=false)"); }
const State& BatchNorm::running_mean() const { return required(running_mean_, kNoStats); }
const State& BatchNorm::running_var() const { return required(running_var_, kNoStats); }
const State& BatchNorm::num_batches_tracked() const { return required(batches_, kNoStats); }
const State& BatchNorm::num_batches_skipped() const {
  return required(skipped_,
                  "batches are skipped and counted only with running statistics, and unless on_nonfinite is "
                  "propagate");
}

void BatchNorm::set(const State& state, std::string_view name, const Tensor& value) {
  if (value.shape() != state.shape()) {
    throw ShapeError(fmt::format("batch_norm: {} should contain {} elements not {}; got {}.", name, num_features_,
                                 value.numel(), ebb::describe(value)));
  }
  state.set(value);
}

void BatchNorm::reset_running_stats() {
  if (!options_.track_running_stats) return;
  running_mean_.set(Tensor::full({num_features_}, options_.initial_mean, options_.dtype));
  running_var_.set(Tensor::full({num_features_}, options_.initial_variance, options_.dtype));
  for (const State& count : {batches_, skipped_, values_}) {
    if (count) count.set(Tensor::zeros({}, DType::i64));
  }
}

void BatchNorm::set_training_statistics(const TrainingStatistics& statistics) {
  if (!statistics.use_batch && !options_.track_running_stats) throw UsageError(fmt::format("batch_norm: {}", kNoStats));
  use_batch_.set(statistics.use_batch);
  update_.set(statistics.update);
}

bool BatchNorm::stats_initialised() const {
  if (!options_.track_running_stats) return false;
  if (batches_.value().item() > 0) return true;
  const Tensor mean = running_mean_.value();
  const Tensor variance = running_var_.value();
  for (std::int64_t i = 0; i < num_features_; ++i) {
    if (mean.at(i) != options_.initial_mean || variance.at(i) != options_.initial_variance) return true;
  }
  return false;
}

std::string BatchNorm::path() const {
  const std::string state = running_mean_.name();  // net.bn1.running_mean
  const std::size_t dot = state.rfind('.');
  return dot == state.npos ? "batch_norm" : fmt::format("batch_norm {}", state.substr(0, dot));
}

std::unique_ptr<Module> BatchNorm::new_like() const { return std::make_unique<BatchNorm>(num_features_, options_); }

void BatchNorm::copy_settings(const Module& other) {
  Module::copy_settings(other);
  set_training_statistics(static_cast<const BatchNorm&>(other).training_statistics());
}

std::string BatchNorm::describe() const {
  const char* affine = options_.scale && options_.shift ? "affine"
                       : options_.scale                 ? "scale"
                       : options_.shift                 ? "shift"
                                                        : "no affine";
  std::string text =
      fmt::format("BatchNorm({}, eps={}, momentum={}, {}, {}, frozen={}", num_features_, options_.eps,
                  options_.momentum.describe(), affine, options_.track_running_stats ? "track" : "no track", frozen());
  if (frozen() && use_batch_.get()) text += ", use_batch";
  if (!frozen() && !use_batch_.get()) text += ", use_running";
  if (options_.running_variance == RunningVariance::biased) text += ", biased";
  if (options_.channel_axis != 1) text += fmt::format(", channel_axis={}", options_.channel_axis);
  return text + ')';
}

}  // namespace ebb::nn
