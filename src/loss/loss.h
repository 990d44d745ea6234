// A loss over the global batch: every query of every rank meets every rank's documents. A loss is one file;
// it gives the value for the whole batch and the gradients that this rank's queries cause, so that any number
// of ranks gives the same value and, summed over ranks, the same gradients. No loss holds the B × M scores:
// they stream in tiles.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

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

  /// The documents that query i itself brought, for the list-wise losses: the columns own_offsets[i] …
  /// own_offsets[i+1]. Empty: not known.
  std::span<const std::int64_t> own_offsets = {};  ///< [b + 1]
  /// Their grades, from column own_offsets[0] on: 0 for a document judged not relevant, −1 for one that is
  /// left out (the query's own).
  std::span<const std::int32_t> own_grade = {};
  std::span<const float> own_teacher = {};  ///< scores of a teacher, likewise; empty: none

  /// For random numbers: the batch's number in the training, and the number of this rank's first query in it.
  std::int64_t step = 0;
  std::int64_t first_query = 0;
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
  std::int64_t positives = 0;       ///< over the rank's queries
  std::int64_t own = 0;             ///< documents that the rank's queries brought
  std::int64_t dimension = 0;       ///< of the embeddings
  std::int64_t global_queries = 0;  ///< B
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

/// A loss of the scores of each query's own documents (the family of device/lists/list_loss.h; formulas in
/// docs/losses.md): the mean over the queries of all ranks that have a pair to compare,
///   listnet, listmle, ranknet, weighted ranknet, lambda, irpo, margin-mse, pg-rank: two documents of
///   different grade; bpr, reverse-bpr, hinge: a document of a grade above 0 and one of grade 0; kl: two
///   documents.
/// Other queries do not count. 0 when no query does. Scores and their derivatives are double; work and memory
/// are O(own documents) beside the gradients, and for most kinds a list's length squared. Throws UsageError
/// for options out of range; compute() throws Error for a batch without lists, or without the teacher's
/// scores where they are wanted.
template <class T>
std::unique_ptr<Loss<T>> make_list_loss(Ops<T>& ops, ScoreOps<T>& score_ops, const ListLossOptions& options);

template <class T>
struct WeightedLoss {
  std::unique_ptr<Loss<T>> loss;
  double weight = 1;
};

/// Σ weight · loss. Takes memory for the gradients of one loss beside the sum. Throws UsageError when there
/// are no terms, or a weight that is not a finite number.
template <class T>
std::unique_ptr<Loss<T>> make_weighted_sum(Ops<T>& ops, ScoreOps<T>& score_ops,
                                           std::vector<WeightedLoss<T>> terms);

struct MwOptions {
  bool exact = false;  ///< pair by pair, as a reference: time in |S⁺||S⁻|, and the host waits for the device
  bool per_query = false;  ///< pairs of one query only, mean over queries
  /// Points that the grid may have, at most kMwMostGridPoints; as many sums go over ranks, twice. 0: what
  /// unit vectors take at temperatures from 0.001 on (mw_grid_points).
  std::int64_t grid_points = 0;
  std::int64_t tile_rows = 0;     ///< queries a tile; 0: what suits the device
  std::int64_t tile_columns = 0;  ///< candidates a tile; likewise
};

inline constexpr std::int64_t kMwMostGridPoints = std::int64_t{1} << 22;
/// Points of the grid that scores of at most that size take at temperatures from `least_temperature` on: 33
/// to 66 · largest_score / least_temperature. UsageError where they are too many.
std::int64_t mw_grid_points(double least_temperature, double largest_score = 1);

/// Mann–Whitney, the smooth form of 1 − AUC over the pairs of a positive and a negative score of the whole
/// global batch (arXiv 2510.00137):
///   L = 1/(|S⁺||S⁻|) Σ_{a ∈ S⁺} Σ_{b ∈ S⁻} softplus((b − a)/τ),   s = ⟨q, d⟩;
/// `per_query`: L = 1/B Σ_i of the same over the pairs of query i. 0 where there are no negatives. Time is
/// linear in the scores (per query: times its positives). Relative error of the grid form against the exact
/// one: 10⁻⁹ in double; ∂L/∂ log τ, a sum of terms of both signs, is exact to 10⁻⁹ absolute. Memory: O(tile +
/// M + grid). Scores larger than the grid can hold, and those that are not finite, make value and gradients
/// NaN; for the former the next compute() throws Error with the numbers. Throws UsageError for sizes out of
/// range; compute() throws Error for lists that do not fit the batch.
template <class T>
std::unique_ptr<Loss<T>> make_mw(Ops<T>& ops, ScoreOps<T>& score_ops, const MwOptions& options);

struct WassersteinOptions {
  std::int64_t tile_rows = 0;     ///< queries a tile; 0: what suits the device
  std::int64_t tile_columns = 0;  ///< candidates a tile; likewise
};

/// The squared 2-Wasserstein distance between two Gaussians in R^M (SyCL, arXiv 2503.23239): one fitted
/// to the rows X_i = softmax_m(s_im/τ), s = ⟨q, d⟩, one to the rows Y_i = softmax_m(y_im), where y is the
/// grade of query i's own documents and 0 for all other candidates:
///   L = ‖μ_X − μ_Y‖² + Tr Σ_X + Tr Σ_Y − 2 Tr (Σ_X Σ_Y)^{1/2},   Σ with 1/(B − 1).
/// With one query there are no covariances: L = ‖X_1 − Y_1‖². Own documents that are left out (grade below 0,
/// or excluded) have no part in X_i or Y_i; other excluded columns have none in X_i. Positives are not looked
/// at. Where documents or queries coincide the last term has a kink, and the gradient is one of its
/// subgradients.
///
/// Four passes over the tiles (scores are recomputed, unless one tile holds them all); 6 products of the size
/// b M d. The last term takes 60 b B² operations in double (75 where T is double), with an
/// all-reduce of 8 B² bytes every 3 b B² of them. Memory: O(tile + b + M) and 8 (B² + 3 b B) bytes.
/// A NaN among the scores that count makes the value NaN. Throws UsageError for a negative tile size;
/// compute() throws Error for a batch without lists or with lists that do not fit it.
template <class T>
std::unique_ptr<Loss<T>> make_wasserstein(Ops<T>& ops, ScoreOps<T>& score_ops,
                                          const WassersteinOptions& options);

}  // namespace toller
