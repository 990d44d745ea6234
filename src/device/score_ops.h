// Kernels on tiles of scores, for losses over many candidates: online log-sum-exp by rows and by columns, the
// gradient of a softmax, and pairs that are treated apart. The losses are written once against this
// interface; all pointers are memory of the device unless they are said to be of the host. Sums have a fixed
// order: the same bits for the same input.
//
// A tile is row-major and dense, s [rows, columns]; a pair that does not take part holds −∞. With
// z = s · inverse_temperature, a line (row or column) of scores is summed up by
//   max = the largest s, sum = Σ e^{z − max · inverse_temperature}   (−∞ and 0 when nothing takes part),
// so that differences are taken between scores, before the division by a small temperature. NaN stays NaN.
// `inverse_temperature` [1] is memory of the device: a learned temperature never comes by the host.
#pragma once

#include <cstdint>
#include <memory>

#include "element.h"

namespace toller {

/// Rows [row, row + rows) and columns [column, column + columns) of the scores.
struct ScoreTile {
  std::int64_t row = 0, rows = 0, column = 0, columns = 0;
};

/// A query of this rank and a candidate.
struct ScorePair {
  std::int32_t row;
  std::int32_t column;
};

/// What turns a score into its part of the gradient, e^{(s − shift) · inverse_temperature + offset}, a line.
/// shift is finite; offset may be −∞ (no gradient). shift null: nothing comes from these lines.
template <class Real>
struct SoftmaxLines {
  const Real* shift = nullptr;
  const Real* offset = nullptr;
};

/// Positive pairs gathered by line: line l has the pairs order[begin[l]] … order[begin[l + 1]); order null:
/// begin[l] … begin[l + 1] themselves.
struct PairLines {
  std::int64_t lines = 0;
  const std::int64_t* begin = nullptr;  ///< [lines + 1]
  const std::int32_t* order = nullptr;  ///< [pairs]
};

/// One direction of InfoNCE, its terms w_p softplus(A − z_p) over the positive pairs p of each line, A the
/// line's log-sum-exp of negatives.
template <class Real>
struct ContrastiveTerms {
  PairLines lines;
  const Real* max = nullptr;       ///< [lines]
  const double* sum = nullptr;     ///< [lines]
  const double* weight = nullptr;  ///< [pairs] w_p
  const Real* score = nullptr;     ///< [pairs] the positives' scores
  double* line_weight = nullptr;   ///< [lines] overwritten: Σ_p w_p sigmoid(A − z_p)
  double* gradient = nullptr;      ///< [pairs] −= w_p sigmoid(A − z_p), that is ∂L/∂z_p
  double* value = nullptr;         ///< [1] += Σ terms
};

template <class T>
class ScoreOps {
 public:
  using Real = RealOf<T>;
  virtual ~ScoreOps() = default;

  /// A tile that suits the device: its scores stay in a cache from one kernel to the next.
  virtual std::int64_t tile_rows() const = 0;
  virtual std::int64_t tile_columns() const = 0;

  /// result [1] = e^{−log_temperature [0]}.
  virtual void invert_temperature(const Real* log_temperature, double* result) = 0;

  /// kept [i] = the score of pair[i], for the pairs in the tile; the others are left alone.
  virtual void read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                          const Real* scores, Real* kept) = 0;
  /// −∞ at the pairs in the tile.
  virtual void mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, Real* scores) = 0;

  /// max [n] = −∞, sum [n] = 0.
  virtual void reset_lines(std::int64_t n, Real* max, double* sum) = 0;
  /// Adds the tile to max [rows] and sum [rows].
  virtual void add_row_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                  const double* inverse_temperature, Real* max, double* sum) = 0;
  /// Adds the tile to max [columns] and sum [columns].
  virtual void add_column_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                     const double* inverse_temperature, Real* max, double* sum) = 0;
  /// Sums that were relative to max [n] become relative to new_max [n], which is nowhere smaller.
  virtual void rescale_sums(std::int64_t n, const double* inverse_temperature, const Real* max,
                            const Real* new_max, double* sum) = 0;

  virtual void contrastive_terms(const ContrastiveTerms<Real>& terms, const double* inverse_temperature) = 0;

  /// Of the lines' statistics and weights, what softmax_gradient takes, so that it gives ∂L/∂s =
  /// inverse_temperature · weight · e^{z − log-sum-exp}: shift = max (0 where a line is empty), offset =
  /// log(inverse_temperature · weight / sum) (−∞ where it is empty).
  virtual void softmax_lines(std::int64_t n, const double* inverse_temperature, const Real* max,
                             const double* sum, const double* weight, Real* shift, Real* offset) = 0;
  /// gradient [rows, columns] = the part of the row and that of the column of each score. May be the scores'
  /// own memory where T is Real.
  virtual void softmax_gradient(std::int64_t rows, std::int64_t columns, const Real* scores,
                                const double* inverse_temperature, SoftmaxLines<Real> row_lines,
                                SoftmaxLines<Real> column_lines, T* gradient) = 0;
  /// gradient += inverse_temperature · pair_gradient [i] at the pairs in the tile. Pairs are distinct.
  virtual void add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                  const double* pair_gradient, const double* inverse_temperature,
                                  T* gradient) = 0;

  /// result [1] = factor · ⟨a, b⟩, n elements, added up in double.
  virtual void dot(std::int64_t n, const T* a, const Real* b, double factor, double* result) = 0;
};

/// The CPU implementation: one exponential an element and direction, in vector loops; rows, or strips of
/// columns, are shared out to the OpenMP threads.
template <class T>
std::unique_ptr<ScoreOps<T>> make_cpu_score_ops();

}  // namespace toller
