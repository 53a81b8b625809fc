#include <ebb/engine/check/gradcheck.h>
#include <ebb/engine/check/slope.h>
#include <ebb/engine/check/terms.h>
#include <ebb/engine/check/tolerance.h>
#include <ebb/engine/random/philox.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/engine/row/structural.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace ebb {
namespace {

// A slope below so many times its own rounding error proves nothing.
constexpr double kDigits = 1000;
// The rounding error of a slope in the dtype it will run in, f32, relative to the terms it is the sum of: some eighty
// roundings. A slope that is 1e-5 of its terms is noise there, whatever f64 still sees of it.
constexpr double kRounding = 1e-5;
// What rounding leaves of terms that cancel, relative to them: no proof that a rule is wrong.
constexpr double kNoise = 1e-12;
// Slopes below the normal numbers have no digits left.
constexpr double kUnderflow = 1e3 * smallest_normal(DType::f64);
constexpr int kSample = 9;  // single elements that are looked at

// A stream of its own: weights equal to an input that was drawn with the same seed would be no random weights.
constexpr std::uint64_t kStream = 0x67726164;

// The States as they were, put back before each run and at the end.
class Snapshot {
 public:
  explicit Snapshot(const std::vector<State>& states) : states_(states) {
    for (const State& state : states_) {
      values_.push_back(state.value());
      versions_.push_back(state.version());
    }
  }
  ~Snapshot() { put_back(); }
  Snapshot(const Snapshot&) = delete;
  Snapshot& operator=(const Snapshot&) = delete;

  void put_back() {
    for (std::size_t i = 0; i < states_.size(); ++i) {
      if (states_[i].version() == versions_[i]) continue;
      states_[i].set(values_[i]);
      versions_[i] = states_[i].version();
    }
  }

 private:
  std::vector<State> states_;
  std::vector<Tensor> values_;
  std::vector<std::uint64_t> versions_;
};

std::string index_text(const Shape& shape, std::int64_t flat) {
  IntList index(shape);
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    index[static_cast<std::size_t>(axis)] = flat % shape[axis];
    flat /= shape[axis];
  }
  std::string text;
  for (std::int64_t i : index) text += fmt::format("{}{}", text.empty() ? "" : ", ", i);
  return fmt::format("[{}]", text);
}

class Check {
 public:
  Check(const GradcheckFunction& f, const std::vector<Tensor>& inputs, const GradcheckOptions& options)
      : f_(f), options_(options), snapshot_(options.states), random_(options.seed, kStream) {
    for (const Tensor& input : inputs) inputs_.push_back(is_floating(input.dtype()) ? input.to(DType::f64) : input);
  }

