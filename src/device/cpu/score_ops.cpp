// Score tiles on the CPU: one exponential an element and direction, in vector loops (vector_math.h). Rows, or
// strips of columns, are shared out to the threads.
#include "device/score_ops.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "device/cpu/cpu_ops.h"
#include "device/cpu/cut_rows.h"
#include "device/cpu/inner_product.h"
#include "device/cpu/list_ops.h"
#include "device/cpu/mann_whitney.h"
#include "device/cpu/pairwise.h"
#include "device/cpu/probabilities.h"
#include "device/cpu/similarity.h"
#include "device/cpu/vector_math.h"

namespace toller {
namespace {

/// Columns a strip: a strip's running values stay in registers while its rows pass.
constexpr std::int64_t kStrip = 64;
/// Rows whose terms are added in T before they go to the sum in double.
constexpr std::int64_t kStripRows = 64;

/// Scores from which on a tile is worth waking the other threads.
constexpr std::int64_t kParallelScores = 1 << 14;

template <class T>
constexpr T kNone = -std::numeric_limits<T>::infinity();

/// The maximum as a shift: an empty line is shifted by 0, since −∞ − (−∞) would be NaN.
template <class T>
T finite_shift(T max) {
  return max == kNone<T> ? T{0} : max;
}

/// Merges a part, whose terms are relative to `part_max`, into a line's statistics.
template <class T>
void merge(T part_max, double part_sum, T inverse_temperature, T& max, double& sum) {
  const T highest = part_max > max ? part_max : max;
  const double shift = static_cast<double>(finite_shift(highest));
  const auto rescaled = [&](T from, double value) {
    const double difference = static_cast<double>(finite_shift(from)) - shift;
    return from == highest || from == kNone<T>
               ? value
               : value * std::exp(difference * static_cast<double>(inverse_temperature));
  };
  sum = rescaled(max, sum) + rescaled(part_max, part_sum);
  max = highest;
}

template <class T>
void add_row(std::int64_t columns, const T* scores, T inverse_temperature, T& max, double& sum) {
  T highest = kNone<T>;
#pragma omp simd reduction(max : highest)
  for (std::int64_t j = 0; j < columns; ++j) highest = scores[j] > highest ? scores[j] : highest;
  const T shift = finite_shift(highest);
  T terms = 0;
#pragma omp simd reduction(+ : terms)
  for (std::int64_t j = 0; j < columns; ++j) terms += vector_exp((scores[j] - shift) * inverse_temperature);
  merge(highest, static_cast<double>(terms), inverse_temperature, max, sum);
}

/// Adds rows × kStrip scores at most; `columns` of them are there.
template <class T>
void add_strip(std::int64_t rows, std::int64_t columns, const T* scores, std::int64_t stride,
               T inverse_temperature, T* max, double* sum) {
  T highest[kStrip], shift[kStrip], terms[kStrip];
  std::fill_n(highest, kStrip, kNone<T>);
  std::fill_n(terms, kStrip, T{0});
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = scores + i * stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) highest[j] = row[j] > highest[j] ? row[j] : highest[j];
  }
  for (std::int64_t j = 0; j < columns; ++j) shift[j] = finite_shift(highest[j]);
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* row = scores + i * stride;
#pragma omp simd
    for (std::int64_t j = 0; j < columns; ++j) {
      terms[j] += vector_exp((row[j] - shift[j]) * inverse_temperature);
    }
  }
  for (std::int64_t j = 0; j < columns; ++j) {
    merge(highest[j], static_cast<double>(terms[j]), inverse_temperature, max[j], sum[j]);
  }
}

