// The sum of the gradients over ranks, in buckets, from the end of the flat buffer to its beginning: the
// order in which the backward pass finishes them. A bucket's sum goes on beside the rest of the backward
// pass. Buckets end between layers and depend on the model alone, so that all ranks agree and sums repeat.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/tensor_communicator.h"
#include "model/encoder.h"
#include "model/parameter_shards.h"

namespace toller {

/// Bounds of the buckets, ascending, 0 … table.size(). Buckets have at least `bucket_elements` elements, but
/// for the first.
std::vector<std::int64_t> gradient_buckets(const EncoderConfig& config, const ParameterTable& table,
                                           std::int64_t bucket_elements);

template <class T>
class GradientSums {
 public:
  /// Every rank gets the whole sum, in place.
  GradientSums(std::vector<std::int64_t> bounds, TensorCommunicator& communicator);
  /// Every rank gets the sum of its own pieces, in `own` [shards.elements(rank)]; the flat buffer is left
  /// with what the sums made of it. `shards` must outlive this object; its buckets are those summed.
  GradientSums(const ParameterShards& shards, TensorCommunicator& communicator, RealOf<T>* own);

  /// A new gradient begins; nothing of it is final.
  void begin(RealOf<T>* gradients);
  /// The gradients from element `begin` on are final on this rank: starts the sums of the buckets there.
  void final_from(std::int64_t begin);
  /// What is queued from here on sees the sums of the whole gradient, which must be final.
  void finish();

 private:
  void start(std::size_t bucket);

  TensorCommunicator& communicator_;
  std::vector<std::int64_t> bounds_;
  const ParameterShards* shards_ = nullptr;  ///< null: whole sums
  RealOf<T>* own_ = nullptr;
  std::size_t left_ = 0;  ///< the buckets before this one have not been started
  RealOf<T>* gradients_ = nullptr;
};

}  // namespace toller
