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
#include <type_traits>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

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
  Real* scores;                 ///< one tile
  T* score_gradient;            ///< of that tile; the scores' own memory where T is Real
  Lines<Real> rows, columns;    ///< columns: when symmetric
  Real* positive_score;         ///< by place in batch.positive
  double* positive_gradient;    ///< ∂L/∂z of the positives, likewise
  double* inverse_temperature;  ///< [1]
  Real* column_max = nullptr;   ///< [M] over all ranks, when symmetric
};

/// The lists as the device takes them, in memory of the host.
struct PairLists {
  std::vector<ScorePair> positive, excluded;
  std::vector<double> weight;              ///< [positives] w_i of the query, times the direction's share
  std::vector<std::int64_t> column_begin;  ///< positives by column, when symmetric
  std::vector<std::int32_t> column_order;
};

void check_lists(const char* name, std::span<const std::int64_t> offsets,
                 std::span<const std::int32_t> columns, std::int64_t queries, std::int64_t candidates) {
  if (offsets.size() != static_cast<std::size_t>(queries + 1) || offsets.front() != 0 ||
      offsets.back() != static_cast<std::int64_t>(columns.size()) || !std::ranges::is_sorted(offsets)) {
    fail("infonce: the {} offsets do not divide {} columns among {} queries", name, columns.size(), queries);
  }
  for (const std::int32_t column : columns) {
    if (column < 0 || column >= candidates) {
      fail("infonce: {} column {} is not one of {} candidates", name, column, candidates);
    }
  }
}

std::vector<ScorePair> as_pairs(std::span<const std::int64_t> offsets,
                                std::span<const std::int32_t> columns) {
  std::vector<ScorePair> pairs;
  pairs.reserve(columns.size());
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    for (std::int64_t k = offsets[i]; k < offsets[i + 1]; ++k) {
      pairs.push_back({static_cast<std::int32_t>(i), columns[static_cast<std::size_t>(k)]});
    }
  }
  return pairs;
}

template <class T>
class InfoNce final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  InfoNce(Ops<T>& ops, ScoreOps<T>& score_ops, const InfoNceOptions& options)
      : ops_(ops), score_ops_(score_ops), options_(options), arena_(ops) {
    const auto or_device = [](const char* name, std::int64_t size, std::int64_t suits) {
      if (size < 0) fail_usage("{} is {}; it must not be negative", name, size);
      return size == 0 ? suits : size;
    };
    options_.tile_rows = or_device("tile_rows", options.tile_rows, score_ops.tile_rows());
    options_.tile_columns = or_device("tile_columns", options.tile_columns, score_ops.tile_columns());
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size, arena); }

 private:
  using Batch = LossBatch<T>;

  void check(const Batch& batch) const;
  Workspace<T> take_workspace(const LossSize& size, Arena& arena) const;
  void upload_lists(const Batch& batch);
  template <class Body>
  void for_tiles(const Batch& batch, Body body) const;
  void make_scores(const Batch& batch, const ScoreTile& tile);
  void add_statistics(const Batch& batch);
  void combine_columns(TensorCommunicator& communicator);
  void add_terms(const Lines<Real>& lines, const std::int64_t* begin, const std::int32_t* order,
                 double* value);
  void add_gradients(const Batch& batch, const LossGradient<T>& gradient);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  InfoNceOptions options_;
  Arena arena_;
  Workspace<T> work_{};
  PairLists lists_;
  const ScorePair *positive_ = nullptr, *excluded_ = nullptr;  ///< the lists on the device
  const double* weight_ = nullptr;
  bool one_tile_ = false;
};

