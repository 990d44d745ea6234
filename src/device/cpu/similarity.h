// Pairs of texts with gold scores on the CPU (ScoreOps, section pairs of texts): a pair is one thread's work.
#pragma once

#include "device/lists/similarity_loss.h"

namespace toller {

void cpu_similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                         double inverse_temperature, double* row);

void cpu_similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                           double inverse_temperature, SimilarityTotals& totals, double& value);

void cpu_similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                              const SimilarityTotals& totals, double inverse_temperature, double* gradient,
                              double* temperature_part);

}  // namespace toller
