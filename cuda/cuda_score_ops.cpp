#include "cuda/cuda_score_ops.h"

#include "cuda/cut_rows.cuh"
#include "cuda/device_storage.h"
#include "cuda/double_matrix.cuh"
#include "cuda/elementwise.cuh"
#include "cuda/list_loss.cuh"
#include "cuda/mann_whitney.cuh"
#include "cuda/probabilities.cuh"
#include "cuda/scalars.cuh"
#include "cuda/score_pairwise.cuh"
#include "cuda/score_tiles.cuh"
#include "cuda/similarity.cuh"

namespace toller {

template <class T>
void CudaScoreOps<T>::invert_temperature(const Real* log_temperature, double* result) {
  toller::invert_temperature(log_temperature, result, stream_);
}

template <class T>
void CudaScoreOps<T>::read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                 const Real* scores, Real* kept) {
  toller::read_pairs(tile, pairs, pair, scores, kept, stream_);
}

template <class T>
void CudaScoreOps<T>::mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                 Real* scores) {
  toller::mask_pairs(tile, pairs, pair, scores, stream_);
}

template <class T>
void CudaScoreOps<T>::reset_lines(std::int64_t n, Real* max, double* sum) {
  toller::reset_lines(n, max, sum, stream_);
}

template <class T>
void CudaScoreOps<T>::add_row_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                         const double* inverse_temperature, Real* max, double* sum) {
  toller::add_row_statistics(rows, columns, scores, inverse_temperature, max, sum,
                             workspace_.at_least<LinePart>(row_statistics_workspace(rows, columns)), stream_);
}

template <class T>
void CudaScoreOps<T>::add_column_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                                            const double* inverse_temperature, Real* max, double* sum) {
  toller::add_column_statistics(rows, columns, scores, inverse_temperature, max, sum,
                                workspace_.at_least<LinePart>(column_statistics_workspace(rows, columns)),
                                stream_);
}

template <class T>
void CudaScoreOps<T>::rescale_sums(std::int64_t n, const double* inverse_temperature, const Real* max,
                                   const Real* new_max, double* sum) {
  toller::rescale_sums(n, inverse_temperature, max, new_max, sum, stream_);
}

template <class T>
void CudaScoreOps<T>::contrastive_terms(const ContrastiveTerms<Real>& terms,
                                        const double* inverse_temperature) {
  double* workspace = workspace_.at_least<double>(contrastive_terms_workspace(terms.lines.lines));
  toller::contrastive_terms(terms, inverse_temperature, workspace, stream_);
}

template <class T>
void CudaScoreOps<T>::softmax_lines(std::int64_t n, const double* inverse_temperature, const Real* max,
                                    const double* sum, const double* weight, Real* shift, Real* offset) {
  toller::softmax_lines(n, inverse_temperature, max, sum, weight, shift, offset, stream_);
}

template <class T>
void CudaScoreOps<T>::softmax_gradient(std::int64_t rows, std::int64_t columns, const Real* scores,
                                       const double* inverse_temperature, SoftmaxLines<Real> row_lines,
                                       SoftmaxLines<Real> column_lines, T* gradient) {
  toller::softmax_gradient(rows, columns, scores, inverse_temperature, row_lines, column_lines,
                           on_device(gradient), stream_);
}

template <class T>
void CudaScoreOps<T>::add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                         const double* pair_gradient, const double* inverse_temperature,
                                         T* gradient) {
  toller::add_pair_gradients(tile, pairs, pair, pair_gradient, inverse_temperature, on_device(gradient),
                             stream_);
}

template <class T>
void CudaScoreOps<T>::dot(std::int64_t n, const T* a, const Real* b, double factor, double* result) {
  toller::dot(n, on_device(a), b, factor, result, workspace_.at_least<double>(dot_workspace(n)), stream_);
}

template <class T>
void CudaScoreOps<T>::list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query,
                                  const T* document, double* score) {
  toller::list_scores(lists, dimension, on_device(query), on_device(document), score, stream_);
}

template <class T>
void CudaScoreOps<T>::list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                                  const double* inverse_temperature, double* gradient, double* totals) {
  toller::list_losses(setup, lists, score, inverse_temperature, gradient, totals,
                      workspace_.at_least<double>(list_losses_workspace(lists.lists)), stream_);
}

template <class T>
void CudaScoreOps<T>::list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension,
                                               const double* gradient, const double* count, const T* query,
                                               const T* document, Real* d_query, Real* d_document) {
  toller::list_embedding_gradients(lists, dimension, gradient, count, on_device(query), on_device(document),
                                   d_query, d_document, stream_);
}

template <class T>
void CudaScoreOps<T>::divide(const double* total, const double* count, double* result) {
  toller::divide(total, count, result, stream_);
}

template <class T>
void CudaScoreOps<T>::add_scaled(std::int64_t n, double factor, const Real* x, Real* y) {
  toller::add_scaled(n, static_cast<float>(factor), x, y, stream_);
}

