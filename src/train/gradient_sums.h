// The sum of the gradients over ranks, in buckets, from the end of the flat buffer to its beginning: the
// order in which the backward pass finishes them. A bucket's sum goes on beside the rest of the backward
// pass. Buckets end between layers and depend on the model alone, so that all ranks agree and sums repeat.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/tensor_communicator.h"
#include "model/encoder.h"

namespace toller {

template <class T>
class GradientSums {
 public:
  /// Buckets have at least `bucket_elements` elements, but for the last.
  GradientSums(const EncoderConfig& config, const ParameterTable& table, TensorCommunicator& communicator,
               std::int64_t bucket_elements);

  /// A new gradient begins; nothing of it is final.
  void begin(RealOf<T>* gradients);
  /// The gradients from element `begin` on are final on this rank: starts the sums of the buckets there.
  void final_from(std::int64_t begin);
  /// What is queued from here on sees the sums of the whole gradient, which must be final.
  void finish();

 private:
  TensorCommunicator& communicator_;
  std::vector<std::int64_t> bounds_;  ///< of the buckets, descending: size of the buffer … 0
  std::size_t next_ = 1;  ///< the bucket [bounds_[next_], bounds_[next_ − 1]) has not been started
  RealOf<T>* gradients_ = nullptr;
};

}  // namespace toller
