// The kernels of ScoreOps' section on probabilities (device/score_ops.h says what they are) on device memory.
// Scores and probabilities are float, gradients of scores T: float or bfloat16. Every function only puts
// kernels on the stream; sums have a fixed order.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

/// Scores become probabilities of their row, in place.
void probabilities(std::int64_t rows, std::int64_t columns, const double* inverse_temperature,
                   const float* max, const double* sum, float* scores, cudaStream_t stream);

/// row_square [rows] += Σ_m (x − center)², column_sum [columns] += Σ_i (x − center).
void add_probability_moments(std::int64_t rows, std::int64_t columns, const float* x, float center,
                             double* row_square, double* column_sum, cudaStream_t stream);

/// sums [rows of the scores, lists] += Σ_m x_im weight [m].
void add_list_sums(const ScoreTile& tile, const float* x, const ColumnLists& lists, double* sums,
                   cudaStream_t stream);

/// mean [rows of the scores] += Σ_m x_im G_im.
void add_mean_slopes(const ScoreTile& tile, const float* x, const ProbabilitySlopes& slopes, double* mean,
                     cudaStream_t stream);

/// gradient = inverse_temperature · x_im (G_im − mean [i]). May be x's own memory where T is float.
template <class T>
void probability_gradient(const ScoreTile& tile, const float* x, const ProbabilitySlopes& slopes,
                          const double* mean, const double* inverse_temperature, T* gradient,
                          cudaStream_t stream);

/// The squared 2-Wasserstein distance, and the slopes of the columns.
void gaussian_distance(const GaussianMoments& moments, double* slope, double* value, cudaStream_t stream);

}  // namespace toller
