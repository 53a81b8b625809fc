#include <ebb/nn/training.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

namespace ebb::nn {

Evaluating::Evaluating(Module& module) {
  const auto remember = [&](auto& self, Module& m) -> void {
    before_.emplace_back(&m, m.training());
    for (Module* child : m.children()) self(self, *child);
  };
  remember(remember, module);
  module.eval();
}

Evaluating::~Evaluating() {
  // Parents first: what they set below is then set right.
  for (const auto& [module, training] : before_) module->train(training);
}

Tensor predict(Module& module, const Tensor& x, std::int64_t batch) {
  if (x.rank() == 0 || x.numel() == 0) throw ShapeError(fmt::format("predict: {} has no rows.", describe(x)));
  if (batch < 1) throw UsageError(fmt::format("predict: the size of a batch must be positive, got {}.", batch));
  const Evaluating evaluating(module);
  const std::int64_t n = x.shape()[0];
  Tensor all;
  std::size_t done = 0;
  Tape tape;
  std::vector<std::int64_t> rows;
  for (std::int64_t first = 0; first < n; first += batch) {
    rows.resize(static_cast<std::size_t>(std::min(batch, n - first)));
    std::iota(rows.begin(), rows.end(), first);
    const Tensor part = tape.step([&] { return module(tape.leaf(take_rows(x, rows), "x")).value(); });
    if (first == 0) {
      Shape shape = part.shape();
      shape[0] = n;
      all = Tensor::empty(shape, part.dtype());
    }
    std::memcpy(all.mutable_raw() + done, part.raw(), part.bytes());
    done += part.bytes();
  }
  return all;
}

double accuracy(const Tensor& scores, const Tensor& labels) {
  if (labels.dtype() != DType::i64) {
    throw DTypeError(
        fmt::format("accuracy: labels must be i64, got {}. Convert them with to(DType::i64).", describe(labels)));
  }
  if (scores.rank() != 2 || labels.rank() != 1 || scores.shape()[0] != labels.numel() || scores.numel() == 0) {
    throw ShapeError(
        fmt::format("accuracy: scores {} and labels {} do not belong together. Scores are [N, C], labels [N].",
                    describe(scores), describe(labels)));
  }
  const std::int64_t classes = scores.shape()[1];
  const auto wanted = labels.data<std::int64_t>();
  std::int64_t right = 0;
  for (std::int64_t i = 0; i < labels.numel(); ++i) {
    std::int64_t best = -1;
    for (std::int64_t c = 0; c < classes; ++c) {
      const double score = scores.at(i * classes + c);
      if (!std::isnan(score) && (best < 0 || score > scores.at(i * classes + best))) best = c;
    }
    right += best == wanted[static_cast<std::size_t>(i)];
  }
  return static_cast<double>(right) / static_cast<double>(labels.numel());
}

double accuracy(Module& module, const Dataset& data) { return accuracy(predict(module, data.x), data.labels); }

}  // namespace ebb::nn
