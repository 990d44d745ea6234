#include "train/gradient_sums.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace toller {

std::vector<std::int64_t> gradient_buckets(const EncoderConfig& config, const ParameterTable& table,
                                           std::int64_t bucket_elements) {
  std::vector<std::int64_t> bounds{table.size()};
  std::vector<Side> towers{Side::kDocuments};
  if (config.separate_towers) towers.push_back(Side::kQueries);
  for (const Side side : towers) {
    for (std::int64_t layer = config.layers - 1; layer >= 0; --layer) {
      const std::string first =
          fmt::format("{}encoder.layer.{}.attention.self.query.weight", tower_prefix(config, side), layer);
      const std::int64_t begin = table.at(first).offset;
      if (bounds.back() - begin >= bucket_elements) bounds.push_back(begin);
    }
  }
  bounds.push_back(0);
  std::ranges::reverse(bounds);
  return bounds;
}

template <class T>
GradientSums<T>::GradientSums(std::vector<std::int64_t> bounds, TensorCommunicator& communicator)
    : communicator_(communicator), bounds_(std::move(bounds)) {}

template <class T>
GradientSums<T>::GradientSums(const ParameterShards& shards, TensorCommunicator& communicator, RealOf<T>* own)
    : communicator_(communicator), bounds_(shards.bounds()), shards_(&shards), own_(own) {}

template <class T>
void GradientSums<T>::begin(RealOf<T>* gradients) {
  gradients_ = gradients;
  left_ = bounds_.size() - 1;
}

template <class T>
void GradientSums<T>::start(std::size_t bucket) {
  RealOf<T>* first = gradients_ + bounds_[bucket];
  if (shards_ == nullptr) {
    communicator_.start_all_reduce_sum(first, bounds_[bucket + 1] - bounds_[bucket]);
  } else {
    const ParameterPiece& piece = shards_->pieces(communicator_.rank())[bucket];
    communicator_.start_reduce_scatter_sum(first, shards_->counts(bucket), own_ + piece.place);
  }
}

template <class T>
void GradientSums<T>::final_from(std::int64_t begin) {
  while (left_ > 0 && bounds_[left_ - 1] >= begin) start(--left_);
}

template <class T>
void GradientSums<T>::finish() {
  final_from(0);
  communicator_.finish_sums();
}

template class GradientSums<BFloat16>;
template class GradientSums<float>;
template class GradientSums<double>;

}  // namespace toller
