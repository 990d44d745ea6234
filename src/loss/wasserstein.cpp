// The squared 2-Wasserstein distance between the Gaussians of scores and of labels, streamed. Rows X_i are
// softmaxes of scores, z_im = ⟨q_i, d_m⟩/τ, over all M columns; rows Y_i are softmaxes of labels,
//   Y_im = f_i + r_m [m ∈ own list of i],   f_i = 1/Z_i,  r_m = (e^y − 1)/Z_i,  Z_i = M + Σ_own (e^y − 1),
// where r_m = −f_i takes a column out. With u = 1/M, C = I − 11ᵀ/B and n = B − 1:
//   L = ‖μ_X − μ_Y‖² + 1/n (Σ‖X_i − u‖² − B ‖μ_X − u‖²) + 1/n (Σ‖Y_i − u‖² − B ‖μ_Y − u‖²) − 2 ‖A‖_*
//   A = C R C/n,   R_ij = Σ_{m ∈ own list of j} X_im r_m.
// A is E_X E_Yᵀ of the centred rows: f_j adds to R a number that depends on j alone, which C takes away. So
// Y is never formed, and the products need X at listed columns only. Moments are taken about u, which the
// rows come close to at high temperatures. With P the polar factor of C R C (P = C P C):
//   ∂L/∂X_im = c_m + 2/n (X_im − P_ij r_m),  m ∈ own list of j,   c = 2/B (μ_X − μ_Y) − 2/n μ_X
//   ∂L/∂z_im = X_im (∂L/∂X_im − Σ_k X_ik ∂L/∂X_ik)
//   dQ = (∂L/∂z) D/τ,   dD = (∂L/∂z)ᵀ Q/τ,   dL/d log τ = −⟨Q, dQ⟩,   ‖C R C‖_* = ⟨P, R⟩.
//
// Scores exist a tile at a time. Passes: (1) log-sum-exps of the rows; (2) Σ_i X_im, Σ‖X_i − u‖² and R; (3)
// Σ_k X_ik ∂L/∂X_ik; (4) gradients. Over ranks go, before (2), r, the lists and two sums of the labels (2 M +
// 2 B + 2 doubles, each from one rank); after (2), the column sums (M + 1); then, of C R C, the means of its
// columns, and what PolarFactor takes (every rank has the rows of its queries, so that the work is divided);
// then ⟨P, R⟩.
#include <algorithm>
#include <cmath>
#include <type_traits>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"
#include "loss/polar_factor.h"
#include "loss/score_tiles.h"

namespace toller {
namespace {

/// Singular values of C R C that count in full, relative to its norm: those above the rounding of scores in
/// float, or of double.
template <class T>
constexpr double kTolerance = std::is_same_v<T, double> ? 1e-8 : 1e-6;

/// What all ranks know of the labels: sums over ranks, each number from the rank whose list it is of.
struct SharedLists {
  double* first = nullptr;
  std::int64_t size = 0;
  ColumnLists lists;
  double *weight, *number, *begin, *end;
  double* totals;  ///< [2] Σ_j f_j, Σ_j ‖Y_j − u‖²

  SharedLists() = default;
  SharedLists(std::int64_t queries, std::int64_t candidates, Arena& arena)
      : size(2 * candidates + 2 * queries + 2) {
    first = arena.take<double>(size);
    weight = first;
    number = weight + candidates;
    begin = number + candidates;
    end = begin + queries;
    totals = end + queries;
    lists = {queries, begin, end, number, weight};
  }
};

/// Memory of one batch on the device.
template <class T>
struct Workspace {
  using Real = RealOf<T>;
  typename ScoreWalk<T>::TileMemory tile;  ///< scores, then probabilities
  Real* max;                               ///< [b]
  double* sum;                             ///< [b]
  double* row_square;
  double* mean_slope;           ///< [b] Σ_k X_ik ∂L/∂X_ik
  double* column_sum;           ///< [M + 1] Σ_i (X_im − u); the last: Σ_i ‖X_i − u‖²
  double* slope;                ///< [M] c
  double* product;              ///< [b, B] R
  double* centered;             ///< [b, B] C R C
  double* list_sum;             ///< [B] column sums of R
  double* overlap;              ///< [1] ⟨P, R⟩
  double* inverse_temperature;  ///< [1]
  SharedLists shared;
  typename PolarFactor<T>::Memory polar;
};

/// The labels of this rank's queries, in memory of the host.
struct Labels {
  std::vector<double> weight, number;  ///< by own column
  std::vector<double> begin, end;      ///< by query
  std::vector<double> totals;
  std::vector<ScorePair> masked;             ///< pairs that have no part in X, by rows
  std::vector<std::int64_t> masked_offsets;  ///< [b + 1]
};

template <class T>
class Wasserstein final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  Wasserstein(Ops<T>& ops, ScoreOps<T>& score_ops, const WassersteinOptions& options)
      : ops_(ops),
        score_ops_(score_ops),
        walk_(ops, score_ops, options.tile_rows, options.tile_columns),
        polar_(score_ops, kTolerance<T>),
        arena_(ops) {}

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size, arena); }

 private:
  using Batch = LossBatch<T>;

  Workspace<T> take_workspace(const LossSize& size, Arena& arena) const;
  void share_lists(const Batch& batch, TensorCommunicator& communicator);
  void make_scores(const ScoreTile& tile);
  template <class Body>
  void for_probabilities(bool made, Body body);
  void add_statistics(const Batch& batch);
  void add_moments(const Batch& batch, TensorCommunicator& communicator);
  const double* take_polar_factor(const Batch& batch, TensorCommunicator& communicator);
  void center(const Batch& batch, TensorCommunicator& communicator, double* x);
  void add_gradients(const Batch& batch, const double* polar, const LossGradient<T>& gradient);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  ScoreWalk<T> walk_;
  PolarFactor<T> polar_;
  Arena arena_;
  Workspace<T> work_{};
  Labels labels_;
  const ScorePair* masked_ = nullptr;  ///< on the device
};

