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

#include "device/lists/list_loss.h"
#include "device/lists/similarity_loss.h"
#include "device/pair_cost.h"
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

/// A grid over scores, memory of the device: point j lies at (origin + j) / inverse_step. The step is a power
/// of two, so that the place of a score among the points is found without rounding. The same on all ranks.
struct ScoreGrid {
  double inverse_step;  ///< NaN: no grid (see lay_grid)
  double inverse_temperature;
  double largest_score;  ///< a bound of |s|
  std::int64_t origin;
  std::int64_t points;  ///< that the scores take; 0 where they or the temperature are not finite
};

/// What all pairs of a positive score a and a negative score b of all ranks amount to, with z = (b − a) ·
/// inverse_temperature: L = Σ softplus(z) / (positives · negatives); 0 where there are none.
template <class Real>
struct GridPairs {
  std::int64_t capacity = 0;          ///< points that the arrays have room for
  const double* positive = nullptr;   ///< [capacity] deposited positives
  const double* negative = nullptr;   ///< [capacity] deposited negatives
  const double* count = nullptr;      ///< [2] positives, negatives
  Real* positive_slope = nullptr;     ///< [capacity] −Σ_b σ(z) / count: ∂L/∂s / inverse_temperature
  Real* negative_slope = nullptr;     ///< [capacity] Σ_a σ(z) · inverse_temperature / count: ∂L/∂s
  double* value = nullptr;            ///< [1] overwritten: L
  double* log_temperature = nullptr;  ///< [1] overwritten: ∂L/∂ log τ
};

/// Positives against the negatives of a tile, pair by pair: z = (b − a) · inverse_temperature, costs f(z).
template <class Real>
struct PositiveSums {
  std::int64_t positives = 0;
  const ScorePair* pair = nullptr;  ///< positive p meets its own row only; null: all rows
  const Real* score = nullptr;      ///< [positives]
  double* value = nullptr;          ///< [positives] += Σ_b f(z)
  double* slope = nullptr;          ///< [positives] += Σ_b f'(z)
  double* moment = nullptr;         ///< [positives] += Σ_b z f'(z)
};

/// The positives that the scores of a row meet.
template <class Real>
struct RowPositives {
  std::int64_t positives = 0;
  const std::int64_t* begin = nullptr;  ///< [rows + 1] row i: begin [i] … begin [i + 1]; null: all of them
  const Real* score = nullptr;          ///< [positives]
  const double* weight = nullptr;       ///< [rows] of the pairs of a row
  const double* chosen = nullptr;       ///< [positives] the one column that it meets, −1: none; null: all
};

/// Positives of columns, at most one each, which meet the scores of their column.
template <class Real>
struct ColumnPositives {
  const Real* score = nullptr;     ///< [columns]; null: there are none
  const double* weight = nullptr;  ///< [columns] of the pairs of a column; 0 where it has no positive
  const double* chosen = nullptr;  ///< [columns] the one query that it meets, −1: none; null: all
  std::int64_t first_query = 0;    ///< number of the query of row 0
};

/// The negatives that lines (positives of rows, or of columns) would choose among the scores seen so far.
/// Element l of an array is the highest score that line l may choose, element lines + l (semi-hard alone) the
/// opposite of the lowest score; −∞: none. Of equal scores it is the one with the lowest number.
template <class Real>
struct NegativeChoices {
  std::int64_t lines = 0;
  bool semi_hard = false;    ///< may choose scores below the positive's only, unless there are none
  Real* best = nullptr;      ///< [lines], semi-hard: [2 lines]
  double* number = nullptr;  ///< likewise: the column of it, or the number of the query

  std::int64_t offers() const { return semi_hard ? 2 * lines : lines; }
};

/// Lists of columns that do not overlap, and a weight for each column. Whole numbers are doubles, since they
/// come as sums over ranks.
struct ColumnLists {
  std::int64_t lists = 0;
  const double* begin = nullptr;   ///< [lists] list j has the columns begin [j] … end [j]
  const double* end = nullptr;     ///< [lists]
  const double* number = nullptr;  ///< [columns] 1 + the column's list; 0: in none
  const double* weight = nullptr;  ///< [columns] 0 where the column is in no list
};

