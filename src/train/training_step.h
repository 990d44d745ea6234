// One global batch from tokens to gradients: encode, gather, loss, back. The steps of the design page in
// their order.
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "data/batch_plan.h"
#include "data/packed_batch.h"
#include "device/arena.h"
#include "loss/loss.h"
#include "model/encoder.h"

namespace toller {

struct TrainingStepOptions {
  std::int32_t max_length = 0;  ///< tokens a text
  /// Queries (with their documents) whose activations are in memory at a time; 0: all of the rank's share.
  std::int64_t micro_batch = 0;
  /// Texts are encoded in chunks of about so many tokens: a chunk's activations stay in the caches from one
  /// operation to the next.
  std::int64_t chunk_tokens = 1024;
  std::uint64_t dropout_seed = 1;
};

struct StepResult {
  double loss = 0;                      ///< of the global batch; the same on every rank
  double log_temperature_gradient = 0;  ///< this rank's share, before all-reduce
  std::int64_t tokens = 0;              ///< encoded on this rank
  double flops = 0;  ///< of the encoder's matrix products on this rank, forward and backward
};

template <class T>
class TrainingStep {
 public:
  TrainingStep(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops, Loss<T>& loss,
               Communicator& communicator, const TokenStore& store, const TrainingStepOptions& options);

  /// Adds this rank's share of the gradient of `weight` · loss to `gradients` (flat). Summed over ranks it is
  /// the gradient of the global-batch loss. `index`: number of the batch, from 0; picks the dropout masks.
  /// Collective.
  ///
  /// With micro-batches, the embeddings come from a pass that keeps nothing, and each chunk is encoded once
  /// more for its backward pass (gradient caching: Gao et al., RepL4NLP 2021). Masks are counter-based, so
  /// both passes agree.
  StepResult run(const BatchPlan& plan, const GlobalBatch& batch, std::int64_t index, const T* parameters,
                 double log_temperature, double weight, T* gradients);

 private:
  /// This rank's part of a batch and its embeddings, in the arena `embeddings_`. Queries come first.
  struct Share {
    BatchShare rows;
    std::vector<std::int64_t> gather_counts;  ///< elements of document embeddings that each rank brings
    std::vector<PackedBatch> chunks;
    std::vector<std::int64_t> chunk_offset;  ///< of a chunk's first embedding in `embedding`
    std::int64_t query_values = 0, document_values = 0;
    T* embedding = nullptr;
  };

  Share make_share(const GlobalBatch& batch);
  bool recomputes(const Share& share) const;  ///< a micro-batch is smaller than the share
  /// Fills share.embedding; returns what the backward pass needs, a chunk each, or nothing when it
  /// recomputes.
  std::vector<Activations<T>> encode(const Share& share, const T* parameters, const DropoutState& dropout,
                                     StepResult& result);
  /// Gathers the documents, computes the loss and returns the gradient of share.embedding.
  T* compute_loss(const Share& share, const BatchPlan& plan, const GlobalBatch& batch, double log_temperature,
                  double weight, StepResult& result);
  void backward(const Share& share, const T* parameters, const DropoutState& dropout,
                std::vector<Activations<T>>& kept, const T* d_embedding, T* gradients);
  /// The texts that this rank encodes, cut into chunks.
  std::vector<PackedBatch> pack_share(const GlobalBatch& batch, const BatchShare& share) const;
  /// Documents a rank brings, in elements of embeddings.
  std::vector<std::int64_t> gather_counts(const GlobalBatch& batch) const;
  EncoderInput input_of(const PackedBatch& chunk) const;

  EncoderConfig config_;
  Encoder<T> encoder_;
  Ops<T>& ops_;
  Loss<T>& loss_;
  Communicator& communicator_;
  const TokenStore& store_;
  TrainingStepOptions options_;
  Arena<T> embeddings_, activations_, scratch_;
};

}  // namespace toller
