// Similarity losses of n pairs, b of them this rank's.
//   rows, gradients: a block has one of the b pairs and goes through all n (device/lists/similarity.h): up to
//                    an exponential in double a term, some 40 operations, and 16 to 24 bytes from the caches,
//                    twice in the rows (maximum, then sum). b = n = 4,096: 3 · 10⁷ exponentials.
//   totals:          one block; up to five passes over n numbers.
// Rows and gradients are bounded by arithmetic in double, totals by latency.
#include "cuda/block_team.cuh"
#include "cuda/launch.cuh"
#include "cuda/similarity.cuh"
#include "device/lists/similarity.h"

namespace toller {
namespace {

constexpr int kThreads = 256, kTotalsThreads = 1024;

/// Six blocks at a time on an SM leave 40 registers a thread.
template <SimilarityKind Kind>
__global__ void __launch_bounds__(kThreads, 6)
    similarity_rows_kernel(ScoredPairs pairs, double gap, const double* inverse_temperature, double* row) {
  const double amount =
      similarity_row<Kind>(BlockTeam<kThreads>{}, pairs, *inverse_temperature, gap, pairs.first + blockIdx.x);
  if (threadIdx.x == 0) row[blockIdx.x] = amount;
}

template <SimilarityKind Kind>
__global__ void __launch_bounds__(kTotalsThreads)
    similarity_totals_kernel(ScoredPairs pairs, double gap, const double* inverse_temperature,
                             SimilarityTotals* totals, double* value) {
  SimilarityTotals all{};
  const double loss =
      similarity_totals<Kind>(BlockTeam<kTotalsThreads>{}, pairs, *inverse_temperature, gap, all);
  if (threadIdx.x != 0) return;
  *totals = all;
  *value = loss;
}

template <SimilarityKind Kind>
__global__ void __launch_bounds__(kThreads, 6)
    similarity_gradients_kernel(ScoredPairs pairs, double gap, const SimilarityTotals* totals,
                                const double* inverse_temperature, double* gradient,
                                double* temperature_part) {
  const SimilaritySlope slope = similarity_slope<Kind>(BlockTeam<kThreads>{}, pairs, *totals,
                                                       *inverse_temperature, gap, pairs.first + blockIdx.x);
  if (threadIdx.x != 0) return;
  gradient[blockIdx.x] = slope.by_score;
  temperature_part[blockIdx.x] = slope.by_log_temperature;
}

}  // namespace

void similarity_rows(const SimilarityOptions& options, const ScoredPairs& pairs,
                     const double* inverse_temperature, double* row, cudaStream_t stream) {
  if (pairs.own == 0) return;
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
    launch<similarity_rows_kernel<Kind>>(static_cast<unsigned>(pairs.own), kThreads, 0, stream, pairs,
                                         options.gap, inverse_temperature, row);
  });
}

void similarity_totals(const SimilarityOptions& options, const ScoredPairs& pairs,
                       const double* inverse_temperature, SimilarityTotals* totals, double* value,
                       cudaStream_t stream) {
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
    launch<similarity_totals_kernel<Kind>>(1, kTotalsThreads, 0, stream, pairs, options.gap,
                                           inverse_temperature, totals, value);
  });
}

void similarity_gradients(const SimilarityOptions& options, const ScoredPairs& pairs,
                          const SimilarityTotals* totals, const double* inverse_temperature, double* gradient,
                          double* temperature_part, cudaStream_t stream) {
  if (pairs.own == 0) return;
  with_similarity_kind(options.kind, [&]<SimilarityKind Kind>() {
    launch<similarity_gradients_kernel<Kind>>(static_cast<unsigned>(pairs.own), kThreads, 0, stream, pairs,
                                              options.gap, totals, inverse_temperature, gradient,
                                              temperature_part);
  });
}

}  // namespace toller
