// A loss over the global batch: every query of every rank meets every rank's documents. A loss is one file;
// it gives the value for the whole batch and the gradients that this rank's queries cause, so that any number
// of ranks gives the same value and, summed over ranks, the same gradients. No loss holds the B × M scores:
// they stream in tiles.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "comm/tensor_communicator.h"
#include "device/arena.h"
#include "device/ops.h"
#include "device/score_ops.h"

namespace toller {

/// This rank's queries against all candidates. Columns are rows of `documents`. Embeddings are memory of the
/// device; the lists are memory of the host.
template <class T>
struct LossBatch {
  std::int64_t queries = 0;         ///< b: on this rank; may be 0
  std::int64_t global_queries = 0;  ///< B: over all ranks
  std::int64_t candidates = 0;      ///< M: documents of all ranks, in rank order
  std::int64_t dimension = 0;
  const T* query = nullptr;     ///< [b, d]
  const T* document = nullptr;  ///< [M, d], gathered

  /// Positives of query i: columns positive[positive_offsets[i] … positive_offsets[i+1]), at least one a
  /// query.
  std::span<const std::int64_t> positive_offsets;  ///< [b + 1]
  std::span<const std::int32_t> positive;
  /// Columns that are neither positive nor negative for query i (other copies of a positive, other relevant
  /// documents, the query's own document): ascending, disjoint from the positives.
  std::span<const std::int64_t> excluded_offsets;  ///< [b + 1]
  std::span<const std::int32_t> excluded;
};

/// Where the results go; memory of the device.
template <class T>
struct LossGradient {
  RealOf<T>* query = nullptr;         ///< [b, d], overwritten
  RealOf<T>* document = nullptr;      ///< [M, d], overwritten: this rank's share, to be summed over ranks
  double* log_temperature = nullptr;  ///< [1], overwritten: this rank's share, to be summed over ranks
  double* value = nullptr;            ///< [1], overwritten: of the global batch, the same on every rank
};

/// How large a batch is, for its need of memory.
struct LossSize {
  std::int64_t queries = 0;  ///< b
  std::int64_t candidates = 0;
  std::int64_t positives = 0;  ///< over the rank's queries
};

template <class T>
class Loss {
 public:
  virtual ~Loss() = default;
  /// Queues the value for the global batch and the gradients. `log_temperature` [1] is memory of the device.
  /// Collective.
  virtual void compute(const LossBatch<T>& batch, const RealOf<T>* log_temperature,
                       TensorCommunicator& communicator, const LossGradient<T>& gradient) = 0;
  /// Takes from `arena` what a batch of that size takes; with an arena that counts, its need of memory.
  virtual void take_memory(const LossSize& size, Arena& arena) const = 0;
};

struct InfoNceOptions {
  bool symmetric = false;         ///< mean of query → document and document → query
  std::int64_t tile_rows = 0;     ///< queries a tile; 0: what suits the device
  std::int64_t tile_columns = 0;  ///< candidates a tile; likewise
};

/// InfoNCE with several positives (van den Oord et al., arXiv 1807.03748; each positive meets the negatives
/// alone):
///   L = mean_i mean_{p ∈ P(i)} −log( e^{s_ip/τ} / (e^{s_ip/τ} + Σ_{n ∈ N(i)} e^{s_in/τ}) ),   s = ⟨q, d⟩.
/// `symmetric` takes the mean with the other direction, where each positive meets its column's scores with
/// the queries of all ranks that it is a negative of. Memory: O(tile + b + M); two passes over the tiles
/// (log-sum-exp, then gradients from recomputed scores). A NaN among the scores that count makes the value
/// NaN. Throws UsageError for a negative tile size; compute() throws Error for lists that do not fit the
/// batch.
template <class T>
std::unique_ptr<Loss<T>> make_infonce(Ops<T>& ops, ScoreOps<T>& score_ops, const InfoNceOptions& options);

}  // namespace toller