double softplus(double x) {
  return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

double sigmoid(double x) {
  return 1 / (1 + std::exp(-x));
}

/// body(place in the tile's scores, number) for every pair in the tile.
template <class Body>
void for_pairs_in(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, Body body) {
  for (std::int64_t i = 0; i < pairs; ++i) {
    const std::int64_t row = pair[i].row - tile.row, column = pair[i].column - tile.column;
    if (row < 0 || row >= tile.rows || column < 0 || column >= tile.columns) continue;
    body(row * tile.columns + column, i);
  }
}

template <class T>
class CpuScoreOps final : public ScoreOps<T> {
 public:
  /// 256 × 1,024 floats lie in a 1 MiB second-level cache.
  std::int64_t tile_rows() const override { return 256; }
  std::int64_t tile_columns() const override { return 1024; }

  void invert_temperature(const T* log_temperature, double* result) override {
    *result = std::exp(-static_cast<double>(*log_temperature));
  }
  void read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, const T* scores,
                  T* kept) override {
    for_pairs_in(tile, pairs, pair, [&](std::int64_t place, std::int64_t i) { kept[i] = scores[place]; });
  }
  void mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, T* scores) override {
    for_pairs_in(tile, pairs, pair, [&](std::int64_t place, std::int64_t) { scores[place] = kNone<T>; });
  }
  void reset_lines(std::int64_t n, T* max, double* sum) override {
    std::fill_n(max, n, kNone<T>);
    std::fill_n(sum, n, 0.0);
  }
  void add_row_statistics(std::int64_t rows, std::int64_t columns, const T* scores,
                          const double* inverse_temperature, T* max, double* sum) override;
  void add_column_statistics(std::int64_t rows, std::int64_t columns, const T* scores,
                             const double* inverse_temperature, T* max, double* sum) override;
  void rescale_sums(std::int64_t n, const double* inverse_temperature, const T* max, const T* new_max,
                    double* sum) override;
  void contrastive_terms(const ContrastiveTerms<T>& terms, const double* inverse_temperature) override;
  void softmax_lines(std::int64_t n, const double* inverse_temperature, const T* max, const double* sum,
                     const double* weight, T* shift, T* offset) override;
  void softmax_gradient(std::int64_t rows, std::int64_t columns, const T* scores,
                        const double* inverse_temperature, SoftmaxLines<T> row_lines,
                        SoftmaxLines<T> column_lines, T* gradient) override;
  void add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                          const double* pair_gradient, const double* inverse_temperature,
                          T* gradient) override {
    for_pairs_in(tile, pairs, pair, [&](std::int64_t place, std::int64_t i) {
      gradient[place] += static_cast<T>(*inverse_temperature * pair_gradient[i]);
    });
  }
  void dot(std::int64_t n, const T* a, const T* b, double factor, double* result) override {
    *result = factor * toller::inner_product<double>(n, a, b);
  }

  void list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                   double* score) override {
    cpu_list_scores(lists, dimension, query, document, score);
  }
  void list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                   const double* inverse_temperature, double* gradient, double* totals) override {
    cpu_list_losses(setup, lists, score, *inverse_temperature, gradient, totals);
  }
  void list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                                const double* count, const T* query, const T* document, T* d_query,
                                T* d_document) override {
    cpu_list_embedding_gradients(lists, dimension, gradient, *count, query, document, d_query, d_document);
  }
  void divide(const double* total, const double* count, double* result) override {
    *result = *count == 0 ? 0 : *total / *count;
  }
  void add_scaled(std::int64_t n, double factor, const T* x, T* y) override {
    const T a = static_cast<T>(factor);
#pragma omp parallel for simd schedule(static) if (n >= kParallelScores)
    for (std::int64_t i = 0; i < n; ++i) y[i] += a * x[i];
  }
  void add_scaled_number(double factor, const double* x, double* y) override {
    *y += factor * *x;
  }
  void largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result) override {
    *result = toller::largest_norm(rows, columns, x);
  }
  void lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity,
                ScoreGrid* grid) override {
    *grid = toller::lay_grid(norms, *inverse_temperature, capacity);
  }
  void deposit(std::int64_t n, const T* scores, const ScoreGrid* grid, int fraction_bits,
               std::int64_t* weight) override {
    toller::deposit(n, scores, *grid, fraction_bits, weight);
  }
  void read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits, double* result) override {
    const double unit = std::ldexp(1.0, -fraction_bits);
    for (std::int64_t j = 0; j < n; ++j) result[j] = static_cast<double>(weight[j]) * unit;
  }
  void pair_on_grid(const GridPairs<T>& pairs, const ScoreGrid* grid) override {
    toller::pair_on_grid(pairs, *grid);
  }
  void read_slopes(std::int64_t n, const T* scores, const ScoreGrid* grid, const T* slope,
                   double* result) override {
    toller::read_slopes(n, scores, *grid, slope, result);
  }
  void slope_gradient(std::int64_t n, const T* scores, const ScoreGrid* grid, const T* slope,
                      T* gradient) override {
    toller::read_slopes(n, scores, *grid, slope, gradient);
  }
  void add_positive_sums(const ScoreTile& tile, const T* scores, const double* inverse_temperature,
                         const PairCost& cost, const PositiveSums<T>& sums) override {
    toller::add_positive_sums(tile, scores, *inverse_temperature, cost, sums);
  }
  void pairwise_gradient(const ScoreTile& tile, const T* scores, const double* inverse_temperature,
                         const PairCost& cost, const RowPositives<T>& rows, const ColumnPositives<T>& columns,
                         T* gradient) override {
    toller::pairwise_gradient(tile, scores, *inverse_temperature, cost, rows, columns, gradient);
  }
  void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<T>& sums, double* gradient,
                      double* value, double* log_temperature) override {
    toller::pairwise_terms(n, weight, sums, gradient, value, log_temperature);
  }

  void probabilities(std::int64_t rows, std::int64_t columns, const double* inverse_temperature, const T* max,
                     const double* sum, T* scores) override {
    cpu_probabilities(rows, columns, *inverse_temperature, max, sum, scores);
  }
  void add_probability_moments(std::int64_t rows, std::int64_t columns, const T* x, double center,
                               double* row_square, double* column_sum) override {
    cpu_probability_moments(rows, columns, x, center, row_square, column_sum);
  }
  void add_list_sums(const ScoreTile& tile, const T* x, const ColumnLists& lists, double* sums) override {
    cpu_list_sums(tile, x, lists, sums);
  }
  void add_mean_slopes(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes,
                       double* mean) override {
    cpu_mean_slopes(tile, x, slopes, mean);
  }
  void probability_gradient(const ScoreTile& tile, const T* x, const ProbabilitySlopes& slopes,
                            const double* mean, const double* inverse_temperature, T* gradient) override {
    cpu_probability_gradient(tile, x, slopes, mean, *inverse_temperature, gradient);
  }
  void gaussian_distance(const GaussianMoments& moments, double* slope, double* value) override {
    cpu_gaussian_distance(moments, slope, value);
  }
  void multiply(std::int64_t rows, std::int64_t n, const double* a, const double* b, double* c) override {
    if (rows == 0 || n == 0) return;
    blas_gemm(CblasNoTrans, CblasNoTrans, rows, n, n, 1.0, a, n, b, n, 0.0, c, n);
  }
  void gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c) override {
    cpu_gram(rows, n, factor, a, c);
  }
  void add_to_diagonal(std::int64_t n, double value, double* x) override {
    for (std::int64_t i = 0; i < n; ++i) x[i * (n + 1)] += value;
  }
  void center_rows(std::int64_t rows, std::int64_t n, double* x) override {
    cpu_center_rows(rows, n, x);
  }
  void column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums) override {
    cpu_column_sums(rows, n, x, sums);
  }
  void add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x) override {
    cpu_add_to_rows(rows, n, factor, row, x);
  }
  void divide_by_norm(std::int64_t n, const double* squared_norm, double* x) override {
    cpu_divide_by_norm(n, *squared_norm, x);
  }
  void inner_product(std::int64_t n, const double* a, const double* b, double* result) override {
    *result = cpu_inner_product(n, a, b);
  }

  void cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, T* norm,
                T* cut) override {
    cpu_cut_rows(rows, dimension, kept, x, norm, cut);
  }
  void add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                        const T* norm, const T* d_cut, T* dx) override {
    cpu_add_cut_gradient(rows, dimension, kept, x, norm, d_cut, dx);
  }

  void similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                       const double* inverse_temperature, double* row) override {
    cpu_similarity_rows(options, pairs, *inverse_temperature, row);
  }
  void similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                         const double* inverse_temperature, SimilarityTotals* totals,
                         double* value) override {
    cpu_similarity_totals(options, pairs, *inverse_temperature, *totals, *value);
  }
  void similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                            const SimilarityTotals* totals, const double* inverse_temperature,
                            double* gradient, double* temperature_part) override {
    cpu_similarity_gradients(options, pairs, *totals, *inverse_temperature, gradient, temperature_part);
  }

  void spread_pairs(std::int64_t pairs, const ScorePair* pair, const T* score, const double* weight,
                    T* column_score, double* column_weight, double* count) override {
    for (std::int64_t p = 0; p < pairs; ++p) {
      column_score[pair[p].column] = score[p];
      column_weight[pair[p].column] = weight[p];
      count[pair[p].column] = 1;
    }
  }
  void add_column_sums(const ScoreTile& tile, const T* scores, const double* inverse_temperature,
                       const PairCost& cost, const ColumnPositives<T>& positives, double* value,
                       double* slope) override {
    toller::add_column_sums(tile, scores, *inverse_temperature, cost, positives, value, slope);
  }
  void offer_rows(const ScoreTile& tile, const T* scores, std::int64_t first, std::int64_t positives,
                  const ScorePair* pair, const T* score, const NegativeChoices<T>& choices) override {
    toller::offer_rows(tile, scores, first, positives, pair, score, choices);
  }
  void offer_columns(const ScoreTile& tile, const T* scores, const ColumnPositives<T>& positives,
                     const NegativeChoices<T>& choices) override {
    toller::offer_columns(tile, scores, positives, choices);
  }
  void propose_choices(const NegativeChoices<T>& choices, const T* best, double* opposite) override {
    toller::propose_choices(choices, best, opposite);
  }
  void chosen_terms(std::int64_t lines, bool semi_hard, const T* best, const T* score,
                    const double* inverse_temperature, const PairCost& cost, double* chosen, double* value,
                    double* slope) override {
    toller::chosen_terms(lines, semi_hard, best, score, *inverse_temperature, cost, chosen, value, slope);
  }
  void column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight, const double* count,
                    const double* column_value, const double* column_slope, double* gradient,
                    double* value) override {
    double total = 0;
    for (std::int64_t p = 0; p < pairs; ++p) {
      const std::int64_t column = pair[p].column;
      const double share = count[column] == 1 ? weight[p] : std::numeric_limits<double>::quiet_NaN();
      gradient[p] -= share * column_slope[column];
      total += share * column_value[column];
    }
    *value += total;
  }

  void shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, double amount,
                   T* scores) override {
    for_pairs_in(tile, pairs, pair,
                 [&](std::int64_t place, std::int64_t) { scores[place] += static_cast<T>(amount); });
  }
  void add_log(double factor, const double* x, double* y) override {
    *y += factor * std::log(*x);
  }
};

