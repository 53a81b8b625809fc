#include <ebb/engine/error.h>
#include <ebb/nn/data/dataset.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ebb::nn {

Tensor take_rows(const Tensor& x, std::span<const std::int64_t> rows) {
  if (x.rank() == 0) throw ShapeError(fmt::format("take_rows: {} has no rows.", describe(x)));
  Shape shape = x.shape();
  const std::int64_t n = shape[0];
  shape[0] = static_cast<std::int64_t>(rows.size());
  Tensor out = Tensor::empty(shape, x.dtype());
  const std::size_t width = n == 0 ? 0 : x.bytes() / static_cast<std::size_t>(n);
  std::byte* to = out.mutable_raw();
  for (const std::int64_t row : rows) {
    if (row < 0 || row >= n) throw UsageError(fmt::format("take_rows: row {} is outside of 0 .. {}.", row, n - 1));
    std::memcpy(to, x.raw() + static_cast<std::size_t>(row) * width, width);
    to += width;
  }
  return out;
}

Dataset take_rows(const Dataset& data, std::span<const std::int64_t> rows) {
  return {take_rows(data.x, rows), take_rows(data.labels, rows)};
}

Split split(const Dataset& data, std::int64_t train, Random& random) {
  if (train < 0 || train > data.size()) {
    throw UsageError(fmt::format("split: {} samples to train with, of {}.", train, data.size()));
  }
  const std::vector<std::int64_t> order = random.permutation(data.size());
  const auto first = static_cast<std::size_t>(train);
  return {take_rows(data, std::span(order).first(first)), take_rows(data, std::span(order).subspan(first))};
}

Batches::Batches(Dataset data, std::int64_t size, const BatchOptions& options)
    : data_(std::move(data)), size_(size), options_(options) {
  if (size < 1) throw UsageError(fmt::format("batches: the size of a batch must be positive, got {}.", size));
  if (data_.x.rank() == 0 || data_.labels.rank() != 1 || data_.x.shape()[0] != data_.size()) {
    throw ShapeError(
        fmt::format("batches: x {} and labels {} differ in length.", describe(data_.x), describe(data_.labels)));
  }
  order_.resize(static_cast<std::size_t>(data_.size()));
}

std::int64_t Batches::count() const {
  return options_.drop_last ? data_.size() / size_ : (data_.size() + size_ - 1) / size_;
}

Batches::Epoch Batches::epoch(std::int64_t k) {
  std::iota(order_.begin(), order_.end(), 0);
  if (options_.shuffle) {  // Fisher and Yates, from a stream of this epoch's own
    Random random(options_.seed, static_cast<std::uint64_t>(k));
    for (std::size_t i = order_.size(); i > 1; --i) {
      std::swap(order_[i - 1], order_[static_cast<std::size_t>(random.integer(static_cast<std::int64_t>(i)))]);
    }
  }
  return Epoch(this);
}

const Dataset& Batches::Iterator::operator*() const {
  if (!batch_) {
    const std::int64_t first = at_ * batches_->size_;
    const std::int64_t n = std::min(batches_->size_, batches_->data_.size() - first);
    batch_ =
        take_rows(batches_->data_,
                  std::span(batches_->order_).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(n)));
  }
  return *batch_;
}

Batches::Iterator& Batches::Iterator::operator++() {
  ++at_;
  batch_.reset();
  return *this;
}

}  // namespace ebb::nn
