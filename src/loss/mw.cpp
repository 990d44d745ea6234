// The Mann–Whitney loss, the smooth form of 1 − AUC. With S⁺ the scores of all positive pairs and S⁻ those of
// all negative pairs of the global batch, z_ab = (b − a)/τ, and n = |S⁺||S⁻|:
//   L = 1/n Σ_{a ∈ S⁺} Σ_{b ∈ S⁻} softplus(z_ab)
//   ∂L/∂b = 1/(n τ) Σ_a σ(z_ab),   ∂L/∂a = −1/(n τ) Σ_b σ(z_ab),   ∂L/∂ log τ = −1/n Σ z_ab σ(z_ab).
//
// GridMw takes the pairs by way of a grid over the scores (device/score_ops.h; cpu/score_grid.cpp has the
// error): every negative and every positive is deposited once, the deposits are summed over ranks, every rank
// finds value and slopes on the grid, and the gradient of a score is read off the slopes. Two passes over the
// tiles, unless one tile holds all scores. Over ranks go the largest norm and the grid.
//
// ExactMw, the reference, goes through the pairs one by one, over all positives, which every rank gathers:
//   pass 1: the positives' scores;  pass 2: their sums over the negatives;  pass 3: gradients of the
//   negatives.
// The loss of pairs of one query, L = 1/B Σ_i 1/(|P(i)| |N(i)|) Σ_{a ∈ P(i)} Σ_{b ∈ N(i)} softplus(z_ab), is
// one of pair_loss.cpp.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <type_traits>
#include <utility>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"
#include "loss/score_tiles.h"

namespace toller {
namespace {

/// Negatives of this rank.
template <class T>
std::int64_t count_negatives(const LossBatch<T>& batch) {
  return batch.queries * batch.candidates - static_cast<std::int64_t>(batch.positive.size()) -
         static_cast<std::int64_t>(batch.excluded.size());
}

template <class T>
class GridMw final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  GridMw(Ops<T>& ops, ScoreOps<T>& score_ops, const MwOptions& options)
      : ops_(ops),
        score_ops_(score_ops),
        tiles_("mw", ops, score_ops, options.tile_rows, options.tile_columns),
        capacity_(options.grid_points == 0 ? mw_grid_points(kUnitTemperature) : options.grid_points),
        arena_(ops) {
    if (capacity_ < 1 || capacity_ > kMwMostGridPoints) {
      fail_usage("grid_points is {}; it must be from 1 to {}", capacity_, kMwMostGridPoints);
    }
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override {
    tiles_.take_memory(size, arena);
    take_grid(arena);
  }

 private:
  using Batch = LossBatch<T>;

  /// Weights in float have 24 bits.
  static constexpr int kMostFractionBits = std::is_same_v<Real, float> ? 30 : 50;
  /// Without a number of points given, unit vectors may have temperatures down to this.
  static constexpr double kUnitTemperature = 0.001;

  struct GridMemory {
    double* norms;          ///< [2] of this rank's queries, of the documents
    ScoreGrid* grid;        ///< [1]
    std::int64_t* deposit;  ///< [2 capacity] of this rank: positives, negatives
    double* sums;  ///< [2 capacity + 2] over ranks: the same, and the numbers of positives and negatives
    Real *positive_slope, *negative_slope;  ///< [capacity]
  };

  GridMemory take_grid(Arena& arena) const {
    return {arena.take<double>(2),
            arena.take<ScoreGrid>(1),
            arena.take<std::int64_t>(2 * capacity_),
            arena.take<double>(2 * capacity_ + 2),
            arena.take<Real>(capacity_),
            arena.take<Real>(capacity_)};
  }

  void check_grids(std::int64_t step);
  void lay_grid(const Batch& batch, TensorCommunicator& communicator);
  void add_deposits(const Batch& batch, TensorCommunicator& communicator);
  void pair_up(TensorCommunicator& communicator, const LossGradient<T>& gradient);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  ScoreTiles<T> tiles_;
  std::int64_t capacity_;
  Arena arena_;
  typename ScoreTiles<T>::Memory work_;
  GridMemory grid_{};
  double counts_[2] = {};
  std::int64_t last_step_ = 0;
  std::vector<std::int64_t> grid_reads_;  ///< tickets of the ScoreGrids of last_step_
};

/// The host learns of a grid that was too small when the next step comes: it never waits for this one's.
template <class T>
void GridMw<T>::check_grids(std::int64_t step) {
  if (step == std::exchange(last_step_, step)) return;
  for (const std::int64_t ticket : std::exchange(grid_reads_, {})) {
    ScoreGrid grid{};
    ops_.finish_read(ticket, &grid);
    if (grid.points <= capacity_) continue;
    fail(
        "mw: scores up to {:g} in size at temperature {:g} take a grid of {} points, {} are allowed; "
        "normalise the embeddings, raise the temperature, or allow more points (at most {})",
        grid.largest_score, 1 / grid.inverse_temperature, grid.points, capacity_, kMwMostGridPoints);
  }
}

template <class T>
void GridMw<T>::lay_grid(const Batch& batch, TensorCommunicator& communicator) {
  score_ops_.largest_norm(batch.queries, batch.dimension, batch.query, grid_.norms);
  score_ops_.largest_norm(batch.candidates, batch.dimension, batch.document, grid_.norms + 1);
  communicator.all_reduce_max(grid_.norms, 2);
  score_ops_.lay_grid(grid_.norms, work_.inverse_temperature, capacity_, grid_.grid);
  grid_reads_.push_back(ops_.start_read(grid_.grid, sizeof(ScoreGrid)));
}

template <class T>
void GridMw<T>::add_deposits(const Batch& batch, TensorCommunicator& communicator) {
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  const auto all_scores = static_cast<std::uint64_t>(batch.global_queries * batch.candidates);
  const int fraction_bits = std::min(kMostFractionBits, 62 - static_cast<int>(std::bit_width(all_scores)));
  ops_.zero(grid_.deposit, 2 * capacity_);
  tiles_.for_each([&](const ScoreTile& tile) {
    tiles_.make_scores(tile);
    score_ops_.deposit(tile.rows * tile.columns, work_.scores, grid_.grid, fraction_bits,
                       grid_.deposit + capacity_);
  });
  score_ops_.deposit(positives, work_.positive_score, grid_.grid, fraction_bits, grid_.deposit);
  score_ops_.read_deposits(2 * capacity_, grid_.deposit, fraction_bits, grid_.sums);
  counts_[0] = static_cast<double>(positives);
  counts_[1] = static_cast<double>(count_negatives(batch));
  ops_.copy(ops_.template upload<double>(counts_), 2, grid_.sums + 2 * capacity_);
  communicator.all_reduce_sum(grid_.sums, 2 * capacity_ + 2);
}

template <class T>
void GridMw<T>::pair_up(TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  score_ops_.pair_on_grid({.capacity = capacity_,
                           .positive = grid_.sums,
                           .negative = grid_.sums + capacity_,
                           .count = grid_.sums + 2 * capacity_,
                           .positive_slope = grid_.positive_slope,
                           .negative_slope = grid_.negative_slope,
                           .value = gradient.value,
                           .log_temperature = gradient.log_temperature},
                          grid_.grid);
  // Every rank has found the gradient of the whole; the sum over ranks takes it once.
  if (communicator.rank() != 0) ops_.zero(gradient.log_temperature, 1);
}

template <class T>
void GridMw<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                        const LossGradient<T>& gradient) {
  check_grids(batch.step);
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  arena_.reset();
  work_ = tiles_.take_memory({batch.queries, batch.candidates, positives}, arena_);
  grid_ = take_grid(arena_);
  tiles_.begin(batch, work_);
  score_ops_.invert_temperature(log_temperature, work_.inverse_temperature);
  lay_grid(batch, communicator);
  add_deposits(batch, communicator);
  pair_up(communicator, gradient);
  score_ops_.read_slopes(positives, work_.positive_score, grid_.grid, grid_.positive_slope,
                         work_.positive_gradient);
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * batch.dimension);
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    score_ops_.slope_gradient(tile.rows * tile.columns, work_.scores, grid_.grid, grid_.negative_slope,
                              work_.gradient);
    tiles_.add_gradients(tile, gradient);
  });
}