template <class T>
void CpuScoreOps<T>::add_row_statistics(std::int64_t rows, std::int64_t columns, const T* scores,
                                        const double* inverse_temperature, T* max, double* sum) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t i = 0; i < rows; ++i) {
    add_row(columns, scores + i * columns, static_cast<T>(*inverse_temperature), max[i], sum[i]);
  }
}

template <class T>
void CpuScoreOps<T>::add_column_statistics(std::int64_t rows, std::int64_t columns, const T* scores,
                                           const double* inverse_temperature, T* max, double* sum) {
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t column = 0; column < columns; column += kStrip) {
    const std::int64_t width = std::min(kStrip, columns - column);
    for (std::int64_t row = 0; row < rows; row += kStripRows) {
      add_strip(std::min(kStripRows, rows - row), width, scores + row * columns + column, columns,
                static_cast<T>(*inverse_temperature), max + column, sum + column);
    }
  }
}

template <class T>
void CpuScoreOps<T>::rescale_sums(std::int64_t n, const double* inverse_temperature, const T* max,
                                  const T* new_max, double* sum) {
  for (std::int64_t i = 0; i < n; ++i) {
    if (max[i] == new_max[i]) continue;
    const double difference = static_cast<double>(max[i]) - static_cast<double>(new_max[i]);
    sum[i] *= std::exp(difference * *inverse_temperature);
  }
}

