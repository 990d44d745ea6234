// Negatives that positives choose. A block has a positive, or 32 columns: 4 bytes a score, and comparisons.
#include "cuda/launch.cuh"
#include "cuda/pair_math.cuh"
#include "cuda/score_pairwise.cuh"
#include "device/pair_choices.h"

namespace toller {
namespace {

constexpr int kThreads = 256;

using Best = BestScore<float>;

unsigned thread_blocks(std::int64_t n) {
  return static_cast<unsigned>((n + kThreads - 1) / kThreads);
}

/// Nothing offered yet.
__device__ __forceinline__ Best no_score() {
  return {-INFINITY, 0};
}

/// Offers a line what was found for it.
__device__ __forceinline__ void offer_line(const NegativeChoices<float>& choices, std::int64_t at,
                                           const Best& found) {
  Best best{choices.best[at], choices.number[at]};
  best.offer(found.score, found.number);
  choices.best[at] = best.score;
  choices.number[at] = best.number;
}

/// The best of the block's, for its first thread.
__device__ __forceinline__ Best block_best(Best best) {
  __shared__ Best all[kThreads];
  __syncthreads();  // those before these have been read
  all[threadIdx.x] = best;
  for (int half = kThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (static_cast<int>(threadIdx.x) < half) {
      best.offer(all[threadIdx.x + half].score, all[threadIdx.x + half].number);
      all[threadIdx.x] = best;
    }
  }
  return best;
}

__global__ void __launch_bounds__(kThreads)
    offer_rows_kernel(ScoreTile tile, const float* scores, std::int64_t first, const ScorePair* pair,
                      const float* score, NegativeChoices<float> choices) {
  const std::int64_t p = first + blockIdx.x;
  const float* row = scores + (pair[p].row - tile.row) * tile.columns;
  Best highest = no_score(), lowest = no_score();
  for (std::int64_t j = threadIdx.x; j < tile.columns; j += kThreads) {
    offer_negative(choices.semi_hard, score[p], row[j], static_cast<double>(tile.column + j), highest,
                   lowest);
  }
  highest = block_best(highest);
  if (threadIdx.x == 0) offer_line(choices, p, highest);
  if (!choices.semi_hard) return;
  lowest = block_best(lowest);
  if (threadIdx.x == 0) offer_line(choices, choices.lines + p, lowest);
}

__global__ void __launch_bounds__(kColumnLanes* kRowLanes)
    offer_columns_kernel(ScoreTile tile, const float* scores, ColumnPositives<float> positives,
                         NegativeChoices<float> choices) {
  __shared__ Best high[kRowLanes][kColumnLanes], low[kRowLanes][kColumnLanes];
  const std::int64_t at = std::int64_t{blockIdx.x} * kColumnLanes + threadIdx.x;
  const std::int64_t column = tile.column + at;
  const bool counts = at < tile.columns && positives.weight[column] != 0;
  Best highest = no_score(), lowest = no_score();
  if (counts) {
    const std::int64_t first_query = positives.first_query + tile.row;
    for (std::int64_t row = threadIdx.y; row < tile.rows; row += kRowLanes) {
      offer_negative(choices.semi_hard, positives.score[column], scores[row * tile.columns + at],
                     static_cast<double>(first_query + row), highest, lowest);
    }
  }
  high[threadIdx.y][threadIdx.x] = highest;
  low[threadIdx.y][threadIdx.x] = lowest;
  __syncthreads();
  if (threadIdx.y != 0 || !counts) return;
  for (int lane = 0; lane < kRowLanes; ++lane) {
    offer_line(choices, column, high[lane][threadIdx.x]);
    if (choices.semi_hard) offer_line(choices, choices.lines + column, low[lane][threadIdx.x]);
  }
}

__global__ void __launch_bounds__(kThreads)
    propose_choices_kernel(NegativeChoices<float> choices, const float* best, double* opposite) {
  const std::int64_t line = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (line < choices.lines) opposite[line] = opposite_choice(choices, best, line);
}

template <class Cost>
__global__ void __launch_bounds__(kThreads)
    chosen_terms_kernel(std::int64_t lines, bool semi_hard, const float* best, const float* score,
                        const double* inverse_temperature, Cost cost, double* chosen, double* value,
                        double* slope) {
  const std::int64_t line = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (line >= lines) return;
  const auto inverse = static_cast<float>(*inverse_temperature);
  const CostAndSlope<float> term =
      chosen_term(lines, semi_hard, best, score[line], inverse, cost, line, chosen[line]);
  value[line] = static_cast<double>(term.value);
  slope[line] = static_cast<double>(term.slope);
}

}  // namespace

void offer_rows(const ScoreTile& tile, const float* scores, std::int64_t first, std::int64_t positives,
                const ScorePair* pair, const float* score, const NegativeChoices<float>& choices,
                cudaStream_t stream) {
  if (positives == 0) return;
  launch<offer_rows_kernel>(static_cast<unsigned>(positives), kThreads, 0, stream, tile, scores, first, pair,
                            score, choices);
}

void offer_columns(const ScoreTile& tile, const float* scores, const ColumnPositives<float>& positives,
                   const NegativeChoices<float>& choices, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((tile.columns + kColumnLanes - 1) / kColumnLanes);
  launch<offer_columns_kernel>(blocks, dim3(kColumnLanes, kRowLanes), 0, stream, tile, scores, positives,
                               choices);
}

void propose_choices(const NegativeChoices<float>& choices, const float* best, double* opposite,
                     cudaStream_t stream) {
  if (choices.lines == 0) return;
  launch<propose_choices_kernel>(thread_blocks(choices.lines), kThreads, 0, stream, choices, best, opposite);
}

void chosen_terms(std::int64_t lines, bool semi_hard, const float* best, const float* score,
                  const double* inverse_temperature, const PairCost& cost, double* chosen, double* value,
                  double* slope, cudaStream_t stream) {
  if (lines == 0) return;
  with_pair_cost<DevicePairMath>(cost, [&]<class Cost>(const Cost& function) {
    launch<chosen_terms_kernel<Cost>>(thread_blocks(lines), kThreads, 0, stream, lines, semi_hard, best,
                                      score, inverse_temperature, function, chosen, value, slope);
  });
}

}  // namespace toller