/// What a function of probabilities has as derivatives: G_im = column [m] + factor · (x_im − row_list [i, j]
/// · weight [m]), j the list of column m.
struct ProbabilitySlopes {
  ColumnLists lists;
  const double* column = nullptr;    ///< [columns]
  const double* row_list = nullptr;  ///< [rows of the scores, lists]
  double factor = 0;
};

/// Two Gaussians in R^columns, fitted to as many rows x and y each; with u = 1 / columns. y_j is `base_j`
/// everywhere, plus the columns' weight in list j.
struct GaussianMoments {
  std::int64_t samples = 0, columns = 0;
  const double* column_sum = nullptr;    ///< [columns] Σ_i (x_im − u)
  const double* square_sum = nullptr;    ///< [1] Σ_i ‖x_i − u‖²
  const double* weight = nullptr;        ///< [columns]
  const double* label_totals = nullptr;  ///< [2] Σ_j base_j, Σ_j ‖y_j − u‖²
  const double* overlap = nullptr;       ///< [1] (samples − 1) Tr (Σ_X Σ_Y)^{1/2}
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

  // ---- lists: queries with documents of their own (device/lists/list_loss.h)
  // ------------------------------------------------------------------------------------------------------
  /// score [documents] = ⟨q, d⟩ of each document and its list's query; query and document are [., dimension].
  virtual void list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                           double* score) = 0;
  /// gradient [documents] = derivatives of each list's value by its scores; totals [2] = the sums over the
  /// lists of their values and of their derivatives by log τ (0 where the loss has no τ).
  virtual void list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                           const double* inverse_temperature, double* gradient, double* totals) = 0;
  /// With the number of lists of all ranks in count [1], and gradients of the sum over all lists: the rows of
  /// d_query and d_document that belong to a list = gradients of the mean, the other rows are left alone.
  virtual void list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension,
                                        const double* gradient, const double* count, const T* query,
                                        const T* document, Real* d_query, Real* d_document) = 0;
  /// result [1] = total [0] / count [0], or 0 where the count is 0.
  virtual void divide(const double* total, const double* count, double* result) = 0;

  /// y [n] += factor · x.
  virtual void add_scaled(std::int64_t n, double factor, const Real* x, Real* y) = 0;
  /// y [1] += factor · x [0].
  virtual void add_scaled_number(double factor, const double* x, double* y) = 0;

  // ---- Mann–Whitney: positives against negatives
  // --------------------------------------------------------------------------------------------------------
  /// result [1] = the largest Euclidean norm of a row of x [rows, columns]; 0 without rows, ∞ where a number
  /// is not finite.
  virtual void largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result) = 0;
  /// Lays a grid over scores up to norms [0] · norms [1] in size. Its step is the largest power of two that
  /// is at most τ/16. Where it would take more than `capacity` points, or where anything is not finite, there
  /// is no grid: everything that is made of it is NaN.
  virtual void lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity,
                        ScoreGrid* grid) = 0;
  /// weight [capacity] += the scores' weights at the six points around each (Lagrange's polynomials of degree
  /// 5), in units of 2^−fraction_bits. Integers: their sum does not depend on the order. −∞ is left out. The
  /// caller sees to it that 2^fraction_bits times the number of all scores stays below 2⁶³.
  virtual void deposit(std::int64_t n, const Real* scores, const ScoreGrid* grid, int fraction_bits,
                       std::int64_t* weight) = 0;
  /// result [n] = weight [n] · 2^−fraction_bits.
  virtual void read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits,
                             double* result) = 0;
  /// Time linear in the points. Relative error of sums over pairs: 10⁻⁹.
  virtual void pair_on_grid(const GridPairs<Real>& pairs, const ScoreGrid* grid) = 0;
  /// result [n] = slope at the scores, interpolated with the weights of deposit().
  virtual void read_slopes(std::int64_t n, const Real* scores, const ScoreGrid* grid, const Real* slope,
                           double* result) = 0;
  /// gradient [n] = slope at the scores; 0 where the score is −∞. May be the scores' own memory where T is
  /// Real.
  virtual void slope_gradient(std::int64_t n, const Real* scores, const ScoreGrid* grid, const Real* slope,
                              T* gradient) = 0;

  /// Adds the negatives of the tile (scores; −∞ is none) to the sums.
  virtual void add_positive_sums(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                                 const PairCost& cost, const PositiveSums<Real>& sums) = 0;
  /// gradient = weight · inverse_temperature · Σ_a f'((s − a) · inverse_temperature) over the positives that
  /// a score of the tile meets, those of its row and that of its column. May be the scores' own memory where
  /// T is Real.
  virtual void pairwise_gradient(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                                 const PairCost& cost, const RowPositives<Real>& rows,
                                 const ColumnPositives<Real>& columns, T* gradient) = 0;
  /// Of the positives' sums: gradient [n] = −weight slope; value [1] = Σ weight value, log_temperature [1] =
  /// −Σ weight moment.
  virtual void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<Real>& sums,
                              double* gradient, double* value, double* log_temperature) = 0;

  // ---- rows of scores as probabilities, and lists of columns
  // ---------------------------------------------------------------------------------------------------------
  /// Scores become x = e^{z − log-sum-exp} of their row, in place; 0 where nothing takes part in the row.
  virtual void probabilities(std::int64_t rows, std::int64_t columns, const double* inverse_temperature,
                             const Real* max, const double* sum, Real* scores) = 0;
  /// row_square [rows] += Σ_m (x − center)², column_sum [columns] += Σ_i (x − center).
  virtual void add_probability_moments(std::int64_t rows, std::int64_t columns, const Real* x, double center,
                                       double* row_square, double* column_sum) = 0;
  /// sums [rows of the scores, lists] += Σ_m x_im weight [m] over the columns of each list in the tile.
  virtual void add_list_sums(const ScoreTile& tile, const Real* x, const ColumnLists& lists,
                             double* sums) = 0;
  /// mean [rows of the scores] += Σ_m x_im G_im over the tile.
  virtual void add_mean_slopes(const ScoreTile& tile, const Real* x, const ProbabilitySlopes& slopes,
                               double* mean) = 0;
  /// gradient = inverse_temperature · x_im (G_im − mean [i]), the derivatives by the tile's scores. May be
  /// x's own memory where T is Real.
  virtual void probability_gradient(const ScoreTile& tile, const Real* x, const ProbabilitySlopes& slopes,
                                    const double* mean, const double* inverse_temperature, T* gradient) = 0;
  /// value [1] = the squared 2-Wasserstein distance. slope [columns] = its derivatives by x_im that depend on
  /// m alone, but for a constant: 2/n (μ_X − μ_Y) − 2/(n − 1) μ_X. With one sample there are no covariances.
  virtual void gaussian_distance(const GaussianMoments& moments, double* slope, double* value) = 0;

  // ---- dense matrices in double
  // ---------------------------------------------------------------------------------------------------------
  /// c [rows, n] = a [rows, n] b [n, n].
  virtual void multiply(std::int64_t rows, std::int64_t n, const double* a, const double* b, double* c) = 0;
  /// c [n, n] = factor · aᵀ a, a [rows, n]; exactly symmetric.
  virtual void gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c) = 0;
  /// x [n, n] += value · I.
  virtual void add_to_diagonal(std::int64_t n, double value, double* x) = 0;
  /// x [rows, n] −= the mean of its row.
  virtual void center_rows(std::int64_t rows, std::int64_t n, double* x) = 0;
  /// sums [n] = column sums of x [rows, n].
  virtual void column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums) = 0;
  /// Every row of x [rows, n] += factor · row [n].
  virtual void add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row,
                           double* x) = 0;
  /// x [n] /= √squared_norm [0]; all 0 where that is 0.
  virtual void divide_by_norm(std::int64_t n, const double* squared_norm, double* x) = 0;
  /// result [1] = Σ a b; b null: Σ a.
  virtual void inner_product(std::int64_t n, const double* a, const double* b, double* result) = 0;

  // ---- embeddings cut to their first numbers
  // ---------------------------------------------------------------------------------------------------------
  /// cut [rows, kept] = the first `kept` columns of x [rows, dimension], divided by their Euclidean norm,
  /// which is kept in norm [rows]; a zero row stays zero. norm null: only cut.
  virtual void cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, Real* norm,
                        T* cut) = 0;
  /// dx [rows, dimension] += the gradient by x of what has the gradient d_cut [rows, kept] by cut_rows's
  /// result; none for a zero row. norm: cut_rows's, or null.
  virtual void add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                                const Real* norm, const Real* d_cut, Real* dx) = 0;

  // ---- pairs of texts with gold scores (device/lists/similarity_loss.h)
  // ---------------------------------------------------------------------------------------------------------
  /// row [own] = what this rank's pairs amount to among all pairs. Time in own · pairs; not for pearson.
  virtual void similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                               const double* inverse_temperature, double* row) = 0;
  /// With the rows of all pairs: value [1] = the loss, and what similarity_gradients takes of all pairs. Time
  /// in pairs.
  virtual void similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                                 const double* inverse_temperature, SimilarityTotals* totals,
                                 double* value) = 0;
  /// gradient [own] = derivatives of the loss by this rank's scores; the sum over all pairs of
  /// temperature_part [own] is that by log τ. Time in own · pairs.
  virtual void similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                                    const SimilarityTotals* totals, const double* inverse_temperature,
                                    double* gradient, double* temperature_part) = 0;

  // ---- positives of columns, and negatives that are chosen
  // ---------------------------------------------------------------------------------------------------------
  /// At the column of each pair: column_score = its score, column_weight = its weight, count = 1. Columns
  /// without a pair are left alone.
  virtual void spread_pairs(std::int64_t pairs, const ScorePair* pair, const Real* score,
                            const double* weight, Real* column_score, double* column_weight,
                            double* count) = 0;
  /// value [columns] += Σ_b f(z), slope [columns] += Σ_b f'(z) over the scores b of each column of the tile
  /// that has a positive.
  virtual void add_column_sums(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                               const PairCost& cost, const ColumnPositives<Real>& positives, double* value,
                               double* slope) = 0;
  /// Offers the scores of the tile to the positives first … first + positives of its rows (lines are all
  /// positives), or of its columns.
  virtual void offer_rows(const ScoreTile& tile, const Real* scores, std::int64_t first,
                          std::int64_t positives, const ScorePair* pair, const Real* score,
                          const NegativeChoices<Real>& choices) = 0;
  virtual void offer_columns(const ScoreTile& tile, const Real* scores,
                             const ColumnPositives<Real>& positives,
                             const NegativeChoices<Real>& choices) = 0;
  /// opposite [lines] = minus the number of a line's choice where it is as good as the best of all ranks
  /// (as choices.best), else −∞: the largest over ranks is the choice.
  virtual void propose_choices(const NegativeChoices<Real>& choices, const Real* best, double* opposite) = 0;
  /// With `best` and `chosen` over all ranks: value [lines] = f(z), slope [lines] = f'(z) of the score
  /// chosen, `score` [lines] being the positives'. chosen becomes the number, −1 where nothing was chosen,
  /// with value and slope 0.
  virtual void chosen_terms(std::int64_t lines, bool semi_hard, const Real* best, const Real* score,
                            const double* inverse_temperature, const PairCost& cost, double* chosen,
                            double* value, double* slope) = 0;
  /// Of the sums of the pairs' columns: gradient [pairs] −= weight slope, value [1] += Σ weight value. NaN
  /// where the count of a column is not 1.
  virtual void column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight,
                            const double* count, const double* column_value, const double* column_slope,
                            double* gradient, double* value) = 0;

  // ---- uniformity: the logarithm of a mean over pairs
  // ---------------------------------------------------------------------------------------------------------
  /// scores += amount at the pairs in the tile. Pairs are distinct.
  virtual void shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, double amount,
                           Real* scores) = 0;
  /// y [1] += factor · log x [0].
  virtual void add_log(double factor, const double* x, double* y) = 0;
};

/// The CPU implementation: one exponential an element and direction, in vector loops; rows, or strips of
/// columns, are shared out to the OpenMP threads.
template <class T>
std::unique_ptr<ScoreOps<T>> make_cpu_score_ops();

}  // namespace toller
