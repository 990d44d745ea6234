// Pairs of a positive and a negative of one query, or of one document, streamed. With f the cost of a pair,
// k its scale, and z = (b − a) k for a positive score a = s_ip and a negative score b,
//   L = Σ_i Σ_{p ∈ P(i)} ( u_i Σ_{n ∈ N(i)} f((s_in − s_ip) k) + v_i Σ_{j: p ∈ N(j)} f((s_jp − s_ip) k) ),
// where the inner sums may go over one chosen negative each. Mann–Whitney, bpr and reverse-bpr have u_i =
// 1/(B |P(i)| |N(i)|) and v_i = 0, hinge has u_i = (weight of the direction)/(B |P(i)|) and v_i likewise. A
// pair gives its negative the slope f'(z) k times the weight, and its positive the opposite.
//
//   pass 1: the positives' scores;  pass 2: sums over their negatives, or the choice among them;  pass 3:
//   gradients of the negatives.
// Unless one tile holds them all, scores are made anew for each. The second term meets queries of other
// ranks: a document is the positive of one query at most, so that scores, weights and sums go over ranks by
// column.
#include <cmath>
#include <utility>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"
#include "loss/score_tiles.h"

namespace toller {
namespace {

/// What lines (positives with their rows, or columns with their positive) meet. Memory of the device.
template <class Real>
struct MetNegatives {
  double *value = nullptr, *slope = nullptr;  ///< [lines]
  double* chosen = nullptr;                   ///< [lines]; null: they meet all
  NegativeChoices<Real> choices;
  Real* best = nullptr;  ///< choices.best over all ranks
};

/// Memory of one batch on the device.
template <class T>
struct PairWorkspace {
  using Real = RealOf<T>;
  typename ScoreTiles<T>::Memory tiles;
  MetNegatives<Real> rows, columns;
  double* moment = nullptr;                                  ///< [positives]
  Real* column_score = nullptr;                              ///< [M] of the columns' positives
  double *column_weight = nullptr, *column_count = nullptr;  ///< [M]
};

template <class T>
class PairLoss final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  PairLoss(Ops<T>& ops, ScoreOps<T>& score_ops, const PairLossOptions& options);

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size, arena); }

 private:
  using Batch = LossBatch<T>;

  bool chooses() const { return options_.negatives != HingeNegatives::kAll; }
  bool has_columns() const { return options_.kind == PairLossKind::kHinge && options_.document_weight > 0; }

  MetNegatives<Real> take_lines(std::int64_t lines, Arena& arena) const;
  PairWorkspace<T> take_workspace(const LossSize& size, Arena& arena) const;
  void check_columns(const Batch& batch);
  void weigh_queries(const Batch& batch);
  void set_scale(const Real* log_temperature);
  void spread_positives(const Batch& batch, TensorCommunicator& communicator);
  void add_sums(const Batch& batch, TensorCommunicator& communicator);
  void choose(const Batch& batch, TensorCommunicator& communicator);
  void settle(const MetNegatives<Real>& lines, const Real* score);
  void finish_terms(const Batch& batch, TensorCommunicator& communicator, const LossGradient<T>& gradient);
  void add_gradients(const Batch& batch, const LossGradient<T>& gradient);

  ColumnPositives<Real> column_positives(const Batch& batch) const {
    return {work_.column_score, work_.column_weight, work_.columns.chosen, batch.first_query};
  }
  PositiveSums<Real> sums_of(std::int64_t first, std::int64_t count) const {
    return {count,
            tiles_.positive() + first,
            work_.tiles.positive_score + first,
            work_.rows.value + first,
            work_.rows.slope + first,
            work_.moment + first};
  }

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  PairLossOptions options_;
  PairCost cost_;
  ScoreTiles<T> tiles_;
  Arena arena_;
  PairWorkspace<T> work_{};
  std::vector<double> row_weight_, positive_weight_, column_weight_;
  std::vector<bool> column_taken_;
};

const char* pair_loss_name(PairLossKind kind) {
  switch (kind) {
    case PairLossKind::kMannWhitney:
      return "mw";
    case PairLossKind::kBpr:
      return "bpr";
    case PairLossKind::kReverseBpr:
      return "reverse-bpr";
    case PairLossKind::kHinge:
      return "hinge";
  }
  return "";
}

PairCost pair_cost(const PairLossOptions& options) {
  switch (options.kind) {
    case PairLossKind::kMannWhitney:
    case PairLossKind::kBpr:
      return {PairCostKind::kLogistic};
    case PairLossKind::kReverseBpr:
      return {PairCostKind::kReversedLogistic};
    case PairLossKind::kHinge:
      return {PairCostKind::kHinge, options.margin};
  }
  return {};
}

PairLossOptions checked(PairLossOptions options) {
  if (!(options.scale > 0) || !std::isfinite(options.scale)) {
    fail_usage("the scale of {} is {}; it must be a positive number", pair_loss_name(options.kind),
               options.scale);
  }
  for (const auto& [name, x] : {std::pair{"margin", options.margin},
                                {"weight of the queries", options.query_weight},
                                {"weight of the documents", options.document_weight}}) {
    if (!(x >= 0) || !std::isfinite(x)) fail_usage("hinge: the {} is {}; it must not be negative", name, x);
  }
  if (options.kind != PairLossKind::kHinge) options.negatives = HingeNegatives::kAll;
  return options;
}

