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
// Scores exist a tile at a time (kQueryBlock × tile_columns): once for the log-sum-exps, once more for G,
// unless there is only one tile. Over ranks go, when symmetric, the maximum, the sum and c_p of every column;
// always, the value.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "device/score_ops.h"
#include "error.h"
#include "loss/loss.h"

namespace toller {
namespace {

/// Queries a tile: 256 × 1,024 floats lie in a 1 MiB second-level cache.
constexpr std::int64_t kQueryBlock = 256;

/// Rows [row, row + rows) and columns [column, column + columns) of the scores.
struct Tile {
  std::int64_t row = 0, rows = 0, column = 0, columns = 0;
};

/// Log-sum-exps of lines (rows or columns) of scores, and what the gradient takes from them.
template <class T>
struct Lines {
  std::vector<T> max, offset;
  std::vector<double> sum;
  std::vector<double> weight;  ///< a_i or c_p

  void reset(std::int64_t count) {
    const auto n = static_cast<std::size_t>(count);
    max.assign(n, -std::numeric_limits<T>::infinity());
    sum.assign(n, 0.0);
    weight.assign(n, 0.0);
    offset.resize(n);
  }

  /// Log-sum-exp minus `score` / τ; −∞ when the line is empty.
  double over(std::int64_t line, double score, double inverse_temperature) const {
    return (static_cast<double>(max[line]) - score) * inverse_temperature + std::log(sum[line]);
  }

  /// Turns weights into offsets: weight · e^{z − log-sum-exp} = e^{(s − max)/τ + offset}.
  void finish() {
    for (std::size_t i = 0; i < max.size(); ++i) {
      const bool empty = sum[i] == 0;
      offset[i] = static_cast<T>(empty ? -std::numeric_limits<double>::infinity()
                                       : std::log(weight[i]) - std::log(sum[i]));
      if (max[i] == -std::numeric_limits<T>::infinity()) max[i] = 0;
    }
  }

  SoftmaxLines<T> from(std::int64_t line) const { return {max.data() + line, offset.data() + line}; }
};

double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// Integers in the order of the doubles (IEEE 754 bits, negative ones reflected), and back.
std::int64_t ordered_bits(double value) {
  const auto bits = std::bit_cast<std::int64_t>(value);
  return bits < 0 ? bits ^ std::numeric_limits<std::int64_t>::max() : bits;
}
double from_ordered_bits(std::int64_t bits) {
  return std::bit_cast<double>(bits < 0 ? bits ^ std::numeric_limits<std::int64_t>::max() : bits);
}

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

template <class T>
class InfoNce final : public Loss<T> {
 public:
  InfoNce(Ops<T>& ops, const InfoNceOptions& options) : ops_(ops), options_(options) {
    if (options.tile_columns < 1)
      fail_usage("tile_columns is {}; it must be at least 1", options.tile_columns);
  }
  ~InfoNce() override { release(); }
  InfoNce(const InfoNce&) = delete;
  InfoNce& operator=(const InfoNce&) = delete;

  double compute(const LossBatch<T>& batch, double log_temperature, Communicator& communicator,
                 LossGradient<T>& gradient) override;

 private:
  using Batch = LossBatch<T>;

  void check(const Batch& batch) const;
  void release();
  void reserve(const Batch& batch);
  template <class Body>
  void for_tiles(const Batch& batch, Body body) const;
  void make_scores(const Batch& batch, const Tile& tile);
  void mask(const Batch& batch, const Tile& tile);
  void add_statistics(const Batch& batch);
  void combine_columns(Communicator& communicator);
  double add_terms(const Batch& batch, Lines<T>& lines, bool by_column);
  void add_positive_gradient(const Batch& batch, const Tile& tile);
  void add_gradients(const Batch& batch, LossGradient<T>& gradient);

