// Alignment and calibrated uniformity of unit vectors, streamed. With w_i = 1/(B |P(i)|), s the inner
// products, so that ‖x − y‖² = 2 − 2 s_xy, and n vectors of a kind:
//   A = Σ_i Σ_{p ∈ P(i)} w_i ‖q_i − d_p‖² = 2 − 2 Σ w_i s_ip,           ∂A/∂s_ip = −2 w_i
//   U = log 1/(n (n − 1)) Σ_{x ≠ y} e^{4 (s_xy − c_xy)},                ∂U/∂s_xy = 4 e^{4 (s_xy − c_xy)} / Σ
//   L = A + γ/2 (U_q + U_d)
// where c is 1 without calibration, and with it 1 for similar documents and 0 for others. Exponents are taken
// relative to one number that no score exceeds: a maximum need not be found.
//
// A rank has the rows of its queries and of the documents that these brought, against the columns of all
// ranks. Two passes over the tiles of each kind: sums of exponentials, then gradients. For queries, s − c is
// symmetric: twice the rows' part is all of their gradient. What documents are similar need not be symmetric,
// so their columns get a part too. Over ranks go the queries, and three sums.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"
#include "loss/score_tiles.h"

namespace toller {
namespace {

constexpr const char* kName = "alignment-uniformity";
/// Of scores in exponents: 2 t, with the t = 2 of the sources.
constexpr double kScale = 4;
constexpr double kOne = 1, kTwo = 2;
/// Above all scores, however their vectors were rounded.
constexpr double kHighest = 2;

/// Memory of one batch on the device. Gradients are by the unit vectors. Lines serve the queries' rows, then
/// the documents'.
template <class T>
struct Workspace {
  using Real = RealOf<T>;
  typename ScoreTiles<T>::Memory tiles;
  T *query, *document, *all_queries;  ///< [b, d], [M, d], [B, d] unit vectors
  Real *query_norm, *document_norm;   ///< [b], [M]
  Real *d_query, *d_document;         ///< [b, d], [M, d]
  Real *max, *shift, *offset;         ///< [lines]
  double* sum;                        ///< [lines]
  double* positive_score;             ///< [positives]
  double *alignment, *total, *mean;   ///< [1] Σ w_i s_ip; of a uniformity, the sum and the mean
  double* scale;                      ///< [1] of the uniformities' scores
};

/// Vectors of one kind, queries or documents: those of this rank, the rows, against those of all ranks.
template <class T>
struct Pool {
  LossBatch<T> vectors;             ///< rows as its queries, columns as its documents
  std::vector<ScorePair> itself;    ///< [rows]
  std::vector<ScorePair> similar;   ///< by rows
  std::vector<std::int64_t> begin;  ///< [rows + 1] of the rows in `similar`
  const ScorePair *device_itself = nullptr, *device_similar = nullptr;

  std::int64_t rows() const { return vectors.queries; }
};

template <class T>
class AlignmentUniformity final : public Loss<T> {
 public:
  using Real = RealOf<T>;

  AlignmentUniformity(Ops<T>& ops, ScoreOps<T>& score_ops, const AlignmentUniformityOptions& options)
      : ops_(ops),
        score_ops_(score_ops),
        options_(options),
        tiles_(kName, ops, score_ops, options.tile_rows, options.tile_columns),
        walk_(ops, score_ops, options.tile_rows, options.tile_columns),
        arena_(ops) {
    if (!(options.uniformity_weight >= 0) || !std::isfinite(options.uniformity_weight)) {
      fail_usage("{}: the weight of the uniformity is {}; it must not be negative", kName,
                 options.uniformity_weight);
    }
  }

  void compute(const LossBatch<T>& batch, const Real* log_temperature, TensorCommunicator& communicator,
               const LossGradient<T>& gradient) override;
  void take_memory(const LossSize& size, Arena& arena) const override { take_workspace(size, arena); }

 private:
  using Batch = LossBatch<T>;

