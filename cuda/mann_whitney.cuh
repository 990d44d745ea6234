// The kernels of ScoreOps for the Mann–Whitney loss (device/score_ops.h says what each computes) on device
// memory. Scores and slopes are float, sums double, gradients of scores T: float or bfloat16. Every function
// only puts kernels on the stream; the same input gives the same bits. A `workspace` may be used again by
// what follows on the same stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

/// result [1] = the largest Euclidean norm of a row of x; ∞ where a number is not finite.
template <class T>
void largest_norm(std::int64_t rows, std::int64_t columns, const T* x, double* result, cudaStream_t stream);

void lay_grid(const double* norms, const double* inverse_temperature, std::int64_t capacity, ScoreGrid* grid,
              cudaStream_t stream);

/// weight [capacity of the grid] += the scores' weights, in units of 2^−fraction_bits.
void deposit(std::int64_t n, const float* scores, const ScoreGrid* grid, int fraction_bits,
             std::int64_t* weight, cudaStream_t stream);

/// result [n] = weight [n] · 2^−fraction_bits.
void read_deposits(std::int64_t n, const std::int64_t* weight, int fraction_bits, double* result,
                   cudaStream_t stream);

/// Doubles of workspace for pair_on_grid.
std::int64_t pair_on_grid_workspace(std::int64_t capacity);
void pair_on_grid(const GridPairs<float>& pairs, const ScoreGrid* grid, double* workspace,
                  cudaStream_t stream);

/// result [n] = slope at the scores; 0 where the score is −∞. May be the scores' own memory where Result is
/// float.
template <class Result>
void read_slopes(std::int64_t n, const float* scores, const ScoreGrid* grid, const float* slope,
                 Result* result, cudaStream_t stream);

}  // namespace toller