template <class T>
void CudaScoreOps<T>::add_scaled_number(double factor, const double* x, double* y) {
  toller::add_scaled_number(factor, x, y, stream_);
}

template <class T>
void CudaScoreOps<T>::largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result) {
  toller::largest_norm(rows, columns, on_device(x), result, stream_);
}

template <class T>
void CudaScoreOps<T>::lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity,
                               ScoreGrid* grid) {
  toller::lay_grid(norms, inverse_temperature, capacity, grid, stream_);
}

template <class T>
void CudaScoreOps<T>::deposit(std::int64_t n, const Real* scores, const ScoreGrid* grid, int fraction_bits,
                              std::int64_t* weight) {
  toller::deposit(n, scores, grid, fraction_bits, weight, stream_);
}

template <class T>
void CudaScoreOps<T>::read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits,
                                    double* result) {
  toller::read_deposits(n, weight, fraction_bits, result, stream_);
}

template <class T>
void CudaScoreOps<T>::pair_on_grid(const GridPairs<Real>& pairs, const ScoreGrid* grid) {
  toller::pair_on_grid(pairs, grid, workspace_.at_least<double>(pair_on_grid_workspace(pairs.capacity)),
                       stream_);
}

template <class T>
void CudaScoreOps<T>::read_slopes(std::int64_t n, const Real* scores, const ScoreGrid* grid,
                                  const Real* slope, double* result) {
  toller::read_slopes(n, scores, grid, slope, result, stream_);
}

template <class T>
void CudaScoreOps<T>::slope_gradient(std::int64_t n, const Real* scores, const ScoreGrid* grid,
                                     const Real* slope, T* gradient) {
  toller::read_slopes(n, scores, grid, slope, on_device(gradient), stream_);
}

template <class T>
void CudaScoreOps<T>::add_positive_sums(const ScoreTile& tile, const Real* scores,
                                        const double* inverse_temperature, const PairCost& cost,
                                        const PositiveSums<Real>& sums) {
  toller::add_positive_sums(tile, scores, inverse_temperature, cost, sums, stream_);
}

template <class T>
void CudaScoreOps<T>::pairwise_gradient(const ScoreTile& tile, const Real* scores,
                                        const double* inverse_temperature, const PairCost& cost,
                                        const RowPositives<Real>& rows, const ColumnPositives<Real>& columns,
                                        T* gradient) {
  toller::pairwise_gradient(tile, scores, inverse_temperature, cost, rows, columns, on_device(gradient),
                            stream_);
}

template <class T>
void CudaScoreOps<T>::pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<Real>& sums,
                                     double* gradient, double* value, double* log_temperature) {
  toller::pairwise_terms(n, weight, sums, gradient, value, log_temperature, stream_);
}

template <class T>
void CudaScoreOps<T>::probabilities(std::int64_t rows, std::int64_t columns,
                                    const double* inverse_temperature, const Real* max, const double* sum,
                                    Real* scores) {
  toller::probabilities(rows, columns, inverse_temperature, max, sum, scores, stream_);
}

template <class T>
void CudaScoreOps<T>::add_probability_moments(std::int64_t rows, std::int64_t columns, const Real* x,
                                              double center, double* row_square, double* column_sum) {
  toller::add_probability_moments(rows, columns, x, static_cast<float>(center), row_square, column_sum,
                                  stream_);
}

template <class T>
void CudaScoreOps<T>::add_list_sums(const ScoreTile& tile, const Real* x, const ColumnLists& lists,
                                    double* sums) {
  toller::add_list_sums(tile, x, lists, sums, stream_);
}

template <class T>
void CudaScoreOps<T>::add_mean_slopes(const ScoreTile& tile, const Real* x, const ProbabilitySlopes& slopes,
                                      double* mean) {
  toller::add_mean_slopes(tile, x, slopes, mean, stream_);
}

template <class T>
void CudaScoreOps<T>::probability_gradient(const ScoreTile& tile, const Real* x,
                                           const ProbabilitySlopes& slopes, const double* mean,
                                           const double* inverse_temperature, T* gradient) {
  toller::probability_gradient(tile, x, slopes, mean, inverse_temperature, on_device(gradient), stream_);
}

template <class T>
void CudaScoreOps<T>::gaussian_distance(const GaussianMoments& moments, double* slope, double* value) {
  toller::gaussian_distance(moments, slope, value, stream_);
}

template <class T>
void CudaScoreOps<T>::multiply(std::int64_t rows, std::int64_t n, const double* a, const double* b,
                               double* c) {
  multiply_doubles(rows, n, a, b, c, stream_);
}

template <class T>
void CudaScoreOps<T>::gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c) {
  gram_doubles(rows, n, factor, a, c, stream_);
}

