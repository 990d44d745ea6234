// ScoreOps on a GPU: the launchers of score_tiles.cuh behind the interface that the losses are written
// against.
#pragma once

#include "cuda/cuda_memory.h"
#include "cuda/workspace.h"
#include "device/score_ops.h"

namespace toller {

template <class T>
class CudaScoreOps final : public ScoreOps<T> {
 public:
  using Real = RealOf<T>;

  /// Queues on the stream of `memory`, which must outlive this object.
  explicit CudaScoreOps(CudaMemory& memory) : stream_(memory.stream()), workspace_(memory) {}

  /// 1,024 × 8,192 floats, 32 MiB, stay in the second-level cache of an H100 (50 MB), a row is one block's
  /// work, and the products are large enough to run at full speed.
  std::int64_t tile_rows() const override { return 1024; }
  std::int64_t tile_columns() const override { return 8192; }

  void invert_temperature(const Real* log_temperature, double* result) override;
  void read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, const Real* scores,
                  Real* kept) override;
  void mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, Real* scores) override;
  void reset_lines(std::int64_t n, Real* max, double* sum) override;
  void add_row_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                          const double* inverse_temperature, Real* max, double* sum) override;
  void add_column_statistics(std::int64_t rows, std::int64_t columns, const Real* scores,
                             const double* inverse_temperature, Real* max, double* sum) override;
  void rescale_sums(std::int64_t n, const double* inverse_temperature, const Real* max, const Real* new_max,
                    double* sum) override;
  void contrastive_terms(const ContrastiveTerms<Real>& terms, const double* inverse_temperature) override;
  void softmax_lines(std::int64_t n, const double* inverse_temperature, const Real* max, const double* sum,
                     const double* weight, Real* shift, Real* offset) override;
  void softmax_gradient(std::int64_t rows, std::int64_t columns, const Real* scores,
                        const double* inverse_temperature, SoftmaxLines<Real> row_lines,
                        SoftmaxLines<Real> column_lines, T* gradient) override;
  void add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                          const double* pair_gradient, const double* inverse_temperature,
                          T* gradient) override;
  void dot(std::int64_t n, const T* a, const Real* b, double factor, double* result) override;

  void list_scores(const ScoreLists& lists, std::int64_t dimension, const T* query, const T* document,
                   double* score) override;
  void list_losses(const ListLossSetup& setup, const ScoreLists& lists, const double* score,
                   const double* inverse_temperature, double* gradient, double* totals) override;
  void list_embedding_gradients(const ScoreLists& lists, std::int64_t dimension, const double* gradient,
                                const double* count, const T* query, const T* document, Real* d_query,
                                Real* d_document) override;
  void divide(const double* total, const double* count, double* result) override;
  void add_scaled(std::int64_t n, double factor, const Real* x, Real* y) override;
  void add_scaled_number(double factor, const double* x, double* y) override;
  void largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result) override;
  void lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity,
                ScoreGrid* grid) override;
  void deposit(std::int64_t n, const Real* scores, const ScoreGrid* grid, int fraction_bits,
               std::int64_t* weight) override;
  void read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits, double* result) override;
  void pair_on_grid(const GridPairs<Real>& pairs, const ScoreGrid* grid) override;
  void read_slopes(std::int64_t n, const Real* scores, const ScoreGrid* grid, const Real* slope,
                   double* result) override;
  void slope_gradient(std::int64_t n, const Real* scores, const ScoreGrid* grid, const Real* slope,
                      T* gradient) override;
  void add_positive_sums(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                         const PairCost& cost, const PositiveSums<Real>& sums) override;
  void pairwise_gradient(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                         const PairCost& cost, const RowPositives<Real>& rows,
                         const ColumnPositives<Real>& columns, T* gradient) override;
  void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<Real>& sums, double* gradient,
                      double* value, double* log_temperature) override;
  void probabilities(std::int64_t rows, std::int64_t columns, const double* inverse_temperature,
                     const Real* max, const double* sum, Real* scores) override;
  void add_probability_moments(std::int64_t rows, std::int64_t columns, const Real* x, double center,
                               double* row_square, double* column_sum) override;
  void add_list_sums(const ScoreTile& tile, const Real* x, const ColumnLists& lists, double* sums) override;
  void add_mean_slopes(const ScoreTile& tile, const Real* x, const ProbabilitySlopes& slopes,
                       double* mean) override;
  void probability_gradient(const ScoreTile& tile, const Real* x, const ProbabilitySlopes& slopes,
                            const double* mean, const double* inverse_temperature, T* gradient) override;
  void gaussian_distance(const GaussianMoments& moments, double* slope, double* value) override;
  void multiply(std::int64_t rows, std::int64_t n, const double* a, const double* b, double* c) override;
  void gram(std::int64_t rows, std::int64_t n, double factor, const double* a, double* c) override;
  void add_to_diagonal(std::int64_t n, double value, double* x) override;
  void center_rows(std::int64_t rows, std::int64_t n, double* x) override;
  void column_sums(std::int64_t rows, std::int64_t n, const double* x, double* sums) override;
  void add_to_rows(std::int64_t rows, std::int64_t n, double factor, const double* row, double* x) override;
  void divide_by_norm(std::int64_t n, const double* squared_norm, double* x) override;
  void inner_product(std::int64_t n, const double* a, const double* b, double* result) override;
  void cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, Real* norm,
                T* cut) override;
  void add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                        const Real* norm, const Real* d_cut, Real* dx) override;
  void spread_pairs(std::int64_t pairs, const ScorePair* pair, const Real* score, const double* weight,
                    Real* column_score, double* column_weight, double* count) override;
  void add_column_sums(const ScoreTile& tile, const Real* scores, const double* inverse_temperature,
                       const PairCost& cost, const ColumnPositives<Real>& positives, double* value,
                       double* slope) override;
  void offer_rows(const ScoreTile& tile, const Real* scores, std::int64_t first, std::int64_t positives,
                  const ScorePair* pair, const Real* score, const NegativeChoices<Real>& choices) override;
  void offer_columns(const ScoreTile& tile, const Real* scores, const ColumnPositives<Real>& positives,
                     const NegativeChoices<Real>& choices) override;
  void propose_choices(const NegativeChoices<Real>& choices, const Real* best, double* opposite) override;
  void chosen_terms(std::int64_t lines, bool semi_hard, const Real* best, const Real* score,
                    const double* inverse_temperature, const PairCost& cost, double* chosen, double* value,
                    double* slope) override;
  void column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight, const double* count,
                    const double* column_value, const double* column_slope, double* gradient,
                    double* value) override;

  void similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                       const double* inverse_temperature, double* row) override;
  void similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                         const double* inverse_temperature, SimilarityTotals* totals, double* value) override;
  void similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                            const SimilarityTotals* totals, const double* inverse_temperature,
                            double* gradient, double* temperature_part) override;

  void shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, double amount,
                   Real* scores) override;
  void add_log(double factor, const double* x, double* y) override;

 private:
  cudaStream_t stream_;
  Workspace workspace_;
};

}  // namespace toller