  Ops<T>& ops_;
  InfoNceOptions options_;
  double inverse_temperature_ = 1;
  T* scores_ = nullptr;  ///< one tile: scores, then gradients
  std::int64_t capacity_ = 0;
  bool one_tile_ = false;
  Lines<T> rows_, columns_;
  std::vector<T> positive_score_;          ///< by place in batch.positive
  std::vector<double> positive_gradient_;  ///< ∂L/∂z of the positives, likewise
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
void InfoNce<T>::release() {
  if (scores_ != nullptr) ops_.release(scores_);
  scores_ = nullptr;
  capacity_ = 0;
}

template <class T>
void InfoNce<T>::reserve(const Batch& batch) {
  const std::int64_t rows = std::min(batch.queries, kQueryBlock);
  const std::int64_t columns = std::min(batch.candidates, options_.tile_columns);
  one_tile_ = rows == batch.queries && columns == batch.candidates;
  if (rows * columns > capacity_) {
    release();
    scores_ = static_cast<T*>(ops_.allocate(static_cast<std::size_t>(rows * columns) * sizeof(T)));
    capacity_ = rows * columns;
  }
  rows_.reset(batch.queries);
  if (options_.symmetric) columns_.reset(batch.candidates);
  positive_score_.resize(batch.positive.size());
  positive_gradient_.assign(batch.positive.size(), 0.0);
}

template <class T>
template <class Body>
void InfoNce<T>::for_tiles(const Batch& batch, Body body) const {
  for (std::int64_t row = 0; row < batch.queries; row += kQueryBlock) {
    for (std::int64_t column = 0; column < batch.candidates; column += options_.tile_columns) {
      body(Tile{row, std::min(kQueryBlock, batch.queries - row), column,
                std::min(options_.tile_columns, batch.candidates - column)});
    }
  }
}

template <class T>
void InfoNce<T>::make_scores(const Batch& batch, const Tile& tile) {
  const std::int64_t d = batch.dimension;
  ops_.gemm(false, true, tile.rows, tile.columns, d, T{1}, batch.query + tile.row * d, d,
            batch.document + tile.column * d, d, T{0}, scores_, tile.columns);
  mask(batch, tile);
}

/// Puts the positives' scores aside, and −∞ at every pair that is no negative.
template <class T>
void InfoNce<T>::mask(const Batch& batch, const Tile& tile) {
  constexpr T kNone = -std::numeric_limits<T>::infinity();
  const std::int64_t end = tile.column + tile.columns;
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const std::int64_t query = tile.row + i;
    T* row = scores_ + i * tile.columns - tile.column;
    const auto place = [&](std::int64_t k) {
      return batch.positive[k] >= tile.column && batch.positive[k] < end;
    };
    const std::int64_t first = batch.positive_offsets[query], last = batch.positive_offsets[query + 1];
    for (std::int64_t k = first; k < last; ++k) {
      if (place(k)) positive_score_[k] = row[batch.positive[k]];
    }
    for (std::int64_t k = first; k < last; ++k) {
      if (place(k)) row[batch.positive[k]] = kNone;
    }
    const auto stop = batch.excluded.begin() + batch.excluded_offsets[query + 1];
    auto at = std::lower_bound(batch.excluded.begin() + batch.excluded_offsets[query], stop, tile.column);
    for (; at != stop && *at < end; ++at) row[*at] = kNone;
  }
}

template <class T>
void InfoNce<T>::add_statistics(const Batch& batch) {
  const T scale = static_cast<T>(inverse_temperature_);
  for_tiles(batch, [&](const Tile& tile) {
    make_scores(batch, tile);
    add_row_statistics(tile.rows, tile.columns, scores_, scale, rows_.max.data() + tile.row,
                       rows_.sum.data() + tile.row);
    if (options_.symmetric) {
      add_column_statistics(tile.rows, tile.columns, scores_, scale, columns_.max.data() + tile.column,
                            columns_.sum.data() + tile.column);
    }
  });
}

/// Column statistics over the queries of all ranks. The maximum is exact, so the sum depends on ranks by
/// rounding alone.
template <class T>
void InfoNce<T>::combine_columns(Communicator& communicator) {
  std::vector<std::int64_t> bits(columns_.max.size());
  for (std::size_t j = 0; j < bits.size(); ++j) bits[j] = ordered_bits(static_cast<double>(columns_.max[j]));
  communicator.all_reduce_max(std::span<std::int64_t>(bits));
  for (std::size_t j = 0; j < bits.size(); ++j) {
    const double global = from_ordered_bits(bits[j]), local = static_cast<double>(columns_.max[j]);
    if (local != global) columns_.sum[j] *= std::exp((local - global) * inverse_temperature_);
    columns_.max[j] = static_cast<T>(global);
  }
  communicator.all_reduce_sum(std::span<double>(columns_.sum));
}

/// The terms of one direction for this rank's pairs: adds to the positives' gradients and to the lines'
/// weights, returns the sum.
template <class T>
double InfoNce<T>::add_terms(const Batch& batch, Lines<T>& lines, bool by_column) {
  const double share = options_.symmetric ? 0.5 : 1.0;
  double total = 0;
  for (std::int64_t i = 0; i < batch.queries; ++i) {
    const std::int64_t first = batch.positive_offsets[i], last = batch.positive_offsets[i + 1];
    const double weight =
        share / (static_cast<double>(batch.global_queries) * static_cast<double>(last - first));
    for (std::int64_t k = first; k < last; ++k) {
      const std::int64_t line = by_column ? batch.positive[k] : i;
      const double x = lines.over(line, static_cast<double>(positive_score_[k]), inverse_temperature_);
      const double slope = weight * sigmoid(x);
      total += weight * softplus(x);
      lines.weight[line] += slope;
      positive_gradient_[k] -= slope;
    }
  }
  return total;
}

template <class T>
void InfoNce<T>::add_positive_gradient(const Batch& batch, const Tile& tile) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    T* row = scores_ + i * tile.columns;
    const std::int64_t last = batch.positive_offsets[tile.row + i + 1];
    for (std::int64_t k = batch.positive_offsets[tile.row + i]; k < last; ++k) {
      const std::int64_t column = batch.positive[k] - tile.column;
      if (column >= 0 && column < tile.columns) row[column] += static_cast<T>(positive_gradient_[k]);
    }
  }
}

