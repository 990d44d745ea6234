// The kernels of ScoreOps (device/score_ops.h says what a tile, a line and its statistics are) on device
// memory. Scores and statistics are float, gradients of scores T: float or bfloat16. Every function only
// puts kernels on the stream; sums have a fixed order, so that the same input gives the same bits. A
// `workspace` may be used again by what follows on the same stream.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/score_ops.h"

namespace toller {

/// Statistics of a part of a line of scores, relative to the part's own maximum.
struct LinePart {
  double sum;
  float max;
};

/// result [1] = e^{−log_temperature [0]}.
void invert_temperature(const float* log_temperature, double* result, cudaStream_t stream);

/// kept [i] = the score of pair [i], for the pairs in the tile; the others are left alone.
void read_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, const float* scores,
                float* kept, cudaStream_t stream);

/// −∞ at the pairs in the tile.
void mask_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, float* scores,
                cudaStream_t stream);

/// scores += amount at the pairs in the tile. Pairs are distinct.
void shift_pairs(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair, float amount,
                 float* scores, cudaStream_t stream);

/// max [n] = −∞, sum [n] = 0.
void reset_lines(std::int64_t n, float* max, double* sum, cudaStream_t stream);

/// LineParts of workspace for add_row_statistics and add_column_statistics; 0 where a block has a whole line.
std::int64_t row_statistics_workspace(std::int64_t rows, std::int64_t columns);
std::int64_t column_statistics_workspace(std::int64_t rows, std::int64_t columns);

/// Adds the tile to max [rows] and sum [rows].
void add_row_statistics(std::int64_t rows, std::int64_t columns, const float* scores,
                        const double* inverse_temperature, float* max, double* sum, LinePart* workspace,
                        cudaStream_t stream);

/// Adds the tile to max [columns] and sum [columns].
void add_column_statistics(std::int64_t rows, std::int64_t columns, const float* scores,
                           const double* inverse_temperature, float* max, double* sum, LinePart* workspace,
                           cudaStream_t stream);

/// Sums that were relative to max [n] become relative to new_max [n], which is nowhere smaller.
void rescale_sums(std::int64_t n, const double* inverse_temperature, const float* max, const float* new_max,
                  double* sum, cudaStream_t stream);

/// Doubles of workspace for contrastive_terms.
std::int64_t contrastive_terms_workspace(std::int64_t lines);

/// One direction of InfoNCE's terms. Every pair belongs to one line.
void contrastive_terms(const ContrastiveTerms<float>& terms, const double* inverse_temperature,
                       double* workspace, cudaStream_t stream);

/// shift [n] and offset [n] of softmax_gradient.
void softmax_lines(std::int64_t n, const double* inverse_temperature, const float* max, const double* sum,
                   const double* weight, float* shift, float* offset, cudaStream_t stream);

/// gradient [rows, columns] = the part of the row and that of the column of each score; exactly 0 where the
/// score is −∞. May be the scores' own memory where T is float.
template <class T>
void softmax_gradient(std::int64_t rows, std::int64_t columns, const float* scores,
                      const double* inverse_temperature, SoftmaxLines<float> row_lines,
                      SoftmaxLines<float> column_lines, T* gradient, cudaStream_t stream);

/// gradient += inverse_temperature · pair_gradient [i] at the pairs in the tile. Pairs are distinct.
template <class T>
void add_pair_gradients(const ScoreTile& tile, std::int64_t pairs, const ScorePair* pair,
                        const double* pair_gradient, const double* inverse_temperature, T* gradient,
                        cudaStream_t stream);

/// Doubles of workspace for dot.
std::int64_t dot_workspace(std::int64_t n);

/// result [1] = factor · ⟨a, b⟩, n elements, added up in double.
template <class T>
void dot(std::int64_t n, const T* a, const float* b, double factor, double* result, double* workspace,
         cudaStream_t stream);

}  // namespace toller