template <class T>
class ExactMw final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  ExactMw(Ops<T>& ops, ScoreOps<T>& score_ops, const MwOptions& options)
      : ops_(ops),
        score_ops_(score_ops),
        tiles_("mw", ops, score_ops, options.tile_rows, options.tile_columns),
        arena_(ops),
        gathered_(ops) {}

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  /// The positives of all ranks, with their sums, come on top.
  void take_memory(const LossSize& size, Arena& arena) const override { tiles_.take_memory(size, arena); }

 private:
  using Batch = LossBatch<T>;

  /// The positives of all ranks.
  struct Positives {
    std::int64_t count = 0, first_own = 0;
    const Real* score = nullptr;
    double* sums = nullptr;  ///< [3 count]: Σ softplus, Σ σ, Σ z σ
  };

  std::vector<double> all_counts(const Batch& batch, TensorCommunicator& communicator);
  Positives gather_positives(const Batch& batch, TensorCommunicator& communicator);
  void add_sums(const Positives& positives, TensorCommunicator& communicator);
  void finish_terms(const Batch& batch, const Positives& positives, TensorCommunicator& communicator,
                    const LossGradient<T>& gradient);
  void add_gradients(const Batch& batch, const Positives& positives, const LossGradient<T>& gradient);

  static PositiveSums<Real> sums_of(const Positives& positives, std::int64_t first, std::int64_t count) {
    return {count,
            nullptr,
            positives.score + first,
            positives.sums + first,
            positives.sums + positives.count + first,
            positives.sums + 2 * positives.count + first};
  }

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  ScoreTiles<T> tiles_;
  Arena arena_, gathered_;
  typename ScoreTiles<T>::Memory work_;
  std::vector<double> row_weight_, positive_weight_;
};

