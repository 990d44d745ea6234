// One global batch from tokens to gradients: encode, gather, loss, back. The steps of the design page in
// their order.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "comm/tensor_communicator.h"
#include "data/batch_plan.h"
#include "data/packed_batch.h"
#include "device/arena.h"
#include "loss/loss.h"
#include "model/encoder.h"
#include "train/gradient_sums.h"

namespace toller {

struct TrainingStepOptions {
  std::int32_t max_length = 0;  ///< tokens a text
  /// Queries (with their documents) whose activations are in memory at a time; 0: all of the rank's share.
  std::int64_t micro_batch = 0;
  /// Texts are encoded in chunks of about so many tokens; 0: what suits the device.
  std::int64_t chunk_tokens = 0;
  std::uint64_t dropout_seed = 1;
};

/// What a step computed with; known before it has run.
struct StepWork {
  std::int64_t tokens = 0;  ///< encoded on this rank
  double flops = 0;         ///< of the encoder's matrix products on this rank, forward and backward
};

/// Bytes of device memory that the steps of a batch take at most.
struct StepMemory {
  std::int64_t embeddings = 0, activations = 0, scratch = 0, loss = 0;
  std::int64_t total() const { return embeddings + activations + scratch + loss; }
  /// Room for this and for `other`.
  void cover(const StepMemory& other);
};

/// Parameters as the step reads them.
template <class T>
struct StepParameters {
  const T* values = nullptr;                   ///< flat
  const RealOf<T>* log_temperature = nullptr;  ///< [1]
  bool learns_temperature = false;             ///< its gradient is wanted too, in the flat buffer
};

/// Where a step's results go; memory of the device.
template <class T>
struct StepGradient {
  RealOf<T>* values = nullptr;  ///< flat; added to
  double* loss = nullptr;       ///< [1] of the global batch; the same on every rank
};

/// What a batch trains: texts, their batches, and what is made of them.
template <class T>
struct TrainingTask {
  const TokenStore& store;
  const BatchPlan& plan;
  Loss<T>& loss;
};

template <class T>
class TrainingStep {
 public:
  using Real = RealOf<T>;

  TrainingStep(const EncoderConfig& config, const ParameterTable& table, Ops<T>& ops,
               TensorCommunicator& communicator, const TrainingStepOptions& options);

  /// Queues the computation of this rank's share of the gradient of `weight` · loss. Summed over ranks it is
  /// the gradient of the global-batch loss. `index`: number of the batch, from 0; picks the dropout masks.
  /// `sums`: the sum over ranks, which begins as soon as a part of the gradient is final; null: none (another
  /// batch will add to the gradient). Collective.
  ///
  /// With micro-batches, the embeddings come from a pass that keeps nothing, and each chunk is encoded once
  /// more for its backward pass (gradient caching: Gao et al., RepL4NLP 2021). Masks are counter-based, so
  /// both passes agree.
  StepWork run(const TrainingTask<T>& task, const GlobalBatch& batch, std::int64_t index,
               const StepParameters<T>& parameters, double weight, const StepGradient<T>& gradient,
               GradientSums<T>* sums);

  /// What run() would take for the batch with that micro-batch, without running it.
  StepMemory memory_needed(const TrainingTask<T>& task, const GlobalBatch& batch,
                           std::int64_t micro_batch) const;
  /// Allocates that much at once.
  void reserve(const StepMemory& memory);

 private:
  /// This rank's part of a batch and its embeddings, in the arena `embeddings_`. Queries come first.
  struct Share {
    BatchShare rows;
    bool recomputes = false;                  ///< a micro-batch is smaller than the share
    std::vector<std::int64_t> query_counts;   ///< queries of each rank
    std::vector<std::int64_t> gather_counts;  ///< elements of document embeddings that each rank brings
    std::vector<PackedBatch> chunks;
    std::vector<Side> chunk_sides;           ///< whose tower encodes a chunk
    std::vector<PackedSequences> sequences;  ///< the chunks on the device
    std::vector<std::int64_t> chunk_offset;  ///< of a chunk's first embedding in `embedding`
    std::int64_t query_values = 0, document_values = 0, all_document_values = 0;
    std::int64_t local_values() const { return query_values + document_values; }
  };

  /// [local], [local], [all documents], [local], [all documents], [1]. `stored` is what goes over the wire
  /// and into the scores: `embedding` itself where T is Real.
  struct Embeddings {
    Real* embedding;
    T *stored, *document;
    Real *d_embedding, *d_document;
    double* d_log_temperature;
  };

  Share make_share(const TokenStore& store, const GlobalBatch& batch, std::int64_t micro_batch) const;
  Embeddings take_embeddings(const Share& share, Arena& arena) const;
  /// Fills embeddings.embedding; returns what the backward pass needs, a chunk each, or nothing when it
  /// recomputes.
  std::vector<Activations<T>> encode(const Share& share, const Embeddings& embeddings, const T* parameters,
                                     const DropoutState& dropout);
  /// Gathers the documents, computes the loss and the gradient of the embeddings.
  void compute_loss(const Share& share, const Embeddings& embeddings, const TrainingTask<T>& task,
                    const GlobalBatch& batch, std::int64_t index, const StepParameters<T>& parameters,
                    double weight, const StepGradient<T>& gradient);
  void backward(const Share& share, const Embeddings& embeddings, const T* parameters,
                const DropoutState& dropout, std::vector<Activations<T>>& kept, Real* gradients,
                GradientSums<T>* sums);
  /// The texts that this rank encodes, cut into chunks. Where towers are separate, no chunk has texts of both
  /// sides.
  void pack_share(const TokenStore& store, const GlobalBatch& batch, std::int64_t micro_batch,
                  Share& share) const;
  /// What each rank brings: queries, and documents in elements of embeddings.
  void count_by_rank(const GlobalBatch& batch, Share& share) const;
  StepWork work(const Share& share) const;
  const Encoder<T>& encoder(Side side) const { return encoders_[static_cast<std::size_t>(side)]; }
  std::int64_t dimension() const { return encoders_.front().dimension(); }

  EncoderConfig config_;
  std::array<Encoder<T>, 2> encoders_;  ///< by side; the same parameters where they share a tower
  std::int64_t log_temperature_;  ///< its place in the flat buffer
  Ops<T>& ops_;
  TensorCommunicator& communicator_;
  TrainingStepOptions options_;
  Arena embeddings_, activations_, scratch_;
  Share share_;                   ///< uploads read its memory until the next step
  CandidateRelations relations_;  ///< likewise
};

}  // namespace toller