  GradcheckReport run() {
    GradcheckReport report;
    for (int order = 1; order <= std::max(1, options_.order); ++order) {
      order_ = order;
      prepare();
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        if (is_floating(inputs_[i].dtype()) && inputs_[i].numel() > 0) report.entries.push_back(check(i));
      }
    }
    return report;
  }

 private:
  struct Graph {
    std::unique_ptr<Tape> tape = std::make_unique<Tape>();
    Vars x;
    Vars outputs;  // f's, or at order 2 the gradients of <weights, outputs of order 1>
  };

  std::vector<Tensor>& weights(int order) { return weights_[static_cast<std::size_t>(order) - 1]; }

  Graph record(const std::vector<Tensor>& inputs) {
    snapshot_.put_back();
    Graph graph;
    for (const Tensor& input : inputs) graph.x.push_back(graph.tape->leaf(input));
    for (const Var& y : f_(graph.x)) {
      if (&y.tape() != graph.tape.get())
        throw UsageError("gradcheck: f returned a Var of a tape that is not its inputs'.");
      if (is_floating(y.dtype())) graph.outputs.push_back(y);
    }
    if (graph.outputs.empty())
      throw UsageError("gradcheck: f returned no floating Var, there is nothing to differentiate.");
    for (int order = 1; order < order_; ++order) {
      Vars next;
      for (const std::optional<Var>& g : gradients(graph, weights(order))) {
        if (g) next.push_back(*g);
      }
      graph.outputs = next;
    }
    return graph;
  }

  // By every input, nothing where no output depends on it.
  std::vector<std::optional<Var>> gradients(Graph& graph, const std::vector<Tensor>& weights) const {
    std::vector<std::optional<Var>> sums(graph.x.size());
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      const Var y = graph.outputs[k];
      const std::vector<bool> on_path = reached(*graph.tape, y.id());
      Vars wrt;
      std::vector<std::size_t> which;
      for (std::size_t i = 0; i < graph.x.size(); ++i) {
        if (graph.x[i].id() >= on_path.size() || !on_path[graph.x[i].id()]) continue;
        wrt.push_back(graph.x[i]);
        which.push_back(i);
      }
      if (wrt.empty()) continue;
      const Vars found = pullback(y, graph.tape->leaf(weights.at(k)), wrt, {.keep = true, .unused = {}});
      for (std::size_t i = 0; i < which.size(); ++i) {
        std::optional<Var>& sum = sums[which[i]];
        sum = sum ? add(*sum, found[i]) : found[i];
      }
    }
    return sums;
  }

  // <weights, outputs> at the inputs.
  double project(const std::vector<Tensor>& inputs) {
    const Graph graph = record(inputs);
    double sum = 0;
    for (std::size_t k = 0; k < graph.outputs.size(); ++k) {
      const Tensor& y = graph.outputs[k].value();
      const Tensor& u = weights(order_).at(k);
      for (std::int64_t i = 0; i < y.numel(); ++i) sum += u.at(i) * y.at(i);
    }
    return sum;
  }

  // Everything at the inputs themselves: weights, the gradient, the rounding error of one value.
  void prepare() {
    weights_.resize(static_cast<std::size_t>(order_));
    here_ = record(inputs_);
    // A gradient is wrong by the rounding of the terms it is what is left of, however small it is itself.
    noise_ = epsilon(DType::f64) * std::exchange(largest_terms_, 0);
    size_ = 0;
    for (const Var& y : here_.outputs) {
      Tensor u = Tensor::empty(y.shape(), y.dtype());
      random_.fill_normal(u);
      for (std::int64_t i = 0; i < u.numel(); ++i) {
        const double term = u.at(i) * y.value().at(i);
        noise_ += epsilon(y.dtype()) * std::fabs(term);
        size_ += term * term;
      }
      weights(order_).push_back(u);
    }
    size_ = std::sqrt(size_);
    const double first = project(inputs_);
    const double second = project(inputs_);
    if (first != second && !(std::isnan(first) && std::isnan(second))) {
      throw UsageError(
          fmt::format("gradcheck: f gives two results for one input, {} and {}. Name the States that it "
                      "depends on in GradcheckOptions::states.",
                      first, second));
    }
    gradient_.assign(inputs_.size(), {});
    if (order_ == 1) cotangents_ = cotangents(*here_.tape, here_.outputs, weights(1));
    const auto found = gradients(here_, weights(order_));
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      gradient_[i].resize(static_cast<std::size_t>(inputs_[i].numel()));
      if (!found[i]) continue;
      for (std::size_t j = 0; j < gradient_[i].size(); ++j) {
        gradient_[i][j] = found[i]->value().at(static_cast<std::int64_t>(j));
      }
    }
  }

  std::vector<Tensor> moved(std::size_t input, std::span<const double> direction, double t) const {
    std::vector<Tensor> inputs = inputs_;
    const std::span<double> x = inputs[input].mutable_data<double>();
    for (std::size_t j = 0; j < x.size(); ++j) x[j] += t * direction[j];
    return inputs;
  }

  double scale_of(std::size_t input) const {
    double sum = 0;
    for (double x : inputs_[input].data<double>()) sum += x * x;
    const double scale = std::sqrt(sum / static_cast<double>(inputs_[input].numel()));
    return scale > 0 && std::isfinite(scale) ? scale : 1;
  }

  Slope numeric(std::size_t input, std::span<const double> direction) {
    return slope([&](double t) { return project(moved(input, direction, t)); }, scale_of(input), noise_);
  }
  double analytic(std::size_t input, std::span<const double> direction) const {
    return std::inner_product(direction.begin(), direction.end(), gradient_[input].begin(), 0.0);
  }

  // The verdict on one direction, written into the entry.
  void judge(GradcheckEntry& entry, std::span<const double> direction) {
    const std::size_t i = entry.input;
    const Slope found = numeric(i, direction);
    entry.analytic = analytic(i, direction);
    entry.numeric = found.value;
    entry.uncertainty = found.uncertainty;
    entry.step = found.step;
    entry.terms = order_ == 1 ? terms(i, direction, found.step) : size_ / scale_of(i);
    largest_terms_ = std::max(largest_terms_, entry.terms);
    const double slopes = std::max(std::fabs(entry.analytic), std::fabs(entry.numeric));
    const double difference = std::fabs(entry.analytic - entry.numeric);
    const bool constant = std::ranges::count(options_.constant, i) > 0;
    const double rounding = std::max(entry.uncertainty, kRounding * entry.terms);
    const auto is = [&](GradcheckVerdict verdict) { entry.verdict = verdict; };
    if (!std::isfinite(entry.analytic) || !std::isfinite(entry.uncertainty)) {
      is(GradcheckVerdict::unresolved);
    } else if (!(difference <=
                 options_.tolerance * slopes + 10 * entry.uncertainty + kNoise * entry.terms + kUnderflow)) {
      is(GradcheckVerdict::wrong);
    } else if (order_ == 1 && constant) {
      const bool vanishes = slopes <= kDigits * entry.uncertainty + 1e-9 * entry.terms;
      is(vanishes ? GradcheckVerdict::right : GradcheckVerdict::wrong);
    } else if (order_ == 1 && slopes <= kDigits * rounding + kUnderflow) {
      is(GradcheckVerdict::vacuous);
    } else {  // the second derivative of a linear function is 0, and rightly so
      const bool resolved = kDigits * entry.uncertainty <= std::max(slopes, entry.terms);
      is(resolved ? GradcheckVerdict::right : GradcheckVerdict::unresolved);
    }
  }

  double terms(std::size_t input, std::span<const double> direction, double h) {
    if (h == 0) return 0;
    const Graph before = record(moved(input, direction, -h));
    const Graph after = record(moved(input, direction, h));
    return size_of_terms(*here_.tape, cotangents_, *before.tape, *after.tape, h);
  }

  GradcheckEntry check(std::size_t input) {
    GradcheckEntry worst;
    worst.order = order_;
    worst.input = input;
    const std::string given = input < options_.names.size() ? options_.names[input] : fmt::format("input {}", input);
    worst.name = fmt::format("{} {}", given, describe(inputs_[input]));
    // A small slope may be chance: vacuous is what is so in every direction. Anything else counts at once.
    GradcheckEntry entry = worst;
    std::vector<double> direction(static_cast<std::size_t>(inputs_[input].numel()));
    for (int d = 0; d < std::max(1, options_.directions); ++d) {
      for (double& v : direction) v = random_.normal();
      judge(entry, direction);
      const auto rank = [](GradcheckVerdict v) {
        switch (v) {
          case GradcheckVerdict::vacuous:
            return 0;
          case GradcheckVerdict::right:
            return 1;
          case GradcheckVerdict::unresolved:
            return 2;
          case GradcheckVerdict::wrong:
            break;
        }
        return 3;
      };
      const auto off = [](const GradcheckEntry& e) { return std::fabs(e.analytic - e.numeric); };
      if (d == 0 || rank(entry.verdict) > rank(worst.verdict) ||
          (entry.verdict == worst.verdict && off(entry) > off(worst))) {
        worst = entry;
      }
      if (worst.verdict == GradcheckVerdict::wrong) {
        find_element(worst, direction);
        break;
      }
    }
    if (order_ == 1 && worst.verdict == GradcheckVerdict::right && std::ranges::count(options_.constant, input) == 0 &&
        mostly_vacuous(worst)) {
      worst.verdict = GradcheckVerdict::vacuous;
    }
    worst.text = describe(worst);
    return worst;
  }

  // Whether the slope vanishes by most of a sample of single elements, though a few hide it in every direction: with
  // two values per channel, those of a channel whose two are nearly equal.
  bool mostly_vacuous(GradcheckEntry& entry) {
    const std::int64_t n = inputs_[entry.input].numel();
    int seen = 0;
    int vacuous = 0;
    double slope = 0;
    double size = 0;
    for (int k = 0; k < kSample; ++k) {
      std::vector<double> one(static_cast<std::size_t>(n));
      const std::size_t j = static_cast<std::size_t>(n <= kSample ? k % n : random_.integer(n));
      one[j] = 1;
      const double by_terms = terms(entry.input, one, entry.step);
      if (by_terms == 0) continue;
      ++seen;
      if (std::fabs(gradient_[entry.input][j]) > kDigits * kRounding * by_terms) continue;
      ++vacuous;
      slope = gradient_[entry.input][j];
      size = by_terms;
    }
    if (2 * vacuous <= seen) return false;
    entry.numeric = slope;
    entry.terms = size;
    return true;
  }

  // Halves the direction, keeps the half that is further off, and looks at the last few elements one by one.
  void find_element(GradcheckEntry& entry, std::span<const double> direction) {
    std::size_t begin = 0;
    std::size_t end = direction.size();
    const auto off = [&](std::size_t from, std::size_t to) {
      std::vector<double> part(direction.size());
      std::copy(direction.begin() + static_cast<std::ptrdiff_t>(from),
                direction.begin() + static_cast<std::ptrdiff_t>(to), part.begin() + static_cast<std::ptrdiff_t>(from));
      return std::fabs(analytic(entry.input, part) - numeric(entry.input, part).value);
    };
    while (end - begin > 16) {
      const std::size_t middle = begin + (end - begin) / 2;
      (off(begin, middle) >= off(middle, end) ? end : begin) = middle;
    }
    double largest = -1;
    for (std::size_t j = begin; j < end; ++j) {
      std::vector<double> one(direction.size());
      one[j] = 1;
      const double value = numeric(entry.input, one).value;
      const double gradient = gradient_[entry.input][j];
      if (std::fabs(value - gradient) <= largest) continue;
      largest = std::fabs(value - gradient);
      entry.element = index_text(inputs_[entry.input].shape(), static_cast<std::int64_t>(j));
      entry.element_analytic = gradient;
      entry.element_numeric = value;
    }
  }

  const GradcheckFunction& f_;
  const GradcheckOptions& options_;
  Snapshot snapshot_;
  Random random_;
  std::vector<Tensor> inputs_;
  std::vector<std::vector<Tensor>> weights_;
  int order_ = 1;
  Graph here_;
  Cotangents cotangents_;
  std::vector<std::vector<double>> gradient_;
  double noise_ = 0;  // the rounding error of one projection, at least
  double largest_terms_ = 0;
  double size_ = 0;  // the root of the sum of squares of weight * output
};

}  // namespace

GradcheckReport gradcheck_function(const GradcheckFunction& f, const std::vector<Tensor>& inputs,
                                   const GradcheckOptions& options) {
  return Check(f, inputs, options).run();
}

}  // namespace ebb
