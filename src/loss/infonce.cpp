// InfoNCE with several positives, streamed. With z_ij = ⟨q_i, d_j⟩/τ, P(i) and X(i) the positive and the
// excluded columns of query i, N(i) the rest, and w_i = 1/(B |P(i)|), the query → document direction is
//   A_i = log Σ_{n ∈ N(i)} e^{z_in},   L_q = Σ_i Σ_{p ∈ P(i)} w_i softplus(A_i − z_ip),
// and the document → query direction meets the queries of all ranks, over the same pairs,
//   C_p = log Σ_{j: p ∈ N(j)} e^{z_jp},   L_d = Σ_i Σ_{p ∈ P(i)} w_i softplus(C_p − z_ip).
// L = L_q, or (L_q + L_d)/2 when symmetric. With σ_ip = sigmoid(A_i − z_ip) and ς_ip = sigmoid(C_p − z_ip):
//   ∂L_q/∂z_in = a_i e^{z_in − A_i} (n ∈ N(i)),      a_i = Σ_{p ∈ P(i)} w_i σ_ip,   ∂L_q/∂z_ip = −w_i σ_ip
//   ∂L_d/∂z_jp = c_p e^{z_jp − C_p} (p ∈ N(j)),      c_p = Σ_{i: p ∈ P(i)} w_i ς_ip,  ∂L_d/∂z_ip = −w_i ς_ip
// (c_p = 0 for a column that is nobody's positive). With G = ∂L/∂z:
//   dQ = G D/τ,   dD = Gᵀ Q/τ,   dL/d log τ = −Σ_ij G_ij z_ij = −⟨Q, dQ⟩.
//
// Scores exist a tile at a time: once for the log-sum-exps, once more for G, unless there is only one tile.
// Over ranks go, when symmetric, the maximum, the sum and c_p of every column; always, the value.
#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "device/score_ops.h"
#include "loss/loss.h"
#include "loss/score_tiles.h"

namespace toller {
namespace {

/// Log-sum-exps of lines (rows or columns) of scores, and what the gradient takes from them.
template <class Real>
struct Lines {
  std::int64_t count = 0;
  Real *max = nullptr, *shift = nullptr, *offset = nullptr;
  double* sum = nullptr;
  double* weight = nullptr;  ///< a_i or c_p

  Lines() = default;
  Lines(std::int64_t lines, Arena& arena)
      : count(lines),
        max(arena.take<Real>(lines)),
        shift(arena.take<Real>(lines)),
        offset(arena.take<Real>(lines)),
        sum(arena.take<double>(lines)),
        weight(arena.take<double>(lines)) {}

  SoftmaxLines<Real> from(std::int64_t line) const {
    return count == 0 ? SoftmaxLines<Real>{} : SoftmaxLines<Real>{shift + line, offset + line};
  }
};

/// Memory of one batch on the device.
template <class T>
struct Workspace {
  using Real = RealOf<T>;
  typename ScoreTiles<T>::Memory tiles;
  Lines<Real> rows, columns;   ///< columns: when symmetric
  Real* column_max = nullptr;  ///< [M] over all ranks, when symmetric
};

/// What goes with the positives, in memory of the host.
struct PositiveLists {
  std::vector<double> weight;              ///< [positives] w_i of the query, times the direction's share
  std::vector<std::int64_t> column_begin;  ///< positives by column, when symmetric
  std::vector<std::int32_t> column_order;
};

template <class T>
class InfoNce final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  InfoNce(Ops<T>& ops, ScoreOps<T>& score_ops, const InfoNceOptions& options)
      : ops_(ops),
        score_ops_(score_ops),
        symmetric_(options.symmetric),
        tiles_("infonce", ops, score_ops, options.tile_rows, options.tile_columns),
        arena_(ops) {}

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size, arena); }

 private:
  using Batch = LossBatch<T>;

  Workspace<T> take_workspace(const LossSize& size, Arena& arena) const;
  void upload_lists(const Batch& batch);
  void add_statistics();
  void combine_columns(TensorCommunicator& communicator);
  void add_terms(const Lines<Real>& lines, const std::int64_t* begin, const std::int32_t* order,
                 double* value);
  void add_gradients(const Batch& batch, const LossGradient<T>& gradient);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  bool symmetric_;
  ScoreTiles<T> tiles_;
  Arena arena_;
  Workspace<T> work_{};
  PositiveLists lists_;
  const double* weight_ = nullptr;  ///< lists_.weight on the device
};

template <class T>
Workspace<T> InfoNce<T>::take_workspace(const LossSize& size, Arena& arena) const {
  Workspace<T> work{};
  work.tiles = tiles_.take_memory(size, arena);
  work.rows = Lines<Real>(size.queries, arena);
  if (symmetric_) {
    work.columns = Lines<Real>(size.candidates, arena);
    work.column_max = arena.take<Real>(size.candidates);
  }
  return work;
}