  Workspace<T> take_workspace(const LossSize& size, Arena& arena) const;
  void make_unit_vectors(const Batch& batch, TensorCommunicator& communicator);
  void set_rows(Pool<T>& pool, std::int64_t first, std::int64_t rows);
  void make_pools(const Batch& batch, int rank);
  void make_constants(const Batch& batch);
  const double* upload_scalar(const double& number) { return ops_.template upload<double>({&number, 1}); }
  void set_alignment(const Batch& unit, TensorCommunicator& communicator, double* value);
  void make_scores(const Pool<T>& pool, const ScoreTile& tile);
  void add_statistics(const Pool<T>& pool, TensorCommunicator& communicator);
  bool add_uniformity(const Pool<T>& pool, double calibration, TensorCommunicator& communicator,
                      double* value);
  template <class Body>
  void for_score_gradients(const Pool<T>& pool, double factor, Body body);
  void add_query_uniformity(TensorCommunicator& communicator, double* value);
  void add_document_uniformity(const Batch& batch, TensorCommunicator& communicator, double* value);

  Ops<T>& ops_;
  ScoreOps<T>& score_ops_;
  AlignmentUniformityOptions options_;
  ScoreTiles<T> tiles_;  ///< of the alignment
  ScoreWalk<T> walk_;    ///< of the uniformities
  Arena arena_;
  Workspace<T> work_{};
  Pool<T> queries_, documents_;
  // On the host.
  std::vector<std::int64_t> gather_counts_;
  std::vector<double> positive_weight_, positive_gradient_, line_weight_;
  std::vector<std::int32_t> row_number_;
  std::vector<Real> highest_;
};

template <class T>
void check(const LossBatch<T>& batch, const TensorCommunicator& communicator) {
  const std::span<const std::int64_t> counts = batch.query_counts, own = batch.own_offsets;
  const auto rank = static_cast<std::size_t>(communicator.rank());
  if (counts.size() != static_cast<std::size_t>(communicator.size()) || counts[rank] != batch.queries ||
      std::ranges::min(counts) < 0 ||
      std::accumulate(counts.begin(), counts.end(), std::int64_t{0}) != batch.global_queries) {
    fail("{}: the batch does not say how its {} queries are divided among {} ranks", kName,
         batch.global_queries, communicator.size());
  }
  if (own.size() != static_cast<std::size_t>(batch.queries + 1) || !std::ranges::is_sorted(own) ||
      own.front() < 0 || own.back() > batch.candidates) {
    fail("{}: the batch does not say which of its {} candidates each of {} queries brought", kName,
         batch.candidates, batch.queries);
  }
  const std::int64_t before =
      std::accumulate(counts.begin(), counts.begin() + communicator.rank(), std::int64_t{0});
  const bool starts = batch.queries > 0 && before == 0,
             ends = batch.queries > 0 && before + batch.queries == batch.global_queries;
  if ((starts && own.front() != 0) || (ends && own.back() != batch.candidates)) {
    fail("{}: some of {} candidates were brought by no query", kName, batch.candidates);
  }
}

/// Of a column that query i brought: the pairs of its row with the other positives of i and with what is
/// excluded for i, where it is a positive of i itself.
template <class T>
void add_similar(const LossBatch<T>& batch, std::int64_t i, std::int64_t column,
                 std::vector<ScorePair>& similar) {
  const auto list = [i](std::span<const std::int64_t> offsets, std::span<const std::int32_t> columns) {
    return columns.subspan(offsets[i], offsets[i + 1] - offsets[i]);
  };
  const auto positive = list(batch.positive_offsets, batch.positive);
  if (std::ranges::find(positive, column) == positive.end()) return;
  const auto row = static_cast<std::int32_t>(column - batch.own_offsets.front());
  for (const auto& columns : {positive, list(batch.excluded_offsets, batch.excluded)}) {
    for (const std::int32_t other : columns) {
      if (other != column) similar.push_back({row, other});
    }
  }
}

template <class T>
Workspace<T> AlignmentUniformity<T>::take_workspace(const LossSize& size, Arena& arena) const {
  const std::int64_t d = size.dimension, lines = std::max(size.queries, size.own);
  Workspace<T> work{};
  // One tile for the scores of all three kinds.
  work.tiles = tiles_.take_memory({.queries = lines,
                                   .candidates = std::max(size.candidates, size.global_queries),
                                   .positives = size.positives},
                                  arena);
  work.query = arena.take<T>(size.queries * d);
  work.document = arena.take<T>(size.candidates * d);
  work.all_queries = arena.take<T>(size.global_queries * d);
  work.query_norm = arena.take<Real>(size.queries);
  work.document_norm = arena.take<Real>(size.candidates);
  work.d_query = arena.take<Real>(size.queries * d);
  work.d_document = arena.take<Real>(size.candidates * d);
  work.max = arena.take<Real>(lines);
  work.shift = arena.take<Real>(lines);
  work.offset = arena.take<Real>(lines);
  work.sum = arena.take<double>(lines);
  work.positive_score = arena.take<double>(size.positives);
  work.alignment = arena.take<double>(1);
  work.total = arena.take<double>(1);
  work.mean = arena.take<double>(1);
  work.scale = arena.take<double>(1);
  return work;
}

template <class T>
void AlignmentUniformity<T>::make_unit_vectors(const Batch& batch, TensorCommunicator& communicator) {
  const std::int64_t d = batch.dimension;
  score_ops_.cut_rows(batch.queries, d, d, batch.query, work_.query_norm, work_.query);
  score_ops_.cut_rows(batch.candidates, d, d, batch.document, work_.document_norm, work_.document);
  gather_counts_.clear();
  for (const std::int64_t count : batch.query_counts) gather_counts_.push_back(count * d);
  communicator.all_gather(work_.query, gather_counts_, work_.all_queries);
}

template <class T>
void AlignmentUniformity<T>::set_rows(Pool<T>& pool, std::int64_t first, std::int64_t rows) {
  pool.vectors.queries = rows;
  pool.vectors.query = pool.vectors.document + first * pool.vectors.dimension;
  pool.itself.clear();
  for (std::int64_t row = 0; row < rows; ++row) {
    pool.itself.push_back({static_cast<std::int32_t>(row), static_cast<std::int32_t>(first + row)});
  }
  pool.device_itself = ops_.template upload<ScorePair>(pool.itself);
}

template <class T>
void AlignmentUniformity<T>::make_pools(const Batch& batch, int rank) {
  const auto before = batch.query_counts.first(static_cast<std::size_t>(rank));
  queries_.vectors.dimension = documents_.vectors.dimension = batch.dimension;
  queries_.vectors.candidates = batch.global_queries;
  queries_.vectors.document = work_.all_queries;
  set_rows(queries_, std::accumulate(before.begin(), before.end(), std::int64_t{0}), batch.queries);
  queries_.begin.assign(static_cast<std::size_t>(batch.queries + 1), 0);
  documents_.vectors.candidates = batch.candidates;
  documents_.vectors.document = work_.document;
  set_rows(documents_, batch.own_offsets.front(), batch.own_offsets.back() - batch.own_offsets.front());
  documents_.begin.assign(1, 0);
  documents_.similar.clear();
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    for (std::int64_t column = batch.own_offsets[i]; column < batch.own_offsets[i + 1]; ++column) {
      if (options_.calibrated) add_similar(batch, i, column, documents_.similar);
      documents_.begin.push_back(static_cast<std::int64_t>(documents_.similar.size()));
    }
  }
  documents_.device_similar = ops_.template upload<ScorePair>(documents_.similar);
}

template <class T>
void AlignmentUniformity<T>::make_constants(const Batch& batch) {
  positive_weight_.clear();
  positive_gradient_.clear();
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::int64_t count = batch.positive_offsets[i + 1] - batch.positive_offsets[i];
    const double weight = 1 / (static_cast<double>(batch.global_queries) * static_cast<double>(count));
    positive_weight_.insert(positive_weight_.end(), static_cast<std::size_t>(count), weight);
    positive_gradient_.insert(positive_gradient_.end(), static_cast<std::size_t>(count), -2 * weight);
  }
  row_number_.resize(static_cast<std::size_t>(batch.queries));
  std::iota(row_number_.begin(), row_number_.end(), 0);
  ops_.copy(upload_scalar(kScale), 1, work_.scale);
  ops_.copy(upload_scalar(kOne), 1, work_.tiles.inverse_temperature);
}