template <class T>
void check(const LossBatch<T>& batch) {
  if (batch.own_offsets.empty()) {
    fail("wasserstein: the batch does not say which documents its queries brought, and with which grades");
  }
  if (batch.own_offsets.size() != static_cast<std::size_t>(batch.queries + 1) ||
      !std::ranges::is_sorted(batch.own_offsets) ||
      batch.own_offsets.back() - batch.own_offsets.front() != std::ssize(batch.own_grade)) {
    fail("wasserstein: the own offsets do not divide {} columns among {} queries", batch.own_grade.size(),
         batch.queries);
  }
  check_column_lists("wasserstein", "excluded", batch.excluded_offsets, batch.excluded, batch);
  if (batch.own_offsets.front() < 0 || batch.own_offsets.back() > batch.candidates) {
    fail("wasserstein: own columns {} to {} are not among {} candidates", batch.own_offsets.front(),
         batch.own_offsets.back(), batch.candidates);
  }
  if (batch.first_query < 0 || batch.first_query + batch.queries > batch.global_queries) {
    fail("wasserstein: queries {} to {} are not among {}", batch.first_query,
         batch.first_query + batch.queries, batch.global_queries);
  }
}

/// The pairs without a part in X of query i.
template <class T>
void add_masked_pairs(const LossBatch<T>& batch, std::int64_t i, std::span<const bool> left_out,
                      Labels& labels) {
  const auto row = static_cast<std::int32_t>(i);
  const std::int64_t own = batch.own_offsets[i], own_end = batch.own_offsets[i + 1];
  for (std::int64_t m = own; m < own_end; ++m) {
    if (left_out[m - own]) labels.masked.push_back({row, static_cast<std::int32_t>(m)});
  }
  for (std::int64_t k = batch.excluded_offsets[i]; k < batch.excluded_offsets[i + 1]; ++k) {
    const std::int32_t column = batch.excluded[k];
    if (column < own || column >= own_end) labels.masked.push_back({row, column});
  }
}

/// Y of query i: the weights r of its own columns, and its part of the totals. Exponentials are relative to
/// the largest, so that any grade will do.
template <class T>
void add_labels(const LossBatch<T>& batch, std::int64_t i, std::span<const bool> left_out, Labels& labels) {
  const std::int64_t own = batch.own_offsets[i], count = batch.own_offsets[i + 1] - own;
  const auto grade = batch.own_grade.subspan(own - batch.own_offsets.front(), count);
  double highest = 0;
  for (std::int64_t k = 0; k < count; ++k) {
    if (!left_out[k]) highest = std::max(highest, static_cast<double>(grade[k]));
  }
  const auto others = static_cast<double>(batch.candidates - count), base = std::exp(-highest);
  double total = others * base;
  for (std::int64_t k = 0; k < count; ++k) total += left_out[k] ? 0 : std::exp(grade[k] - highest);
  const double scale = total == 0 ? 0 : 1 / total, center = 1 / static_cast<double>(batch.candidates);
  const double floor = base * scale;
  labels.totals[0] += floor;
  labels.totals[1] += others * (floor - center) * (floor - center);
  for (std::int64_t k = 0; k < count; ++k) {
    const double y = left_out[k] ? 0 : std::exp(grade[k] - highest) * scale;
    labels.weight.push_back(y - floor);
    labels.number.push_back(static_cast<double>(batch.first_query + i + 1));
    labels.totals[1] += (y - center) * (y - center);
  }
  labels.begin.push_back(static_cast<double>(own));
  labels.end.push_back(static_cast<double>(own + count));
}

