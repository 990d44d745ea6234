// Several data sets in one run: which of them each batch comes from. A batch comes from one data set (one
// task a batch: CoDiEmb, arXiv 2508.11442), the same on every rank.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace toller {

struct DataMixOptions {
  std::uint64_t seed = 1;
  /// Shares of the data sets in the batches; empty: by size.
  std::vector<double> weights = {};
  /// By size: shares ∝ batches^α. 1: every data set is passed once an epoch; 0: equal shares.
  double alpha = 1;
};

/// An epoch is as many batches as the data sets have together, in an order of its own: each data set has its
/// share of them, rounded, at least one. A data set goes through its own batches one after the other, over as
/// many epochs of its own as its share makes, and nothing is dropped. Where a batch comes from is a function
/// of (seed, index) alone, so that a resumed run goes on where it stopped.
class DataMix {
 public:
  /// `batches`: of an epoch of each data set, at least one. UsageError unless there are as many weights as
  /// data sets, finite and above 0.
  DataMix(std::span<const std::int64_t> batches, const DataMixOptions& options);

  struct Draw {
    std::int64_t data_set = 0;
    std::int64_t index = 0;  ///< batch of the data set, from 0 on through all its epochs
  };
  /// Batch number `index` of the run, from 0.
  Draw at(std::int64_t index);

  std::int64_t batches_per_epoch() const { return batches_per_epoch_; }
  /// Batches of a data set in an epoch.
  std::int64_t share(std::int64_t data_set) const { return shares_[data_set]; }

 private:
  void order_epoch(std::int64_t epoch);

  std::uint64_t seed_;
  std::vector<std::int64_t> shares_;
  std::int64_t batches_per_epoch_ = 0;
  std::vector<Draw> order_;  ///< of the current epoch
  std::int64_t epoch_ = -1;
};

}  // namespace toller