template <class T>
void InfoNce<T>::check(const Batch& batch) const {
  check_lists("positive", batch.positive_offsets, batch.positive, batch.queries, batch.candidates);
  check_lists("excluded", batch.excluded_offsets, batch.excluded, batch.queries, batch.candidates);
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    if (batch.positive_offsets[i] == batch.positive_offsets[i + 1]) {
      fail("infonce: query {} of this rank has no positive", i);
    }
    const auto excluded = batch.excluded.subspan(batch.excluded_offsets[i],
                                                 batch.excluded_offsets[i + 1] - batch.excluded_offsets[i]);
    if (!std::ranges::is_sorted(excluded)) fail("infonce: excluded columns of query {} do not ascend", i);
  }
}

template <class T>
Workspace<T> InfoNce<T>::take_workspace(const LossSize& size, Arena& arena) const {
  const std::int64_t tile =
      std::min(size.queries, options_.tile_rows) * std::min(size.candidates, options_.tile_columns);
  Workspace<T> work{};
  work.scores = arena.take<Real>(tile);
  if constexpr (std::is_same_v<T, Real>) {
    work.score_gradient = work.scores;
  } else {
    work.score_gradient = arena.take<T>(tile);
  }
  work.rows = Lines<Real>(size.queries, arena);
  if (options_.symmetric) {
    work.columns = Lines<Real>(size.candidates, arena);
    work.column_max = arena.take<Real>(size.candidates);
  }
  work.positive_score = arena.take<Real>(size.positives);
  work.positive_gradient = arena.take<double>(size.positives);
  work.inverse_temperature = arena.take<double>(1);
  return work;
}

/// Weights, pairs, and where the positives of a column stand.
template <class T>
void InfoNce<T>::upload_lists(const Batch& batch) {
  lists_.positive = as_pairs(batch.positive_offsets, batch.positive);
  lists_.excluded = as_pairs(batch.excluded_offsets, batch.excluded);
  const double share = options_.symmetric ? 0.5 : 1.0;
  lists_.weight.clear();
  for (const ScorePair& pair : lists_.positive) {
    const std::int64_t count = batch.positive_offsets[pair.row + 1] - batch.positive_offsets[pair.row];
    lists_.weight.push_back(share / (static_cast<double>(batch.global_queries) * static_cast<double>(count)));
  }
  positive_ = ops_.template upload<ScorePair>(lists_.positive);
  excluded_ = ops_.template upload<ScorePair>(lists_.excluded);
  weight_ = ops_.template upload<double>(lists_.weight);
  if (!options_.symmetric) return;
  lists_.column_begin.assign(static_cast<std::size_t>(batch.candidates + 1), 0);
  for (const std::int32_t column : batch.positive) ++lists_.column_begin[column + 1];
  std::partial_sum(lists_.column_begin.begin(), lists_.column_begin.end(), lists_.column_begin.begin());
  lists_.column_order.resize(batch.positive.size());
  std::iota(lists_.column_order.begin(), lists_.column_order.end(), 0);
  std::ranges::stable_sort(lists_.column_order, {}, [&](std::int32_t pair) { return batch.positive[pair]; });
}

template <class T>
template <class Body>
void InfoNce<T>::for_tiles(const Batch& batch, Body body) const {
  for (std::int64_t row = 0; row < batch.queries; row += options_.tile_rows) {
    for (std::int64_t column = 0; column < batch.candidates; column += options_.tile_columns) {
      body(ScoreTile{row, std::min(options_.tile_rows, batch.queries - row), column,
                     std::min(options_.tile_columns, batch.candidates - column)});
    }
  }
}

/// Scores of a tile: the positives' put aside, −∞ at every pair that is no negative.
template <class T>
void InfoNce<T>::make_scores(const Batch& batch, const ScoreTile& tile) {
  const std::int64_t d = batch.dimension;
  ops_.gemm(false, true, tile.rows, tile.columns, d, batch.query + tile.row * d, d,
            batch.document + tile.column * d, d, 0, work_.scores, tile.columns);
  const std::int64_t first = batch.positive_offsets[tile.row];
  const std::int64_t positives = batch.positive_offsets[tile.row + tile.rows] - first;
  score_ops_.read_pairs(tile, positives, positive_ + first, work_.scores, work_.positive_score + first);
  score_ops_.mask_pairs(tile, positives, positive_ + first, work_.scores);
  const std::int64_t first_excluded = batch.excluded_offsets[tile.row];
  score_ops_.mask_pairs(tile, batch.excluded_offsets[tile.row + tile.rows] - first_excluded,
                        excluded_ + first_excluded, work_.scores);
}

