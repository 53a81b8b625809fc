#include <ebb/engine/check/row/row_check.h>

#include <ebb/engine/check/gradcheck.h>
#include <ebb/engine/check/row/lane_check.h>
#include <ebb/engine/check/row/program_check.h>
#include <ebb/engine/check/verify.h>
#include <ebb/engine/dump/dump.h>
#include <ebb/engine/grad/grad.h>
#include <ebb/engine/threads/pool.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

namespace ebb {
namespace {

constexpr std::int64_t kGradcheckElements = 2000;  // differences of larger inputs take long and show no more

class ThreadsAsBefore {
 public:
  ~ThreadsAsBefore() { set_threads(before_); }

 private:
  int before_ = threads();
};

class Check {
 public:
  Check(const Row& row, const RowCheckOptions& options) : row_(row), options_(options) {
    report_.row = std::string(row.name);
  }

  RowReport run() {
    if (!declaration()) return report_;
    report_.checks += check_lanes(row_, report_.failures);
    sound_ = report_.passed();
    for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::boolean}) {
      for (const RowSample& sample : samples_of(row_, dtype)) look_at(sample);
    }
    for (const RowSample& sample : options_.samples) look_at(sample);
    require(report_.samples > 0, "no sample calls it: give examples, or lanes and an oracle");
    derivatives();
    return report_;
  }

 private:
  bool require(bool holds, std::string_view what) {
    ++report_.checks;
    if (!holds) report_.failures.push_back(what_.empty() ? std::string(what) : fmt::format("{}: {}", what_, what));
    return holds;
  }

  bool declaration() {
    bool good = require(!row_.name.empty(), "it has no name");
    good &= require(row_.kind != Kind::source, "a source has no inputs, there is nothing to check");
    good &= require(row_.type != nullptr, "it has no type rule");
    good &= require(row_.arity >= -1, "its arity is below -1");
    good &= require(callable(row_) || !options_.samples.empty(), "it has neither examples, nor lanes and an oracle");
    good &= require(row_.oracle || options_.oracle, "it has no oracle: nothing says that its value is right");
    if (row_.expression) {
      const std::vector<lane::Symbol> symbols{lane::Symbol::name("a"), lane::Symbol::name("b"), lane::Symbol::name("c"),
                                              lane::Symbol::name("d")};
      good &= require(!row_.expression(symbols).text().empty(), "its lambda prints nothing");
    }
    return good;
  }

  // Everything but the derivative's value.
  void look_at(const RowSample& sample) {
    ++report_.samples;
    what_ = sample.what;
    try {
      if (types(sample)) {
        value(sample);
        any_number_of_threads(sample);
        cotangents(sample);
        if (sound_) report_.checks += check_programs(sample, options_.passes, report_.failures);
      }
    } catch (const Error& error) {
      require(false, error.what());
    }
    what_.clear();
  }

  bool types(const RowSample& sample) {
    Tape trace(Tape::Mode::trace);  // what the type rule says
    const Var said = sample.record(trace);
    Tape tape;
    const Tensor value = sample.record(tape).value();
    const bool good = require(value.shape() == said.shape() && value.dtype() == said.dtype(),
                              fmt::format("its kernel gives {}, its type rule says {}{}", describe(value),
                                          name(said.dtype()), to_string(said.shape()))) &&
                      require(value.has_buffer() || value.numel() == 0, "its kernel gives no value");
    if (!good) return false;
    verify(tape);
    return require(dump(tape).find(row_.name) != std::string::npos, "a dump does not name it");
  }

  void value(const RowSample& sample) {
    std::vector<Dense> inputs;
    for (const Tensor& t : sample.inputs) inputs.push_back(Dense::of(t));
    const Expected want = options_.oracle ? options_.oracle(sample, inputs) : expected_elementwise(sample, inputs);
    Tape tape;
    const Var out = sample.record(tape);
    const Dense got = Dense::of(out.value());
    if (!require(got.shape == want.value.shape,
                 fmt::format("its shape is {}, should be {}", to_string(got.shape), to_string(want.value.shape)))) {
      return;
    }
    for (std::size_t i = 0; i < got.at.size(); ++i) {
      const double x = static_cast<double>(got.at[i]);
      const bool right = is_floating(out.dtype())
                             ? within_ulp(x, want.value.at[i], want.scale[i], row_.ulp, out.dtype())
                             : got.at[i] == want.value.at[i];  // a double does not hold every i64
      if (!require(right, fmt::format("element {} is {:.17g}, should be {:.17g} to {} ulp", i, x,
                                      static_cast<double>(want.value.at[i]), row_.ulp))) {
        return;
      }
    }
  }