/// Of every rank, the positives, then of every rank, the negatives. The host waits for them: the reference is
/// not made for speed.
template <class T>
std::vector<double> ExactMw<T>::all_counts(const Batch& batch, TensorCommunicator& communicator) {
  const int ranks = communicator.size(), rank = communicator.rank();
  std::vector<double> counts(2 * static_cast<std::size_t>(ranks), 0.0);
  counts[rank] = static_cast<double>(batch.positive.size());
  counts[ranks + rank] = static_cast<double>(count_negatives(batch));
  double* device = gathered_.take<double>(2 * ranks);
  ops_.copy_to_device(device, counts.data(), counts.size() * sizeof(double));
  communicator.all_reduce_sum(device, 2 * ranks);
  ops_.copy_to_host(counts.data(), device, counts.size() * sizeof(double));
  return counts;
}

template <class T>
typename ExactMw<T>::Positives ExactMw<T>::gather_positives(const Batch& batch,
                                                            TensorCommunicator& communicator) {
  const std::vector<double> all = all_counts(batch, communicator);
  const auto ranks = static_cast<std::size_t>(communicator.size());
  const std::vector<std::int64_t> counts(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(ranks));
  Positives positives;
  positives.count = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  positives.first_own =
      std::accumulate(counts.begin(), counts.begin() + communicator.rank(), std::int64_t{0});
  Real* scores = gathered_.take<Real>(positives.count);
  communicator.all_gather(work_.positive_score, counts, scores);
  positives.score = scores;
  positives.sums = gathered_.take<double>(3 * positives.count);
  const double negatives = std::accumulate(all.begin() + static_cast<std::ptrdiff_t>(ranks), all.end(), 0.0);
  const double pairs = static_cast<double>(positives.count) * negatives, weight = pairs > 0 ? 1 / pairs : 0;
  row_weight_.assign(static_cast<std::size_t>(batch.queries), weight);
  positive_weight_.assign(batch.positive.size(), weight);
  return positives;
}

template <class T>
void ExactMw<T>::add_sums(const Positives& positives, TensorCommunicator& communicator) {
  ops_.zero(positives.sums, 3 * positives.count);
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    score_ops_.add_positive_sums(tile, work_.scores, work_.inverse_temperature, {},
                                 sums_of(positives, 0, positives.count));
  });
  communicator.all_reduce_sum(positives.sums, 3 * positives.count);
}

template <class T>
void ExactMw<T>::finish_terms(const Batch& batch, const Positives& positives,
                              TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  const auto own = static_cast<std::int64_t>(batch.positive.size());
  score_ops_.pairwise_terms(own, ops_.template upload<double>(positive_weight_),
                            sums_of(positives, positives.first_own, own), work_.positive_gradient,
                            gradient.value, gradient.log_temperature);
  communicator.all_reduce_sum(gradient.value, 1);
}

template <class T>
void ExactMw<T>::add_gradients(const Batch& batch, const Positives& positives,
                               const LossGradient<T>& gradient) {
  const RowPositives<Real> rows{.positives = positives.count,
                                .score = positives.score,
                                .weight = ops_.template upload<double>(row_weight_)};
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * batch.dimension);
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    score_ops_.pairwise_gradient(tile, work_.scores, work_.inverse_temperature, {}, rows, {}, work_.gradient);
    tiles_.add_gradients(tile, gradient);
  });
}

template <class T>
void ExactMw<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                         const LossGradient<T>& gradient) {
  arena_.reset();
  gathered_.reset();
  work_ = tiles_.take_memory(
      {batch.queries, batch.candidates, static_cast<std::int64_t>(batch.positive.size())}, arena_);
  tiles_.begin(batch, work_);
  score_ops_.invert_temperature(log_temperature, work_.inverse_temperature);
  tiles_.read_positives();
  const Positives positives = gather_positives(batch, communicator);
  add_sums(positives, communicator);
  finish_terms(batch, positives, communicator, gradient);
  add_gradients(batch, positives, gradient);
}

}  // namespace

std::int64_t mw_grid_points(double least_temperature, double largest_score) {
  const double inverse_step = std::exp2(std::ceil(std::log2(16 / least_temperature)));
  // Rounding takes norms a little above their bound: bfloat16 by 2⁻⁸.
  const double points = 2 * std::ceil(largest_score * (1 + 0x1p-6) * inverse_step) + 7;
  if (!(points <= static_cast<double>(kMwMostGridPoints))) {
    fail_usage(
        "mw: scores up to {:g} in size at temperature {:g} take a grid of {:g} points; at most {} are "
        "possible",
        largest_score, least_temperature, points, kMwMostGridPoints);
  }
  return static_cast<std::int64_t>(points);
}

template <class T>
std::unique_ptr<Loss<T>> make_mw(Ops<T>& ops, ScoreOps<T>& score_ops, const MwOptions& options) {
  if (options.per_query) {
    return make_pair_loss<T>(ops, score_ops,
                             {.kind = PairLossKind::kMannWhitney,
                              .tile_rows = options.tile_rows,
                              .tile_columns = options.tile_columns});
  }
  if (options.exact) return std::make_unique<ExactMw<T>>(ops, score_ops, options);
  return std::make_unique<GridMw<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_mw<T>(Ops<T>&, ScoreOps<T>&, const MwOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
