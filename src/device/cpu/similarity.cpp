#include "device/cpu/similarity.h"

#include "device/cpu/cpu_team.h"
#include "device/lists/similarity.h"

namespace toller {
namespace {

/// Terms from which on it is worth waking the other threads.
constexpr std::int64_t kParallelTerms = 1 << 12;

}  // namespace

void cpu_similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                         double inverse_temperature, double* row) {
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
#pragma omp parallel for schedule(static) if (pairs.own * pairs.pairs >= kParallelTerms)
    for (std::int64_t i = 0; i < pairs.own; ++i) {
      row[i] = similarity_row<Kind>(CpuTeam{}, pairs, inverse_temperature, options.gap, pairs.first + i);
    }
  });
}

void cpu_similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                           double inverse_temperature, SimilarityTotals& totals, double& value) {
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
    value = similarity_totals<Kind>(CpuTeam{}, pairs, inverse_temperature, options.gap, totals);
  });
}

void cpu_similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                              const SimilarityTotals& totals, double inverse_temperature, double* gradient,
                              double* temperature_part) {
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
#pragma omp parallel for schedule(static) if (pairs.own * pairs.pairs >= kParallelTerms)
    for (std::int64_t i = 0; i < pairs.own; ++i) {
      const SimilaritySlope slope =
          similarity_slope<Kind>(CpuTeam{}, pairs, totals, inverse_temperature, options.gap, pairs.first + i);
      gradient[i] = slope.by_score;
      temperature_part[i] = slope.by_log_temperature;
    }
  });
}

}  // namespace toller