template <class T>
void CpuScoreOps<T>::contrastive_terms(const ContrastiveTerms<T>& terms, const double* inverse_temperature) {
  double value = 0;
  for (std::int64_t line = 0; line < terms.lines.lines; ++line) {
    const double log_sum = std::log(terms.sum[line]);
    double line_weight = 0;
    for (std::int64_t at = terms.lines.begin[line]; at < terms.lines.begin[line + 1]; ++at) {
      const std::int64_t pair = terms.lines.order != nullptr ? terms.lines.order[at] : at;
      const double gap = static_cast<double>(terms.max[line]) - static_cast<double>(terms.score[pair]);
      const double x = gap * *inverse_temperature + log_sum;
      const double slope = terms.weight[pair] * sigmoid(x);
      value += terms.weight[pair] * softplus(x);
      line_weight += slope;
      terms.gradient[pair] -= slope;
    }
    terms.line_weight[line] = line_weight;
  }
  *terms.value += value;
}

template <class T>
void CpuScoreOps<T>::softmax_lines(std::int64_t n, const double* inverse_temperature, const T* max,
                                   const double* sum, const double* weight, T* shift, T* offset) {
  for (std::int64_t i = 0; i < n; ++i) {
    offset[i] = sum[i] == 0 ? kNone<T>
                            : static_cast<T>(std::log(*inverse_temperature * weight[i]) - std::log(sum[i]));
    shift[i] = finite_shift(max[i]);
  }
}

