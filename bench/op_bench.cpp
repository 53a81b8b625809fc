// op_bench: every elementwise row and every reduction row beside libtorch's op, on a million numbers of f32.
//
// A loop over the table of rows: a new row is timed without a word here, and compared as soon as it is in the list of
// peers/libtorch_ops.cpp. Both sides read the same random inputs from the row's domain, results are checked against
// each other first, and each run gives a new tensor, as in a user's program. Ebb's side is a record on a tape, the
// value and a rewind: large ops wait for someone to ask for their value, so it is asked for.
#include <ebb/ebb.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>

#include "bench/peers/op_peer.h"
#include "bench/peers/timing.h"

namespace ebb::bench {
namespace {

struct Options {
  std::vector<std::string> rows;
  std::vector<int> threads{1};
  std::int64_t side = 1000;
  int rounds = 9;
};

#ifdef EBB_BENCH_LIBTORCH
bool has_parameter(const std::string& row) { return libtorch_op_has_parameter(row); }
std::unique_ptr<OpPeer> peer_of(const OpCall& call) { return make_libtorch_op(call); }
#else
bool has_parameter(const std::string&) { return false; }
std::unique_ptr<OpPeer> peer_of(const OpCall&) { return nullptr; }
#endif

/// One row, called one way.
class Case {
 public:
  Case(const Row& row, const IntList& axes, std::int64_t side) : row_(row) {
    Random random(7);
    const bool reduction = row.kind == Kind::reduction;
    const auto f32 = static_cast<std::size_t>(DType::f32);
    const bool numbers = reduction ? row.reducer[0]->by_dtype[f32] != nullptr : row.lanes[0]->by_dtype[f32] != nullptr;
    call_.row = row.name;
    call_.shape = {side, side};
    label_ = row.name;
    call_.parameter = 0.25;
    const bool parameter = has_parameter(call_.row);
    for (int i = 0; i < (reduction ? 1 : row.arity); ++i) {
      if (parameter && i + 1 == row.arity) {
        inputs_.emplace_back(call_.parameter);
        break;
      }
      const bool truth = !numbers || (row.signature == Signature::select && i == 0);
      Tensor x = Tensor::empty({side, side}, DType::f32);
      random.fill_uniform(x, truth ? 0 : row.domain.lo, truth ? 2 : row.domain.hi);
      if (truth) x = reduction ? undecided(row, x.shape()) : x.to(DType::i64).to(DType::boolean);
      inputs_.push_back(tape_.leaf(x));
      call_.inputs.push_back({inputs_.back().var().value().raw(), truth});
    }
    if (reduction) {
      attrs_ = row.examples()[0].attrs;
      for (Attr& attr : attrs_) {
        if (attr.name == "axes") attr.value = axes;
        if (attr.name == "keepdim") attr.value = false;
      }
      call_.axes.assign(axes.begin(), axes.end());
      label_ += axes.size() == 2 ? " of all" : axes[0] == 1 ? " of rows" : " of columns";
    }
    start_.emplace(tape_.mark());
  }

  const std::string& label() const { return label_; }
  const OpCall& call() const { return call_; }

  // Truth values of which each must be looked at: all of them what the row gives of none.
  Tensor undecided(const Row& row, const Shape& shape) {
    const Var nothing = tape_.leaf(Tensor::zeros({0}, DType::boolean));
    const Var start = tape_.record(row, {nothing}, {{"axes", IntList{0}}, {"keepdim", false}});
    return Tensor::full(shape, start.item(), DType::boolean);
  }

  Tensor run() {
    const Tensor value = tape_.record(row_, inputs_, attrs_).value();
    tape_.rewind(*start_);
    return value;
  }

 private:
  const Row& row_;
  Tape tape_;
  std::vector<Operand> inputs_;
  std::vector<Attr> attrs_;
  std::optional<Tape::Mark> start_;
  OpCall call_;
  std::string label_;
};

std::vector<std::unique_ptr<Case>> cases_of(const Row& row, std::int64_t side) {
  std::vector<std::unique_ptr<Case>> out;
  if (row.kind == Kind::elementwise && row.lanes[0]) {
    out.push_back(std::make_unique<Case>(row, IntList{}, side));
  } else if (row.kind == Kind::reduction && row.reducer[0] && row.examples) {
    for (const IntList& axes : {IntList{0, 1}, IntList{1}, IntList{0}}) {
      out.push_back(std::make_unique<Case>(row, axes, side));
    }
  }
  return out;
}

/// What is wrong with the results, or nothing.
std::string compare(const Tensor& got, const std::vector<double>& want) {
  if (got.numel() != static_cast<std::int64_t>(want.size())) return "another number of elements";
  for (std::int64_t i = 0; i < got.numel(); ++i) {
    const double a = got.at(i), b = want[static_cast<std::size_t>(i)];
    if (a == b || (std::isnan(a) && std::isnan(b)) || std::abs(a - b) <= 1e-4 * std::max(1.0, std::abs(b))) continue;
    return "element " + std::to_string(i) + " is " + std::to_string(a) + ", the peer's is " + std::to_string(b);
  }
  return {};
}

bool report(const Options& options) {
#ifndef EBB_BENCH_LIBTORCH
  std::puts("libtorch is not installed: there is nothing to compare with (./dev deps --peers).");
#endif
  std::printf("%lld numbers of f32; microseconds, medians of %d interleaved rounds; a ratio above 1: Ebb is faster.\n",
              static_cast<long long>(options.side * options.side), options.rounds);
  bool right = true;
  for (const int threads : options.threads) {
    std::printf("\n%-22s %2s %10s %10s %7s\n", "row", "th", "ebb", "libtorch", "ratio");
    Bar bar;
    for (const Row* row : all_rows()) {
      if (!options.rows.empty() && std::ranges::find(options.rows, row->name) == options.rows.end()) continue;
      for (const auto& one : cases_of(*row, options.side)) {
        set_threads(threads);
        const auto peer = peer_of(one->call());
        if (peer) {
          peer->activate(threads);
          peer->run();
          if (const std::string wrong = compare(one->run(), peer->result()); !wrong.empty()) {
            std::printf("%-22s is WRONG and not timed: %s\n", one->label().c_str(), wrong.c_str());
            right = false;
            continue;
          }
        }
        std::vector<double> own, other;
        for (int round = 0; round < options.rounds; ++round) {
          own.push_back(sample([&] { one->run(); }));
          if (!peer) continue;
          peer->activate(threads);
          other.push_back(sample([&] { peer->run(); }));
        }
        std::printf("%-22s %2d %10.1f", one->label().c_str(), threads, median(own) * 1e6);
        if (peer) {
          const double ratio = median_ratio(other, own);
          bar.add(one->label(), ratio);
          std::printf(" %10.1f %7.2f\n", median(other) * 1e6, ratio);
        } else {
          std::printf(" %10s\n", "no peer");
        }
        std::fflush(stdout);
      }
    }
    bar.print("libtorch / ebb:", 1.3, 0.8);
  }
  return right;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app("Every elementwise and reduction row, Ebb's and libtorch's.");
  app.add_option("--rows", options.rows, "Only these, such as exp,sum")->delimiter(',');
  app.add_option("--threads", options.threads, "Such as 1 or 1,2")->delimiter(',')->check(CLI::Range(1, 1024));
  app.add_option("--side", options.side, "Inputs are [side, side]")->check(CLI::Range(1, 20000));
  app.add_option("--rounds", options.rounds, "Samples of each")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);
  return report(options) ? 0 : 1;
}

}  // namespace
}  // namespace ebb::bench

int main(int argc, char** argv) { return ebb::bench::run(argc, argv); }