template <class T>
void CudaScoreOps<T>::add_to_diagonal(std::int64_t n, double value, double* x) {
  toller::add_to_diagonal(n, value, x, stream_);
}

template <class T>
void CudaScoreOps<T>::center_rows(std::int64_t rows, std::int64_t n, double* x) {
  toller::center_rows(rows, n, x, stream_);
}

template <class T>
void CudaScoreOps<T>::column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums) {
  double_column_sums(rows, n, x, sums, stream_);
}

template <class T>
void CudaScoreOps<T>::add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row,
                                  double* x) {
  toller::add_to_rows(rows, n, factor, row, x, stream_);
}

template <class T>
void CudaScoreOps<T>::divide_by_norm(std::int64_t n, const double* squared_norm, double* x) {
  toller::divide_by_norm(n, squared_norm, x, stream_);
}

template <class T>
void CudaScoreOps<T>::inner_product(std::int64_t n, const double* a, const double* b, double* result) {
  double* workspace = workspace_.at_least<double>(inner_product_workspace(n));
  toller::inner_product(n, a, b, result, workspace, stream_);
}

template <class T>
void CudaScoreOps<T>::cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                               Real* norm, T* cut) {
  toller::cut_rows(rows, dimension, kept, on_device(x), norm, on_device(cut), stream_);
}

template <class T>
void CudaScoreOps<T>::add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept,
                                       const T* x, const Real* norm, const Real* d_cut, Real* dx) {
  toller::add_cut_gradient(rows, dimension, kept, on_device(x), norm, d_cut, dx, stream_);
}

template <class T>
void CudaScoreOps<T>::similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                                      const double* inverse_temperature, double* row) {
  toller::similarity_rows(options, pairs, inverse_temperature, row, stream_);
}

template <class T>
void CudaScoreOps<T>::similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                                        const double* inverse_temperature, SimilarityTotals* totals,
                                        double* value) {
  toller::similarity_totals(options, pairs, inverse_temperature, totals, value, stream_);
}

template <class T>
void CudaScoreOps<T>::similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                                           const SimilarityTotals* totals, const double* inverse_temperature,
                                           double* gradient, double* temperature_part) {
  toller::similarity_gradients(options, pairs, totals, inverse_temperature, gradient, temperature_part,
                               stream_);
}

template <class T>
void CudaScoreOps<T>::spread_pairs(std::int64_t pairs, const ScorePair* pair, const Real* score,
                                   const double* weight, Real* column_score, double* column_weight,
                                   double* count) {
  toller::spread_pairs(pairs, pair, score, weight, column_score, column_weight, count, stream_);
}

template <class T>
void CudaScoreOps<T>::add_column_sums(const ScoreTile& tile, const Real* scores,
                                      const double* inverse_temperature, const PairCost& cost,
                                      const ColumnPositives<Real>& positives, double* value, double* slope) {
  toller::add_column_sums(tile, scores, inverse_temperature, cost, positives, value, slope, stream_);
}

template <class T>
void CudaScoreOps<T>::offer_rows(const ScoreTile& tile, const Real* scores, std::int64_t first,
                                 std::int64_t positives, const ScorePair* pair, const Real* score,
                                 const NegativeChoices<Real>& choices) {
  toller::offer_rows(tile, scores, first, positives, pair, score, choices, stream_);
}

template <class T>
void CudaScoreOps<T>::offer_columns(const ScoreTile& tile, const Real* scores,
                                    const ColumnPositives<Real>& positives,
                                    const NegativeChoices<Real>& choices) {
  toller::offer_columns(tile, scores, positives, choices, stream_);
}

template <class T>
void CudaScoreOps<T>::propose_choices(const NegativeChoices<Real>& choices, const Real* best,
                                      double* opposite) {
  toller::propose_choices(choices, best, opposite, stream_);
}

template <class T>
void CudaScoreOps<T>::chosen_terms(std::int64_t lines, bool semi_hard, const Real* best, const Real* score,
                                   const double* inverse_temperature, const PairCost& cost, double* chosen,
                                   double* value, double* slope) {
  toller::chosen_terms(lines, semi_hard, best, score, inverse_temperature, cost, chosen, value, slope,
                       stream_);
}

template <class T>
void CudaScoreOps<T>::column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight,
                                   const double* count, const double* column_value,
                                   const double* column_slope, double* gradient, double* value) {
  toller::column_terms(pairs, pair, weight, count, column_value, column_slope, gradient, value, stream_);
}

template <class T>
void CudaScoreOps<T>::shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                                  double amount, Real* scores) {
  toller::shift_pairs(tile, pairs, pair, static_cast<float>(amount), scores, stream_);
}

template <class T>
void CudaScoreOps<T>::add_log(double factor, const double* x, double* y) {
  toller::add_log(factor, x, y, stream_);
}

template class CudaScoreOps<BFloat16>;
template class CudaScoreOps<float>;

}  // namespace toller