/// The value becomes A.
template <class T>
void AlignmentUniformity<T>::set_alignment(const Batch& unit, TensorCommunicator& communicator,
                                           double* value) {
  const auto positives = static_cast<std::int64_t>(unit.positive.size());
  const ScoreLists lists{.lists = unit.queries,
                         .documents = positives,
                         .offsets = ops_.template upload<std::int64_t>(unit.positive_offsets),
                         .query = ops_.template upload<std::int32_t>(row_number_),
                         .column = ops_.template upload<std::int32_t>(unit.positive)};
  score_ops_.list_scores(lists, unit.dimension, unit.query, unit.document, work_.positive_score);
  score_ops_.inner_product(positives, work_.positive_score, ops_.template upload<double>(positive_weight_),
                           work_.alignment);
  communicator.all_reduce_sum(work_.alignment, 1);
  ops_.copy(upload_scalar(kTwo), 1, value);
  score_ops_.add_scaled_number(-2, work_.alignment, value);
  ops_.copy(ops_.template upload<double>(positive_gradient_), positives, work_.tiles.positive_gradient);
}

/// Scores of a tile: −∞ for a vector with itself, similar documents moved by 1.
template <class T>
void AlignmentUniformity<T>::make_scores(const Pool<T>& pool, const ScoreTile& tile) {
  Real* scores = work_.tiles.scores;
  walk_.multiply(tile, scores);
  score_ops_.mask_pairs(tile, tile.rows, pool.device_itself + tile.row, scores);
  const std::int64_t first = pool.begin[tile.row], last = pool.begin[tile.row + tile.rows];
  score_ops_.shift_pairs(tile, last - first, pool.device_similar + first, -1, scores);
}