/// Weights, and where the positives of a column stand.
template <class T>
void InfoNce<T>::upload_lists(const Batch& batch) {
  const double share = symmetric_ ? 0.5 : 1.0;
  lists_.weight.clear();
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::int64_t count = batch.positive_offsets[i + 1] - batch.positive_offsets[i];
    const double weight = share / (static_cast<double>(batch.global_queries) * static_cast<double>(count));
    lists_.weight.insert(lists_.weight.end(), static_cast<std::size_t>(count), weight);
  }
  weight_ = ops_.template upload<double>(lists_.weight);
  if (!symmetric_) return;
  lists_.column_begin.assign(static_cast<std::size_t>(batch.candidates + 1), 0);
  for (const std::int32_t column : batch.positive) ++lists_.column_begin[column + 1];
  std::partial_sum(lists_.column_begin.begin(), lists_.column_begin.end(), lists_.column_begin.begin());
  lists_.column_order.resize(batch.positive.size());
  std::iota(lists_.column_order.begin(), lists_.column_order.end(), 0);
  std::ranges::stable_sort(lists_.column_order, {}, [&](std::int32_t pair) { return batch.positive[pair]; });
}

template <class T>
void InfoNce<T>::add_statistics() {
  const Real* scores = work_.tiles.scores;
  const double* inverse_temperature = work_.tiles.inverse_temperature;
  score_ops_.reset_lines(work_.rows.count, work_.rows.max, work_.rows.sum);
  score_ops_.reset_lines(work_.columns.count, work_.columns.max, work_.columns.sum);
  tiles_.for_each([&](const ScoreTile& tile) {
    tiles_.make_scores(tile);
    score_ops_.add_row_statistics(tile.rows, tile.columns, scores, inverse_temperature,
                                  work_.rows.max + tile.row, work_.rows.sum + tile.row);
    if (symmetric_) {
      score_ops_.add_column_statistics(tile.rows, tile.columns, scores, inverse_temperature,
                                       work_.columns.max + tile.column, work_.columns.sum + tile.column);
    }
  });
}

/// Column statistics over the queries of all ranks. The maximum is exact, so the sum depends on ranks by
/// rounding alone.
template <class T>
void InfoNce<T>::combine_columns(TensorCommunicator& communicator) {
  Lines<Real>& lines = work_.columns;
  ops_.copy(lines.max, lines.count, work_.column_max);
  communicator.all_reduce_max(work_.column_max, lines.count);
  score_ops_.rescale_sums(lines.count, work_.tiles.inverse_temperature, lines.max, work_.column_max,
                          lines.sum);
  std::swap(lines.max, work_.column_max);
  communicator.all_reduce_sum(lines.sum, lines.count);
}

/// The terms of one direction for this rank's pairs: adds to the positives' gradients and to the value, sets
/// the lines' weights.
template <class T>
void InfoNce<T>::add_terms(const Lines<Real>& lines, const std::int64_t* begin, const std::int32_t* order,
                           double* value) {
  score_ops_.contrastive_terms({.lines = {lines.count, begin, order},
                                .max = lines.max,
                                .sum = lines.sum,
                                .weight = weight_,
                                .score = work_.tiles.positive_score,
                                .line_weight = lines.weight,
                                .gradient = work_.tiles.positive_gradient,
                                .value = value},
                               work_.tiles.inverse_temperature);
}

template <class T>
void InfoNce<T>::add_gradients(const Batch& batch, const LossGradient<T>& gradient) {
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * batch.dimension);
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    score_ops_.softmax_gradient(tile.rows, tile.columns, work_.tiles.scores, work_.tiles.inverse_temperature,
                                work_.rows.from(tile.row), work_.columns.from(tile.column),
                                work_.tiles.gradient);
    tiles_.add_gradients(tile, gradient);
  });
}

template <class T>
void InfoNce<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                         const LossGradient<T>& gradient) {
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  arena_.reset();
  work_ = take_workspace({batch.queries, batch.candidates, positives}, arena_);
  tiles_.begin(batch, work_.tiles);
  upload_lists(batch);
  score_ops_.invert_temperature(log_temperature, work_.tiles.inverse_temperature);
  ops_.zero(work_.tiles.positive_gradient, positives);
  ops_.zero(gradient.value, 1);
  add_statistics();
  add_terms(work_.rows, ops_.template upload<std::int64_t>(batch.positive_offsets), nullptr, gradient.value);
  if (symmetric_) {
    combine_columns(communicator);
    add_terms(work_.columns, ops_.template upload<std::int64_t>(lists_.column_begin),
              ops_.template upload<std::int32_t>(lists_.column_order), gradient.value);
    communicator.all_reduce_sum(work_.columns.weight, work_.columns.count);
  }
  communicator.all_reduce_sum(gradient.value, 1);
  for (const Lines<Real>& lines : {work_.rows, work_.columns}) {
    score_ops_.softmax_lines(lines.count, work_.tiles.inverse_temperature, lines.max, lines.sum, lines.weight,
                             lines.shift, lines.offset);
  }
  add_gradients(batch, gradient);
  score_ops_.dot(batch.queries * batch.dimension, batch.query, gradient.query, -1, gradient.log_temperature);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_infonce(Ops<T>& ops, ScoreOps<T>& score_ops, const InfoNceOptions& options) {
  return std::make_unique<InfoNce<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_infonce<T>(Ops<T>&, ScoreOps<T>&, const InfoNceOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