template <class T>
Labels make_labels(const LossBatch<T>& batch) {
  Labels labels{.weight = {},
                .number = {},
                .begin = {},
                .end = {},
                .totals = {0, 0},
                .masked = {},
                .masked_offsets = {0}};
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::int64_t own = batch.own_offsets[i], count = batch.own_offsets[i + 1] - own;
    const auto left_out = std::make_unique<bool[]>(static_cast<std::size_t>(count));
    for (std::int64_t k = 0; k < count; ++k) {
      left_out[k] = batch.own_grade[own + k - batch.own_offsets.front()] < 0;
    }
    for (std::int64_t k = batch.excluded_offsets[i]; k < batch.excluded_offsets[i + 1]; ++k) {
      const std::int64_t place = batch.excluded[k] - own;
      if (place >= 0 && place < count) left_out[place] = true;
    }
    const std::span<const bool> of_query(left_out.get(), static_cast<std::size_t>(count));
    add_masked_pairs(batch, i, of_query, labels);
    add_labels(batch, i, of_query, labels);
    labels.masked_offsets.push_back(static_cast<std::int64_t>(labels.masked.size()));
  }
  return labels;
}

template <class T>
Workspace<T> Wasserstein<T>::take_workspace(const LossSize& size, Arena& arena) const {
  Workspace<T> work{};
  work.tile = walk_.take_tile(size, arena);
  work.max = arena.take<Real>(size.queries);
  work.sum = arena.take<double>(size.queries);
  work.row_square = arena.take<double>(size.queries);
  work.mean_slope = arena.take<double>(size.queries);
  work.column_sum = arena.take<double>(size.candidates + 1);
  work.slope = arena.take<double>(size.candidates);
  work.product = arena.take<double>(size.queries * size.global_queries);
  work.centered = arena.take<double>(size.queries * size.global_queries);
  work.list_sum = arena.take<double>(size.global_queries);
  work.overlap = arena.take<double>(1);
  work.inverse_temperature = arena.take<double>(1);
  work.shared = SharedLists(size.global_queries, size.candidates, arena);
  work.polar = polar_.take_memory(size.queries, size.global_queries, arena);
  return work;
}

/// Every rank puts what it knows in its place among zeros; the sum over ranks is exact.
template <class T>
void Wasserstein<T>::share_lists(const Batch& batch, TensorCommunicator& communicator) {
  labels_ = make_labels(batch);
  masked_ = ops_.template upload<ScorePair>(labels_.masked);
  const SharedLists& shared = work_.shared;
  const auto place = [&](const std::vector<double>& from, double* to) {
    if (from.empty()) return;
    ops_.copy(ops_.template upload<double>(from), static_cast<std::int64_t>(from.size()), to);
  };
  ops_.zero(shared.first, shared.size);
  place(labels_.weight, shared.weight + batch.own_offsets.front());
  place(labels_.number, shared.number + batch.own_offsets.front());
  place(labels_.begin, shared.begin + batch.first_query);
  place(labels_.end, shared.end + batch.first_query);
  place(labels_.totals, shared.totals);
  communicator.all_reduce_sum(shared.first, shared.size);
}

template <class T>
void Wasserstein<T>::make_scores(const ScoreTile& tile) {
  walk_.multiply(tile, work_.tile.scores);
  const std::int64_t first = labels_.masked_offsets[tile.row];
  score_ops_.mask_pairs(tile, labels_.masked_offsets[tile.row + tile.rows] - first, masked_ + first,
                        work_.tile.scores);
}

/// body(tile) with X of the tile in work_.tile.scores. `made`: a tile that holds everything has them already.
template <class T>
template <class Body>
void Wasserstein<T>::for_probabilities(bool made, Body body) {
  walk_.for_each([&](const ScoreTile& tile) {
    if (!walk_.one_tile()) make_scores(tile);
    if (!walk_.one_tile() || !made) {
      score_ops_.probabilities(tile.rows, tile.columns, work_.inverse_temperature, work_.max + tile.row,
                               work_.sum + tile.row, work_.tile.scores);
    }
    body(tile);
  });
}

template <class T>
void Wasserstein<T>::add_statistics(const Batch& batch) {
  score_ops_.reset_lines(batch.queries, work_.max, work_.sum);
  walk_.for_each([&](const ScoreTile& tile) {
    make_scores(tile);
    score_ops_.add_row_statistics(tile.rows, tile.columns, work_.tile.scores, work_.inverse_temperature,
                                  work_.max + tile.row, work_.sum + tile.row);
  });
}

