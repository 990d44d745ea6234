#include "data/data_mix.h"

#include <cmath>
#include <numeric>
#include <utility>

#include "data/seeded_shuffle.h"
#include "error.h"

namespace toller {
namespace {

std::vector<double> weights_of(std::span<const std::int64_t> batches, const DataMixOptions& options) {
  if (options.weights.empty()) {
    std::vector<double> weights;
    for (const std::int64_t count : batches)
      weights.push_back(std::pow(static_cast<double>(count), options.alpha));
    return weights;
  }
  if (options.weights.size() != batches.size()) {
    fail_usage("--data-weights: {} for {} data sets; give one each", options.weights.size(), batches.size());
  }
  for (const double weight : options.weights) {
    if (!std::isfinite(weight) || weight <= 0)
      fail_usage("--data-weights: {} is not a number above 0", weight);
  }
  return options.weights;
}

}  // namespace

DataMix::DataMix(std::span<const std::int64_t> batches, const DataMixOptions& options) : seed_(options.seed) {
  const std::vector<double> weights = weights_of(batches, options);
  const auto total = static_cast<double>(std::accumulate(batches.begin(), batches.end(), std::int64_t{0}));
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  for (const double weight : weights)
    shares_.push_back(std::max<std::int64_t>(1, std::llround(total * weight / sum)));
  batches_per_epoch_ = std::accumulate(shares_.begin(), shares_.end(), std::int64_t{0});
}

void DataMix::order_epoch(std::int64_t epoch) {
  order_.clear();
  for (std::size_t set = 0; set < shares_.size(); ++set) {
    order_.insert(order_.end(), static_cast<std::size_t>(shares_[set]), {static_cast<std::int64_t>(set), 0});
  }
  seeded_shuffle(order_, seed_, RandomStream::kTaskOrder, epoch);
  std::vector<std::int64_t> next;
  for (const std::int64_t share : shares_) next.push_back(share * epoch);
  for (Draw& draw : order_) draw.index = next[draw.data_set]++;
  epoch_ = epoch;
}

DataMix::Draw DataMix::at(std::int64_t index) {
  const std::int64_t epoch = index / batches_per_epoch_;
  if (epoch != epoch_) order_epoch(epoch);
  return order_[index % batches_per_epoch_];
}

}  // namespace toller