/// work_.total = Σ e^{kScale (s − kHighest)} over the pairs of all ranks.
template <class T>
void AlignmentUniformity<T>::add_statistics(const Pool<T>& pool, TensorCommunicator& communicator) {
  highest_.assign(static_cast<std::size_t>(pool.rows()), static_cast<Real>(kHighest));
  score_ops_.reset_lines(pool.rows(), work_.max, work_.sum);
  walk_.for_each([&](const ScoreTile& tile) {
    make_scores(pool, tile);
    score_ops_.add_row_statistics(tile.rows, tile.columns, work_.tiles.scores, work_.scale,
                                  work_.max + tile.row, work_.sum + tile.row);
  });
  score_ops_.rescale_sums(pool.rows(), work_.scale, work_.max, ops_.template upload<Real>(highest_),
                          work_.sum);
  score_ops_.inner_product(pool.rows(), work_.sum, nullptr, work_.total);
  communicator.all_reduce_sum(work_.total, 1);
}

/// Adds γ/2 U to the value; `calibration` is the c of pairs that are not similar. False where there are no
/// pairs.
template <class T>
bool AlignmentUniformity<T>::add_uniformity(const Pool<T>& pool, double calibration,
                                            TensorCommunicator& communicator, double* value) {
  const auto n = static_cast<double>(pool.vectors.candidates), pairs = n * (n - 1);
  if (pairs == 0) return false;
  walk_.begin(pool.vectors);
  add_statistics(pool, communicator);
  ops_.zero(work_.mean, 1);
  score_ops_.add_scaled_number(std::exp(kScale * (kHighest - calibration)) / pairs, work_.total, work_.mean);
  score_ops_.add_log(options_.uniformity_weight / 2, work_.mean, value);
  return true;
}

