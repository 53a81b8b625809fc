// Data in memory, and mini-batches of it.
//
// An order is drawn from a seed and the number of the epoch alone, so that a run can be repeated from the start or from
// any epoch, on any platform.
#pragma once

#include <ebb/engine/random/philox.h>
#include <ebb/engine/tensor/tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace ebb::nn {

/// Samples and their labels: row i of x belongs to label i. A mini-batch is one too.
struct Dataset {
  Tensor x;       ///< [N, ...]
  Tensor labels;  ///< i64 [N]

  std::int64_t size() const { return labels.numel(); }
};

/// The rows of a tensor in the order of `rows`.
///
/// Shapes    x [N, ...] -> [rows, ...].
/// Throws    ShapeError if x has no rows; UsageError for a row outside of 0 .. N - 1.
Tensor take_rows(const Tensor& x, std::span<const std::int64_t> rows);
Dataset take_rows(const Dataset& data, std::span<const std::int64_t> rows);

struct Split {
  Dataset train;
  Dataset test;
};

/// A random split: `train` samples, and all others. Throws UsageError unless 0 <= train <= data.size().
Split split(const Dataset& data, std::int64_t train, Random& random);

struct BatchOptions {
  std::uint64_t seed = 0;
  bool shuffle = true;
  bool drop_last = false;  ///< leave out a last batch that is smaller than the others
};

/// Mini-batches of a data set, in a new random order every epoch.
///
/// Throws    UsageError for a size below 1; ShapeError if x and labels have different lengths.
/// Example   nn::Batches batches(data, 60, {.seed = 1});
///           for (const nn::Dataset& batch : batches.epoch(3)) ...
class Batches {
 public:
  Batches(Dataset data, std::int64_t size, const BatchOptions& options = {});

  /// How many batches an epoch has.
  std::int64_t count() const;
  /// The batches of epoch k; what was returned before goes on with this epoch's order.
  class Epoch;
  Epoch epoch(std::int64_t k);

  class Iterator {
   public:
    const Dataset& operator*() const;
    Iterator& operator++();
    bool operator==(const Iterator& other) const { return at_ == other.at_; }

   private:
    friend class Batches;
    friend class Epoch;
    Iterator(const Batches* batches, std::int64_t at) : batches_(batches), at_(at) {}
    const Batches* batches_;
    std::int64_t at_;
    mutable std::optional<Dataset> batch_;
  };

 private:
  Dataset data_;
  std::int64_t size_;
  BatchOptions options_;
  std::vector<std::int64_t> order_;
};

class Batches::Epoch {
 public:
  Iterator begin() const { return {batches_, 0}; }
  Iterator end() const { return {batches_, batches_->count()}; }

 private:
  friend class Batches;
  explicit Epoch(const Batches* batches) : batches_(batches) {}
  const Batches* batches_;
};

}  // namespace ebb::nn