template <class T>
PairLoss<T>::PairLoss(Ops<T>& ops, ScoreOps<T>& score_ops, const PairLossOptions& options)
    : ops_(ops),
      score_ops_(score_ops),
      options_(checked(options)),
      cost_(pair_cost(options_)),
      tiles_(pair_loss_name(options.kind), ops, score_ops, options.tile_rows, options.tile_columns),
      arena_(ops) {}

template <class T>
MetNegatives<RealOf<T>> PairLoss<T>::take_lines(std::int64_t lines, Arena& arena) const {
  MetNegatives<Real> met;
  met.value = arena.take<double>(lines);
  met.slope = arena.take<double>(lines);
  if (!chooses()) return met;
  met.choices = {lines, options_.negatives == HingeNegatives::kSemiHard};
  const std::int64_t offers = met.choices.offers();
  met.choices.best = arena.take<Real>(offers);
  met.choices.number = arena.take<double>(offers);
  met.best = arena.take<Real>(offers);
  met.chosen = arena.take<double>(lines);
  return met;
}

template <class T>
PairWorkspace<T> PairLoss<T>::take_workspace(const LossSize& size, Arena& arena) const {
  PairWorkspace<T> work{};
  work.tiles = tiles_.take_memory(size, arena);
  work.rows = take_lines(size.positives, arena);
  work.moment = arena.take<double>(size.positives);
  if (!has_columns()) return work;
  work.columns = take_lines(size.candidates, arena);
  work.column_score = arena.take<Real>(size.candidates);
  work.column_weight = arena.take<double>(size.candidates);
  work.column_count = arena.take<double>(size.candidates);
  return work;
}

template <class T>
void PairLoss<T>::check_columns(const Batch& batch) {
  column_taken_.assign(static_cast<std::size_t>(batch.candidates), false);
  for (const std::int32_t column : batch.positive) {
    if (column_taken_[column]) fail("hinge: column {} is a positive of two queries", column);
    column_taken_[column] = true;
  }
}

/// The weights of a pair: by query, by positive, and by positive for its column.
template <class T>
void PairLoss<T>::weigh_queries(const Batch& batch) {
  const bool hinge = options_.kind == PairLossKind::kHinge;
  row_weight_.resize(static_cast<std::size_t>(batch.queries));
  positive_weight_.resize(batch.positive.size());
  column_weight_.resize(has_columns() ? batch.positive.size() : 0);
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::int64_t first = batch.positive_offsets[i];
    const std::int64_t positives = batch.positive_offsets[i + 1] - first;
    const std::int64_t excluded = batch.excluded_offsets[i + 1] - batch.excluded_offsets[i];
    const auto negatives = static_cast<double>(batch.candidates - positives - excluded);
    const double terms = static_cast<double>(batch.global_queries) * static_cast<double>(positives);
    row_weight_[i] = hinge ? options_.query_weight / terms : negatives > 0 ? 1 / (terms * negatives) : 0;
    std::fill_n(positive_weight_.begin() + first, positives, row_weight_[i]);
    if (has_columns()) {
      std::fill_n(column_weight_.begin() + first, positives, options_.document_weight / terms);
    }
  }
}

template <class T>
void PairLoss<T>::set_scale(const Real* log_temperature) {
  double* scale = work_.tiles.inverse_temperature;
  if (options_.kind == PairLossKind::kMannWhitney) {
    score_ops_.invert_temperature(log_temperature, scale);
  } else {
    ops_.copy(ops_.template upload<double>({&options_.scale, 1}), 1, scale);
  }
}

/// The columns' positives, of the queries of all ranks.
template <class T>
void PairLoss<T>::spread_positives(const Batch& batch, TensorCommunicator& communicator) {
  const std::int64_t m = batch.candidates;
  ops_.zero(work_.column_score, m);
  ops_.zero(work_.column_weight, m);
  ops_.zero(work_.column_count, m);
  score_ops_.spread_pairs(static_cast<std::int64_t>(batch.positive.size()), tiles_.positive(),
                          work_.tiles.positive_score, ops_.template upload<double>(column_weight_),
                          work_.column_score, work_.column_weight, work_.column_count);
  communicator.all_reduce_sum(work_.column_score, m);
  communicator.all_reduce_sum(work_.column_weight, m);
  communicator.all_reduce_sum(work_.column_count, m);
}

template <class T>
void PairLoss<T>::add_sums(const Batch& batch, TensorCommunicator& communicator) {
  const double* scale = work_.tiles.inverse_temperature;
  if (has_columns()) {
    ops_.zero(work_.columns.value, batch.candidates);
    ops_.zero(work_.columns.slope, batch.candidates);
  }
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    const auto own = tiles_.positives_of(tile);
    score_ops_.add_positive_sums(tile, work_.tiles.scores, scale, cost_, sums_of(own.first, own.count));
    if (!has_columns()) return;
    score_ops_.add_column_sums(tile, work_.tiles.scores, scale, cost_, column_positives(batch),
                               work_.columns.value, work_.columns.slope);
  });
  if (!has_columns()) return;
  communicator.all_reduce_sum(work_.columns.value, batch.candidates);
  communicator.all_reduce_sum(work_.columns.slope, batch.candidates);
}

