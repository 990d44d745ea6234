// The kernels of ScoreOps for positives against negatives pair by pair (device/score_ops.h says what each
// computes) on device memory. Scores are float, sums double, gradients of scores T: float or bfloat16. Every
// function only puts kernels on the stream; the same input gives the same bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

void add_positive_sums(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                       const PairCost& cost, const PositiveSums<float>& sums, cudaStream_t stream);

void add_column_sums(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                     const PairCost& cost, const ColumnPositives<float>& positives, double* value,
                     double* slope, cudaStream_t stream);

/// May be the scores' own memory where T is float.
template <class T>
void pairwise_gradient(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                       const PairCost& cost, const RowPositives<float>& rows,
                       const ColumnPositives<float>& columns, T* gradient, cudaStream_t stream);

void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<float>& sums, double* gradient,
                    double* value, double* log_temperature, cudaStream_t stream);

void spread_pairs(std::int64_t pairs, const ScorePair* pair, const float* score, const double* weight,
                  float* column_score, double* column_weight, double* count, cudaStream_t stream);

void column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight, const double* count,
                  const double* column_value, const double* column_slope, double* gradient, double* value,
                  cudaStream_t stream);

// Negatives that are chosen (pair_choices.cu).
void offer_rows(const ScoreTile& tile, const float* scores, std::int64_t first, std::int64_t positives,
                const ScorePair* pair, const float* score, const NegativeChoices<float>& choices,
                cudaStream_t stream);
void offer_columns(const ScoreTile& tile, const float* scores, const ColumnPositives<float>& positives,
                   const NegativeChoices<float>& choices, cudaStream_t stream);
void propose_choices(const NegativeChoices<float>& choices, const float* best, double* opposite,
                     cudaStream_t stream);
void chosen_terms(std::int64_t lines, bool semi_hard, const float* best, const float* score,
                  const double* inverse_temperature, const PairCost& cost, double* chosen, double* value,
                  double* slope, cudaStream_t stream);

}  // namespace toller
