// The similarity losses. x_i = ⟨q_i, d_i⟩ of a query and its own document, the second text of the pair; then
//   dQ_i = ∂L/∂x_i d_i,   dD_i = ∂L/∂x_i q_i.
// Over ranks go scores and gold scores, in one sum: every rank puts its own among zeros, so that the sum is
// exact; and one more number a pair for all kinds but pearson. From there on all ranks have the same numbers,
// and the value is the same bits on any number of ranks.
#include <array>
#include <cmath>
#include <numeric>
#include <span>
#include <vector>

#include "device/lists/similarity.h"
#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

namespace toller {
namespace {

/// Memory of one batch on the device.
struct SimilarityWorkspace {
  double *score, *gold;            ///< [pairs] of all ranks, one behind the other
  double* row;                     ///< [pairs]
  double *gradient, *temperature;  ///< [own]
  SimilarityTotals* totals;        ///< [1]
  double* inverse_temperature;     ///< [1]
};

/// This rank's pairs in memory of the host, as ScoreLists has lists of one document.
struct HostPairs {
  std::vector<std::int64_t> offsets;
  std::vector<std::int32_t> query, column;
  std::vector<double> gold;
};

template <class T>
class SimilarityLoss final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  SimilarityLoss(Ops<T>& ops, ScoreOps<T>& score_ops, const SimilarityOptions& options)
      : ops_(ops), score_ops_(score_ops), options_(options), arena_(ops) {
    if (!(options.gap >= 0) || !std::isfinite(options.gap)) {
      fail_usage("the gap of the pro loss is {}; it must not be negative", options.gap);
    }
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override {
    take_workspace(size.queries, size.global_queries, arena);
  }

 private:
  using Batch = LossBatch<T>;

  static SimilarityWorkspace take_workspace(std::int64_t own, std::int64_t pairs, Arena& arena);
  ScoreLists upload_pairs(const Batch& batch);
  ScoredPairs share_pairs(const Batch& batch, const ScoreLists& lists, const SimilarityWorkspace& work,
                          TensorCommunicator& communicator);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  SimilarityOptions options_;
  Arena arena_;
  HostPairs pairs_;
};

template <class T>
void check(const LossBatch<T>& batch) {
  const std::span<const std::int64_t> offsets = batch.own_offsets;
  const auto queries = static_cast<std::size_t>(batch.queries);
  if (offsets.size() != queries + 1 || offsets.front() < 0 || offsets.back() > batch.candidates) {
    fail("similarity loss: the batch does not say which of its {} candidates each of {} queries brought",
         batch.candidates, batch.queries);
  }
  for (std::size_t i = 0; i < queries; ++i) {
    if (offsets[i + 1] != offsets[i] + 1) {
      fail("similarity loss: query {} brought {} documents; it takes pairs of texts", i,
           offsets[i + 1] - offsets[i]);
    }
  }
  if (batch.own_teacher.size() != queries) {
    fail("similarity loss: {} gold scores for {} pairs", batch.own_teacher.size(), batch.queries);
  }
  for (std::size_t i = 0; i < queries; ++i) {
    if (!std::isfinite(batch.own_teacher[i])) {
      fail("similarity loss: the gold score of pair {} is {}", i, batch.own_teacher[i]);
    }
  }
  if (batch.first_query < 0 || batch.first_query + batch.queries > batch.global_queries) {
    fail("similarity loss: pairs {} to {} are not among {}", batch.first_query,
         batch.first_query + batch.queries, batch.global_queries);
  }
}

template <class T>
SimilarityWorkspace SimilarityLoss<T>::take_workspace(std::int64_t own, std::int64_t pairs, Arena& arena) {
  SimilarityWorkspace work{};
  work.score = arena.take<double>(2 * pairs);
  work.gold = work.score + pairs;
  work.row = arena.take<double>(pairs);
  work.gradient = arena.take<double>(own);
  work.temperature = arena.take<double>(own);
  work.totals = arena.take<SimilarityTotals>(1);
  work.inverse_temperature = arena.take<double>(1);
  return work;
}

template <class T>
ScoreLists SimilarityLoss<T>::upload_pairs(const Batch& batch) {
  pairs_.offsets.resize(batch.own_offsets.size());
  pairs_.query.resize(batch.own_teacher.size());
  pairs_.column.resize(batch.own_teacher.size());
  std::iota(pairs_.offsets.begin(), pairs_.offsets.end(), 0);
  std::iota(pairs_.query.begin(), pairs_.query.end(), 0);
  std::iota(pairs_.column.begin(), pairs_.column.end(), static_cast<std::int32_t>(batch.own_offsets.front()));
  pairs_.gold.assign(batch.own_teacher.begin(), batch.own_teacher.end());
  return {.lists = batch.queries,
          .documents = batch.queries,
          .longest = 1,
          .offsets = ops_.template upload<std::int64_t>(pairs_.offsets),
          .query = ops_.template upload<std::int32_t>(pairs_.query),
          .column = ops_.template upload<std::int32_t>(pairs_.column)};
}

/// The pairs of all ranks with their rows.
template <class T>
ScoredPairs SimilarityLoss<T>::share_pairs(const Batch& batch, const ScoreLists& lists,
                                           const SimilarityWorkspace& work,
                                           TensorCommunicator& communicator) {
  const std::int64_t n = batch.global_queries, first = batch.first_query;
  ops_.zero(work.score, 2 * n);
  score_ops_.list_scores(lists, batch.dimension, batch.query, batch.document, work.score + first);
  if (batch.queries > 0) {
    ops_.copy(ops_.template upload<double>(pairs_.gold), batch.queries, work.gold + first);
  }
  communicator.all_reduce_sum(work.score, 2 * n);
  ScoredPairs pairs{.pairs = n, .first = first, .own = batch.queries, .score = work.score, .gold = work.gold};
  if (!has_rows(options_.kind)) return pairs;
  ops_.zero(work.row, n);
  score_ops_.similarity_rows(options_, pairs, work.inverse_temperature, work.row + first);
  communicator.all_reduce_sum(work.row, n);
  pairs.row = work.row;
  return pairs;
}

template <class T>
void SimilarityLoss<T>::compute(const Batch& batch, const Real* log_temperature,
                                TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  static constexpr std::array<double, 1> kOne = {1};
  check(batch);
  arena_.reset();
  const SimilarityWorkspace work = take_workspace(batch.queries, batch.global_queries, arena_);
  const ScoreLists lists = upload_pairs(batch);
  score_ops_.invert_temperature(log_temperature, work.inverse_temperature);
  const ScoredPairs pairs = share_pairs(batch, lists, work, communicator);
  score_ops_.similarity_totals(options_, pairs, work.inverse_temperature, work.totals, gradient.value);
  score_ops_.similarity_gradients(options_, pairs, work.totals, work.inverse_temperature, work.gradient,
                                  work.temperature);
  score_ops_.inner_product(batch.queries, work.temperature, nullptr, gradient.log_temperature);
  ops_.zero(gradient.query, batch.queries * batch.dimension);
  ops_.zero(gradient.document, batch.candidates * batch.dimension);
  score_ops_.list_embedding_gradients(lists, batch.dimension, work.gradient,
                                      ops_.template upload<double>(kOne), batch.query, batch.document,
                                      gradient.query, gradient.document);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_similarity_loss(Ops<T>& ops, ScoreOps<T>& score_ops,
                                              const SimilarityOptions& options) {
  return std::make_unique<SimilarityLoss<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_similarity_loss<T>(Ops<T>&, ScoreOps<T>&, const SimilarityOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