  void any_number_of_threads(const RowSample& sample) {
    const ThreadsAsBefore before;
    Tensor first;
    for (const int n : {1, 2, 5}) {
      set_threads(n);
      Tape tape;
      const Tensor value = sample.record(tape).value();
      if (n == 1) first = value;
      if (!require(identical(first, value), fmt::format("{} threads give other bits than one", n))) return;
    }
  }

  // Rules run on every sample, at two orders, and give cotangents of the right type. That they are right is gradcheck's
  // business.
  void cotangents(const RowSample& sample) {
    Tape tape;
    std::vector<Operand> operands;
    for (const Tensor& t : sample.inputs) operands.emplace_back(tape.leaf(t), Location{});
    const Var out = tape.record(row_, operands, sample.attrs);
    if (!is_floating(out.dtype())) return;
    for (std::size_t i = 0; i < operands.size(); ++i) {
      const Var x = operands[i];
      if (!row_.vjp[i].differentiable() || !is_floating(x.dtype())) continue;
      const Var d = pullback(out, 1.0, x);
      const auto right = [&](const Var& v) { return v.shape() == x.shape() && v.dtype() == x.dtype(); };
      const auto text = [&](const Var& v) {
        return fmt::format("its cotangent of input {} is {}, the input {}", i, describe(v.value()),
                           describe(x.value()));
      };
      if (!require(right(d), text(d))) return;
      const Var second = pullback(d, 1.0, x);
      require(right(second), text(second));
    }
    verify(tape);
  }

  // Two orders against differences of values, on random projections. One sample may show no slope, as where() of a
  // condition that never holds; not all of a row's samples may.
  void derivatives() {
    std::set<std::size_t> vacuous, proved;  // inputs
    std::vector<RowSample> samples = samples_of(row_, DType::f64);
    samples.insert(samples.end(), options_.samples.begin(), options_.samples.end());
    for (const RowSample& sample : samples) {
      what_ = sample.what;
      try {
        if (can_be_differenced(sample)) gradcheck_sample(sample, vacuous, proved);
      } catch (const Error& error) {
        require(false, error.what());
      }
    }
    what_.clear();
    for (const std::size_t i : vacuous) {
      require(proved.contains(i), fmt::format("no sample shows a slope by input {}", i));
    }
  }

  bool can_be_differenced(const RowSample& sample) const {
    bool any = false;
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      const Tensor& input = sample.inputs[i];
      if (input.numel() > kGradcheckElements || input.dtype() == DType::f32) return false;
      any |= row_.vjp[i].differentiable() && is_floating(input.dtype());
    }
    Tape trace(Tape::Mode::trace);
    const Var out = sample.record(trace);
    // A cast to f32 and back rounds too much to be differentiated by differences.
    return any && out.dtype() == DType::f64 && out.numel() > 0;
  }

  void gradcheck_sample(const RowSample& sample, std::set<std::size_t>& vacuous, std::set<std::size_t>& proved) {
    GradcheckOptions options;
    options.directions = 2;
    const auto f = [&](std::span<const Var> x) {
      return Vars{x[0].tape().record(row_, std::vector<Operand>(x.begin(), x.end()), sample.attrs)};
    };
    for (const GradcheckEntry& entry : gradcheck_function(f, sample.inputs, options).entries) {
      require(entry.verdict == GradcheckVerdict::right || entry.verdict == GradcheckVerdict::vacuous, entry.text);
      if (entry.order == 1) (entry.verdict == GradcheckVerdict::right ? proved : vacuous).insert(entry.input);
    }
  }

  const Row& row_;
  const RowCheckOptions& options_;
  RowReport report_;
  bool sound_ = false;  // its lanes, which a program would let write into what lies beside
  std::string what_;    // the sample being looked at
};

}  // namespace

std::string RowReport::text() const {
  if (passed()) return fmt::format("{}: passed, {} checks on {} samples", row, checks, samples);
  std::string out = fmt::format("{}: failed, {} of {} checks on {} samples", row, failures.size(), checks, samples);
  for (const std::string& failure : failures) out += "\n  " + failure;
  return out;
}

RowReport report_row(const Row& row, const RowCheckOptions& options) { return Check(row, options).run(); }

void check_row(const Row& row, const RowCheckOptions& options) {
  const RowReport report = report_row(row, options);
  if (!report.passed()) throw Error(report.text());
}

}  // namespace ebb
