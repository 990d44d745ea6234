#include "train/gradient_sums.h"

#include <fmt/format.h>

#include <string>

namespace toller {
namespace {

std::vector<std::int64_t> bucket_bounds(const EncoderConfig& config, const ParameterTable& table,
                                        std::int64_t bucket_elements) {
  std::vector<std::int64_t> bounds{table.size()};
  for (std::int64_t layer = config.layers - 1; layer >= 0; --layer) {
    const std::string first = fmt::format("encoder.layer.{}.attention.self.query.weight", layer);
    const std::int64_t begin = table.at(first).offset;
    if (bounds.back() - begin >= bucket_elements) bounds.push_back(begin);
  }
  bounds.push_back(0);
  return bounds;
}

}  // namespace

template <class T>
GradientSums<T>::GradientSums(const EncoderConfig& config, const ParameterTable& table,
                              TensorCommunicator& communicator, std::int64_t bucket_elements)
    : communicator_(communicator), bounds_(bucket_bounds(config, table, bucket_elements)) {}

template <class T>
void GradientSums<T>::begin(RealOf<T>* gradients) {
  gradients_ = gradients;
  next_ = 1;
}

template <class T>
void GradientSums<T>::final_from(std::int64_t begin) {
  for (; next_ < bounds_.size() && bounds_[next_] >= begin; ++next_) {
    communicator_.start_all_reduce_sum(gradients_ + bounds_[next_], bounds_[next_ - 1] - bounds_[next_]);
  }
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