template <class T>
void Wasserstein<T>::add_moments(const Batch& batch, TensorCommunicator& communicator) {
  ops_.zero(work_.row_square, batch.queries);
  ops_.zero(work_.column_sum, batch.candidates);
  ops_.zero(work_.product, batch.queries * batch.global_queries);
  for_probabilities(false, [&](const ScoreTile& tile) {
    score_ops_.add_probability_moments(tile.rows, tile.columns, work_.tile.scores,
                                       1 / static_cast<double>(batch.candidates), work_.row_square + tile.row,
                                       work_.column_sum + tile.column);
    score_ops_.add_list_sums(tile, work_.tile.scores, work_.shared.lists, work_.product);
  });
  score_ops_.inner_product(batch.queries, work_.row_square, nullptr, work_.column_sum + batch.candidates);
  communicator.all_reduce_sum(work_.column_sum, batch.candidates + 1);
}

/// C x C of x [B, B], of which this rank has b rows.
template <class T>
void Wasserstein<T>::center(const Batch& batch, TensorCommunicator& communicator, double* x) {
  const std::int64_t all = batch.global_queries;
  score_ops_.center_rows(batch.queries, all, x);
  score_ops_.column_sums(batch.queries, all, x, work_.list_sum);
  communicator.all_reduce_sum(work_.list_sum, all);
  score_ops_.add_to_rows(batch.queries, all, -1 / static_cast<double>(all), work_.list_sum, x);
}

/// P [b, B], and ⟨P, R⟩ in work_.overlap. Without covariances both are 0, as they are of one query.
template <class T>
const double* Wasserstein<T>::take_polar_factor(const Batch& batch, TensorCommunicator& communicator) {
  const std::int64_t size = batch.queries * batch.global_queries;
  ops_.copy(work_.product, size, work_.centered);
  center(batch, communicator, work_.centered);
  double* polar = polar_.compute(work_.centered, work_.polar, communicator);
  center(batch, communicator, polar);  // takes away what rounding put outside
  score_ops_.inner_product(size, polar, work_.product, work_.overlap);
  communicator.all_reduce_sum(work_.overlap, 1);
  return polar;
}

template <class T>
void Wasserstein<T>::add_gradients(const Batch& batch, const double* polar, const LossGradient<T>& gradient) {
  const ProbabilitySlopes slopes{
      .lists = work_.shared.lists,
      .column = work_.slope,
      .row_list = polar,
      .factor = batch.global_queries > 1 ? 2 / static_cast<double>(batch.global_queries - 1) : 0};
  ops_.zero(work_.mean_slope, batch.queries);
  for_probabilities(true, [&](const ScoreTile& tile) {
    score_ops_.add_mean_slopes(tile, work_.tile.scores, slopes, work_.mean_slope);
  });
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * batch.dimension);
  for_probabilities(true, [&](const ScoreTile& tile) {
    score_ops_.probability_gradient(tile, work_.tile.scores, slopes, work_.mean_slope,
                                    work_.inverse_temperature, work_.tile.gradient);
    walk_.add_embedding_gradients(tile, work_.tile.gradient, gradient);
  });
}

template <class T>
void Wasserstein<T>::compute(const Batch& batch, const Real* log_temperature,
                             TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  check(batch);
  walk_.begin(batch);
  arena_.reset();
  work_ = take_workspace({.queries = batch.queries,
                          .candidates = batch.candidates,
                          .positives = 0,
                          .global_queries = batch.global_queries},
                         arena_);
  share_lists(batch, communicator);
  score_ops_.invert_temperature(log_temperature, work_.inverse_temperature);
  add_statistics(batch);
  add_moments(batch, communicator);
  const double* polar = take_polar_factor(batch, communicator);
  score_ops_.gaussian_distance({.samples = batch.global_queries,
                                .columns = batch.candidates,
                                .column_sum = work_.column_sum,
                                .square_sum = work_.column_sum + batch.candidates,
                                .weight = work_.shared.weight,
                                .label_totals = work_.shared.totals,
                                .overlap = work_.overlap},
                               work_.slope, gradient.value);
  add_gradients(batch, polar, gradient);
  score_ops_.dot(batch.queries * batch.dimension, batch.query, gradient.query, -1, gradient.log_temperature);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_wasserstein(Ops<T>& ops, ScoreOps<T>& score_ops,
                                          const WassersteinOptions& options) {
  return std::make_unique<Wasserstein<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_wasserstein<T>(Ops<T>&, ScoreOps<T>&, const WassersteinOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