/// Value and slope of what the lines have chosen, whose numbers `chosen` holds, turned over.
template <class T>
void PairLoss<T>::settle(const MetNegatives<Real>& lines, const Real* score) {
  score_ops_.chosen_terms(lines.choices.lines, lines.choices.semi_hard, lines.best, score,
                          work_.tiles.inverse_temperature, cost_, lines.chosen, lines.value, lines.slope);
}

template <class T>
void PairLoss<T>::choose(const Batch& batch, TensorCommunicator& communicator) {
  for (const MetNegatives<Real>& met : {work_.rows, work_.columns}) {
    score_ops_.reset_lines(met.choices.offers(), met.choices.best, met.choices.number);
  }
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    const auto own = tiles_.positives_of(tile);
    score_ops_.offer_rows(tile, work_.tiles.scores, own.first, own.count, tiles_.positive(),
                          work_.tiles.positive_score, work_.rows.choices);
    if (!has_columns()) return;
    score_ops_.offer_columns(tile, work_.tiles.scores, column_positives(batch), work_.columns.choices);
  });
  for (const MetNegatives<Real>& met : {work_.rows, work_.columns}) {
    ops_.copy(met.choices.best, met.choices.offers(), met.best);
  }
  if (has_columns()) communicator.all_reduce_max(work_.columns.best, work_.columns.choices.offers());
  for (const MetNegatives<Real>& met : {work_.rows, work_.columns}) {
    score_ops_.propose_choices(met.choices, met.best, met.chosen);
  }
  settle(work_.rows, work_.tiles.positive_score);
  if (!has_columns()) return;
  communicator.all_reduce_max(work_.columns.chosen, batch.candidates);
  settle(work_.columns, work_.column_score);
}

template <class T>
void PairLoss<T>::finish_terms(const Batch& batch, TensorCommunicator& communicator,
                               const LossGradient<T>& gradient) {
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  score_ops_.pairwise_terms(positives, ops_.template upload<double>(positive_weight_), sums_of(0, positives),
                            work_.tiles.positive_gradient, gradient.value, gradient.log_temperature);
  if (has_columns()) {
    score_ops_.column_terms(positives, tiles_.positive(), ops_.template upload<double>(column_weight_),
                            work_.column_count, work_.columns.value, work_.columns.slope,
                            work_.tiles.positive_gradient, gradient.value);
  }
  communicator.all_reduce_sum(gradient.value, 1);
  if (options_.kind != PairLossKind::kMannWhitney) ops_.zero(gradient.log_temperature, 1);
}

template <class T>
void PairLoss<T>::add_gradients(const Batch& batch, const LossGradient<T>& gradient) {
  const RowPositives<Real> rows{.positives = static_cast<std::int64_t>(batch.positive.size()),
                                .begin = ops_.template upload<std::int64_t>(batch.positive_offsets),
                                .score = work_.tiles.positive_score,
                                .weight = ops_.template upload<double>(row_weight_),
                                .chosen = work_.rows.chosen};
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * batch.dimension);
  tiles_.for_each([&](const ScoreTile& tile) {
    if (!tiles_.one_tile()) tiles_.make_scores(tile);
    score_ops_.pairwise_gradient(tile, work_.tiles.scores, work_.tiles.inverse_temperature, cost_, rows,
                                 column_positives(batch), work_.tiles.gradient);
    tiles_.add_gradients(tile, gradient);
  });
}

template <class T>
void PairLoss<T>::compute(const Batch& batch, const Real* log_temperature, TensorCommunicator& communicator,
                          const LossGradient<T>& gradient) {
  const auto positives = static_cast<std::int64_t>(batch.positive.size());
  arena_.reset();
  work_ = take_workspace({batch.queries, batch.candidates, positives}, arena_);
  tiles_.begin(batch, work_.tiles);
  if (has_columns()) check_columns(batch);
  weigh_queries(batch);
  set_scale(log_temperature);
  ops_.zero(work_.rows.value, positives);
  ops_.zero(work_.rows.slope, positives);
  ops_.zero(work_.moment, positives);
  tiles_.read_positives();
  if (has_columns()) spread_positives(batch, communicator);
  if (chooses()) {
    choose(batch, communicator);
  } else {
    add_sums(batch, communicator);
  }
  finish_terms(batch, communicator, gradient);
  add_gradients(batch, gradient);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_pair_loss(Ops<T>& ops, ScoreOps<T>& score_ops, const PairLossOptions& options) {
  return std::make_unique<PairLoss<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T) \
  template std::unique_ptr<Loss<T>> make_pair_loss<T>(Ops<T>&, ScoreOps<T>&, const PairLossOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
