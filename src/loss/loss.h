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
  /// Scores of a teacher, likewise; for the similarity losses the gold scores. Empty: none.
  std::span<const float> own_teacher = {};

  /// For random numbers, and to tell batches apart: the batch's number in the training, and the number of
  /// this rank's first query in it.
  std::int64_t step = 0;
  std::int64_t first_query = 0;

  /// Queries of every rank, in rank order, for losses that gather them. Empty: not known.
  std::span<const std::int64_t> query_counts = {};
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
  /// May be called several times a step. Collective.
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

enum class PairLossKind { kMannWhitney, kBpr, kReverseBpr, kHinge };

struct PairLossOptions {
  PairLossKind kind = PairLossKind::kHinge;
  double scale = 1;     ///< c, by which scores are multiplied (not Mann–Whitney, which has the temperature)
  double margin = 0.2;  ///< m of the hinge
  HingeNegatives negatives = HingeNegatives::kAll;  ///< hinge
  double query_weight = 1, document_weight = 1;     ///< hinge: of the two directions
  std::int64_t tile_rows = 0;                       ///< queries a tile; 0: what suits the device
  std::int64_t tile_columns = 0;                    ///< candidates a tile; likewise
};

/// Pairs of a positive with the in-batch negatives of its query, the mean over the queries of all ranks:
///   mw, per query: mean over P(i) × N(i) of softplus((s_n − s_p)/τ);
///   bpr:           the same of softplus(−c (s_p − s_n)) (Rendle et al., UAI 2009);
///   reverse-bpr:   the same of softplus(c (s_p − s_n)), for what is to be forgotten;
///   hinge:         query_weight · mean_p Σ_{n ∈ N(i)} max(0, m − c s_ip + c s_in)
///                  + document_weight · mean_p Σ_{j: p ∈ N(j)} max(0, m − c s_ip + c s_jp)
/// where the sums of the hinge may go over one negative each, which is a constant for the gradient: the
/// hardest, or the semi-hard one (Schroff et al., FaceNet, CVPR 2015), of equal scores the first; a query or
/// document without negatives adds 0. Three passes over the tiles; time is linear in the scores times a
/// query's positives. Memory: O(tile + positives + M). A NaN among the scores that count makes the value NaN.
/// Throws UsageError for options out of range; compute() throws Error for lists that do not fit the batch
/// and, in a hinge with a document_weight, for a document that is the positive of two queries (where these
/// are of different ranks, the value is NaN).
template <class T>
std::unique_ptr<Loss<T>> make_pair_loss(Ops<T>& ops, ScoreOps<T>& score_ops, const PairLossOptions& options);

struct MatryoshkaOptions {
  std::vector<std::int64_t> dimensions;  ///< falling; not above the embeddings'
  bool normalize = true;                 ///< embeddings that were cut get unit length again
};

/// Embeddings whose first numbers are embeddings themselves (Kusupati et al., Matryoshka Representation
/// Learning, arXiv 2205.13147, equation 1 with c_m = 1):
///   L = Σ_k inner(first d_k numbers of the queries, first d_k numbers of the documents),
/// cut vectors of unit length where `normalize` is set; a zero vector stays zero and has no gradient. Takes
/// memory for the cut embeddings and their gradients at the largest dimension; `inner` serves all of them,
/// one after another. Throws UsageError when there are no dimensions, one is below 1, or they do not fall;
/// compute() throws Error when the first is larger than the embeddings'.
template <class T>
std::unique_ptr<Loss<T>> make_matryoshka(Ops<T>& ops, ScoreOps<T>& score_ops, std::unique_ptr<Loss<T>> inner,
                                         MatryoshkaOptions options);

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
/// NaN; for the former the first compute() of another step throws Error with the numbers. Throws UsageError
/// for sizes out of range; compute() throws Error for lists that do not fit the batch.
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

struct AlignmentUniformityOptions {
  double uniformity_weight = 1;   ///< γ
  bool calibrated = true;         ///< similar documents drive each other apart less
  std::int64_t tile_rows = 0;     ///< queries or documents a tile; 0: what suits the device
  std::int64_t tile_columns = 0;  ///< likewise
};

/// Alignment and calibrated uniformity of unit vectors (CM³, arXiv 2508.01226; Wang & Isola, arXiv
/// 2005.10242):
///   L = 1/B Σ_i mean_{p ∈ P(i)} ‖q_i − d_p‖² + γ/2 (U_q + U_d),
///   U_q = log mean_{i ≠ j} e^{−2 ‖q_i − q_j‖²},   U_d = log mean_{x ≠ y} e^{−2 (‖d_x − d_y‖² − 2 + 2 s_xy)}
/// over all queries and all documents of the global batch; U_d is that of the queries where not `calibrated`.
/// s_xy is 1 where x, which query i brought, is a positive of i, and y is another positive of i or excluded
/// for it; else 0. Embeddings are divided by their norms first; a zero vector stays zero, counts as being at
/// right angles to all others, and has no gradient. A mean over no pairs has no U. There is no temperature.
///
/// Work: 6 B² d + 8 M² d operations over all ranks, each of which has the rows of its queries and of the
/// documents that these brought. Memory: O(tile + b + own documents), the queries of all ranks, and all of
/// the embeddings and their gradients a second time; the queries are gathered. A NaN among the embeddings
/// makes the value NaN. Throws UsageError for options out of range; compute() throws Error for lists that do
/// not fit the batch, and for a batch that does not say how many queries each rank has and which documents
/// its queries brought.
template <class T>
std::unique_ptr<Loss<T>> make_alignment_uniformity(Ops<T>& ops, ScoreOps<T>& score_ops,
                                                   const AlignmentUniformityOptions& options);

/// A loss of pairs of texts with gold scores (the family of device/lists/similarity_loss.h; CoDiEmb, arXiv
/// 2508.11442; formulas in docs/losses.md). A pair is a query and the one document that it brought, its gold
/// score is in own_teacher; grades and other candidates play no part. With x the scores ⟨q, d⟩ and g the gold
/// scores of the n pairs of all ranks:
///   pearson   1 − corr(x, g); 0 where all g are equal, and else 1 where all x are, with no gradient
///   rank-kl   KL(softmax(u/τ) ‖ softmax(x/τ)) / n, u from 1 for the highest gold score down to 0, by ranks
///   pro       mean over the pairs i that have negatives, the j with w_ij = g_i − g_j > gap, of
///             −log( e^{z_i} / (e^{z_i} + Σ_j e^{w_ij x_j/τ}) ), z_i = max_j w_ij x_i/τ
///   cosent    log(1 + Σ_{g_i > g_j} e^{(x_j − x_i)/τ})
/// 0 where there is nothing to compare. The target of rank-kl depends on τ, and the gradient for log τ says
/// so. Scores and all that comes of them are double. The value is the same bits on any number of ranks. Time:
/// O(n) a pair (pearson: O(1)), O(n) memory, and sums over ranks of 3 n numbers. A NaN among the scores makes
/// the value NaN. Throws UsageError for a negative gap; compute() throws Error for queries that did not bring
/// one document, and for gold scores that are missing or no finite numbers.
template <class T>
std::unique_ptr<Loss<T>> make_similarity_loss(Ops<T>& ops, ScoreOps<T>& score_ops,
                                              const SimilarityOptions& options);

}  // namespace toller