/// body(tile) with factor · γ/2 ∂U/∂s in work_.tiles.gradient: softmax over all pairs, as if each row were
/// all.
template <class T>
template <class Body>
void AlignmentUniformity<T>::for_score_gradients(const Pool<T>& pool, double factor, Body body) {
  const std::int64_t rows = pool.rows();
  line_weight_.assign(static_cast<std::size_t>(rows), factor * options_.uniformity_weight / 2);
  ops_.zero(work_.sum, rows);
  score_ops_.add_to_rows(rows, 1, 1, work_.total, work_.sum);
  score_ops_.softmax_lines(rows, work_.scale, ops_.template upload<Real>(highest_), work_.sum,
                           ops_.template upload<double>(line_weight_), work_.shift, work_.offset);
  walk_.for_each([&](const ScoreTile& tile) {
    if (!walk_.one_tile()) make_scores(pool, tile);
    score_ops_.softmax_gradient(tile.rows, tile.columns, work_.tiles.scores, work_.scale,
                                {work_.shift + tile.row, work_.offset + tile.row}, {}, work_.tiles.gradient);
    body(tile);
  });
}

template <class T>
void AlignmentUniformity<T>::add_query_uniformity(TensorCommunicator& communicator, double* value) {
  if (!add_uniformity(queries_, 1, communicator, value)) return;
  for_score_gradients(queries_, 2, [&](const ScoreTile& tile) {
    walk_.add_query_gradients(tile, work_.tiles.gradient, 1, work_.d_query);
  });
}

template <class T>
void AlignmentUniformity<T>::add_document_uniformity(const Batch& batch, TensorCommunicator& communicator,
                                                     double* value) {
  if (!add_uniformity(documents_, options_.calibrated ? 0 : 1, communicator, value)) return;
  const std::int64_t first = batch.own_offsets.front() * batch.dimension;
  for_score_gradients(documents_, 1, [&](const ScoreTile& tile) {
    walk_.add_query_gradients(tile, work_.tiles.gradient, 1, work_.d_document + first);
    walk_.add_document_gradients(tile, work_.tiles.gradient, 1, work_.d_document);
  });
}

template <class T>
void AlignmentUniformity<T>::compute(const Batch& batch, const Real* /*log_temperature*/,
                                     TensorCommunicator& communicator, const LossGradient<T>& gradient) {
  const std::int64_t d = batch.dimension, b = batch.queries, m = batch.candidates;
  check(batch, communicator);
  arena_.reset();
  work_ = take_workspace({.queries = b,
                          .candidates = m,
                          .positives = static_cast<std::int64_t>(batch.positive.size()),
                          .own = batch.own_offsets.back() - batch.own_offsets.front(),
                          .dimension = d,
                          .global_queries = batch.global_queries},
                         arena_);
  Batch unit = batch;
  unit.query = work_.query;
  unit.document = work_.document;
  tiles_.begin(unit, work_.tiles);
  make_constants(batch);
  make_unit_vectors(batch, communicator);
  make_pools(batch, communicator.rank());
  ops_.zero(work_.d_query, b * d);
  ops_.zero(work_.d_document, m * d);
  set_alignment(unit, communicator, gradient.value);
  tiles_.add_positive_gradients({.query = work_.d_query, .document = work_.d_document});
  add_query_uniformity(communicator, gradient.value);
  add_document_uniformity(batch, communicator, gradient.value);
  ops_.zero(gradient.query, b * d);
  ops_.zero(gradient.document, m * d);
  score_ops_.add_cut_gradient(b, d, d, batch.query, work_.query_norm, work_.d_query, gradient.query);
  score_ops_.add_cut_gradient(m, d, d, batch.document, work_.document_norm, work_.d_document,
                              gradient.document);
  ops_.zero(gradient.log_temperature, 1);
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_alignment_uniformity(Ops<T>& ops, ScoreOps<T>& score_ops,
                                                   const AlignmentUniformityOptions& options) {
  return std::make_unique<AlignmentUniformity<T>>(ops, score_ops, options);
}

#define TOLLER_INSTANTIATE(T)                                                           \
  template std::unique_ptr<Loss<T>> make_alignment_uniformity<T>(Ops<T>&, ScoreOps<T>&, \
                                                                 const AlignmentUniformityOptions&);
TOLLER_INSTANTIATE(BFloat16)
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(double)
#undef TOLLER_INSTANTIATE

}  // namespace toller