template <class T>
void InfoNce<T>::add_statistics(const Batch& batch) {
  score_ops_.reset_lines(work_.rows.count, work_.rows.max, work_.rows.sum);
  score_ops_.reset_lines(work_.columns.count, work_.columns.max, work_.columns.sum);
  for_tiles(batch, [&](const ScoreTile& tile) {
    make_scores(batch, tile);
    score_ops_.add_row_statistics(tile.rows, tile.columns, work_.scores, work_.inverse_temperature,
                                  work_.rows.max + tile.row, work_.rows.sum + tile.row);
    if (options_.symmetric) {
      score_ops_.add_column_statistics(tile.rows, tile.columns, work_.scores, work_.inverse_temperature,
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
  score_ops_.rescale_sums(lines.count, work_.inverse_temperature, lines.max, work_.column_max, lines.sum);
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
                                .score = work_.positive_score,
                                .line_weight = lines.weight,
                                .gradient = work_.positive_gradient,
                                .value = value},
                               work_.inverse_temperature);
}

template <class T>
void InfoNce<T>::add_gradients(const Batch& batch, const LossGradient<T>& gradient) {
  const std::int64_t d = batch.dimension;
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * d);
  for_tiles(batch, [&](const ScoreTile& tile) {
    if (!one_tile_) make_scores(batch, tile);
    score_ops_.softmax_gradient(tile.rows, tile.columns, work_.scores, work_.inverse_temperature,
                                work_.rows.from(tile.row), work_.columns.from(tile.column),
                                work_.score_gradient);
    const std::int64_t first = batch.positive_offsets[tile.row];
    score_ops_.add_pair_gradients(tile, batch.positive_offsets[tile.row + tile.rows] - first,
                                  positive_ + first, work_.positive_gradient + first,
                                  work_.inverse_temperature, work_.score_gradient);
    ops_.gemm(false, false, tile.rows, d, tile.columns, work_.score_gradient, tile.columns,
              batch.document + tile.column * d, d, tile.column == 0 ? 0 : 1, gradient.query + tile.row * d,
              d);
    ops_.gemm(true, false, tile.columns, d, tile.rows, work_.score_gradient, tile.columns,
              batch.query + tile.row * d, d, tile.row == 0 ? 0 : 1, gradient.document + tile.column * d, d);
  });
}

template <class T>
void InfoNce<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                         const LossGradient<T>& gradient) {
  check(batch);
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  arena_.reset();
  work_ = take_workspace({batch.queries, batch.candidates, positives}, arena_);
  one_tile_ = batch.queries <= options_.tile_rows && batch.candidates <= options_.tile_columns;
  upload_lists(batch);
  score_ops_.invert_temperature(log_temperature, work_.inverse_temperature);
  ops_.zero(work_.positive_gradient, positives);
  ops_.zero(gradient.value, 1);
  add_statistics(batch);
  add_terms(work_.rows, ops_.template upload<std::int64_t>(batch.positive_offsets), nullptr, gradient.value);
  if (options_.symmetric) {
    combine_columns(communicator);
    add_terms(work_.columns, ops_.template upload<std::int64_t>(lists_.column_begin),
              ops_.template upload<std::int32_t>(lists_.column_order), gradient.value);
    communicator.all_reduce_sum(work_.columns.weight, work_.columns.count);
  }
  communicator.all_reduce_sum(gradient.value, 1);
  for (const Lines<Real>& lines : {work_.rows, work_.columns}) {
    score_ops_.softmax_lines(lines.count, work_.inverse_temperature, lines.max, lines.sum, lines.weight,
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