template <class T>
void InfoNce<T>::add_gradients(const Batch& batch, LossGradient<T>& gradient) {
  const std::int64_t d = batch.dimension;
  const T scale = static_cast<T>(inverse_temperature_);
  if (batch.queries == 0) ops_.zero(gradient.document, batch.candidates * d);
  for_tiles(batch, [&](const Tile& tile) {
    if (!one_tile_) make_scores(batch, tile);
    softmax_gradient(tile.rows, tile.columns, scores_, scale, rows_.from(tile.row),
                     options_.symmetric ? columns_.from(tile.column) : SoftmaxLines<T>{});
    add_positive_gradient(batch, tile);
    ops_.gemm(false, false, tile.rows, d, tile.columns, scale, scores_, tile.columns,
              batch.document + tile.column * d, d, tile.column == 0 ? T{0} : T{1},
              gradient.query + tile.row * d, d);
    ops_.gemm(true, false, tile.columns, d, tile.rows, scale, scores_, tile.columns,
              batch.query + tile.row * d, d, tile.row == 0 ? T{0} : T{1}, gradient.document + tile.column * d,
              d);
  });
}

template <class T>
double InfoNce<T>::compute(const Batch& batch, double log_temperature, Communicator& communicator,
                           LossGradient<T>& gradient) {
  check(batch);
  reserve(batch);
  inverse_temperature_ = std::exp(-log_temperature);
  add_statistics(batch);
  double value = add_terms(batch, rows_, false);
  if (options_.symmetric) {
    combine_columns(communicator);
    value += add_terms(batch, columns_, true);
    communicator.all_reduce_sum(std::span<double>(columns_.weight));
    columns_.finish();
  }
  communicator.all_reduce_sum(std::span<double>(&value, 1));
  rows_.finish();
  add_gradients(batch, gradient);
  double product = 0;
#pragma omp simd reduction(+ : product)
  for (std::int64_t i = 0; i < batch.queries * batch.dimension; ++i) {
    product += static_cast<double>(batch.query[i]) * static_cast<double>(gradient.query[i]);
  }
  gradient.log_temperature = -product;
  return value;
}

}  // namespace

template <class T>
std::unique_ptr<Loss<T>> make_infonce(Ops<T>& ops, const InfoNceOptions& options) {
  return std::make_unique<InfoNce<T>>(ops, options);
}

template std::unique_ptr<Loss<float>> make_infonce<float>(Ops<float>&, const InfoNceOptions&);
template std::unique_ptr<Loss<double>> make_infonce<double>(Ops<double>&, const InfoNceOptions&);

}  // namespace toller
