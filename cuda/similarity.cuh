// Pairs of texts with gold scores on the GPU (ScoreOps, section pairs of texts;
// device/lists/similarity_loss.h says what they are). All pointers are device memory; every function only
// puts kernels on the stream.
#pragma once

#include <cuda_runtime.h>

#include "device/lists/similarity_loss.h"

namespace toller {

/// row [own].
void similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                     const double* inverse_temperature, double* row, cudaStream_t stream);

/// totals [1], value [1].
void similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                       const double* inverse_temperature, SimilarityTotals* totals, double* value,
                       cudaStream_t stream);

/// gradient [own], temperature_part [own].
void similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                          const SimilarityTotals* totals, const double* inverse_temperature, double* gradient,
                          double* temperature_part, cudaStream_t stream);

}  // namespace toller