template <class T>
void CpuScoreOps<T>::softmax_gradient(std::int64_t rows, std::int64_t columns, const T* scores,
                                      const double* inverse_temperature, SoftmaxLines<T> row_lines,
                                      SoftmaxLines<T> column_lines, T* gradient) {
  const T inverse = static_cast<T>(*inverse_temperature);
#pragma omp parallel for schedule(static) if (rows * columns >= kParallelScores)
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* score = scores + i * columns;
    T* row = gradient + i * columns;
    const T shift = row_lines.shift[i], offset = row_lines.offset[i];
    if (column_lines.shift == nullptr) {
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) row[j] = vector_exp((score[j] - shift) * inverse + offset);
    } else {
      const T *column_shift = column_lines.shift, *column_offset = column_lines.offset;
#pragma omp simd
      for (std::int64_t j = 0; j < columns; ++j) {
        row[j] = vector_exp((score[j] - shift) * inverse + offset) +
                 vector_exp((score[j] - column_shift[j]) * inverse + column_offset[j]);
      }
    }
  }
}

}  // namespace

template <class T>
std::unique_ptr<ScoreOps<T>> make_cpu_score_ops() {
  return std::make_unique<CpuScoreOps<T>>();
}

template std::unique_ptr<ScoreOps<float>> make_cpu_score_ops<float>();
template std::unique_ptr<ScoreOps<double>> make_cpu_score_ops<double>();

}  // namespace toller
