#include <ebb/nn/layers/batch_norm_options.h>
#include <fmt/format.h>

namespace ebb::nn {
namespace {

double checked(double weight, const Location& where) {
  if (!(weight >= 0 && weight <= 1)) {  // also for NaN
    throw UsageError(
        fmt::format("batch_norm: momentum {} outside [0,1]; it is a weight. Use Momentum::new_weight(w), "
                    "old_weight(w) or cumulative(). ({})",
                    weight, to_string(where)));
  }
  return weight;
}

BatchNormLayerOptions counted_from_old(double weight, int channel_axis) {
  BatchNormLayerOptions options;
  options.momentum = Momentum::old_weight(weight);
  options.running_variance = RunningVariance::biased;
  options.channel_axis = channel_axis;
  return options;
}

}  // namespace

Momentum::Momentum(double new_weight, Location where) : Momentum(Kind::new_weight, checked(new_weight, where)) {
  if (new_weight >= 0.9) {
    note_once(
        fmt::format("batch_norm: {0} is the weight of the NEW batch here; Keras {0} is Momentum::old_weight({0}). "
                    "({1})",
                    new_weight, to_string(where)));
  }
}

Momentum Momentum::new_weight(double w, Location where) { return Momentum(Kind::new_weight, checked(w, where)); }
Momentum Momentum::old_weight(double w, Location where) { return Momentum(Kind::old_weight, checked(w, where)); }

std::string Momentum::describe() const {
  switch (kind_) {
    case Kind::new_weight:
      return fmt::format("new {}", weight_);
    case Kind::old_weight:
      return fmt::format("old {}", weight_);
    case Kind::cumulative:
      return "cumulative";
    case Kind::by_count:
      break;
  }
  return "cumulative by count";
}

BatchNormLayerOptions BatchNormLayerOptions::keras() {
  BatchNormLayerOptions options = counted_from_old(0.99, -1);
  options.eps = 1e-3;
  return options;
}

BatchNormLayerOptions BatchNormLayerOptions::flax() { return counted_from_old(0.99, -1); }

BatchNormLayerOptions BatchNormLayerOptions::mlx() {
  BatchNormLayerOptions options;
  options.channel_axis = -1;
  return options;
}

BatchNormLayerOptions BatchNormLayerOptions::onnx() { return counted_from_old(0.9, 1); }

BatchNormLayerOptions BatchNormLayerOptions::cs231n() {
  BatchNormLayerOptions options = counted_from_old(0.9, 1);
  options.initial_variance = 0;
  return options;
}

BatchNormLayerOptions BatchNormLayerOptions::paper() {
  BatchNormLayerOptions options;
  options.momentum = Momentum::cumulative();
  return options;
}

}  // namespace ebb::nn
