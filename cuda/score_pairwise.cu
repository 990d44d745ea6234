// Positives a against negatives b pair by pair: z = (b − a) k, with k = inverse_temperature, costs f(z).
//   sums of a positive, in its row or its column:  value += Σ_b f(z), slope += Σ_b f'(z), moment += Σ_b z
//   f'(z) gradient of a score: k (weight Σ_a f'(z) over its row's positives + weight f'(z) of its column's)
// With f = softplus, an exponential a pair, and a logarithm for the sums: arithmetic is the limit. One
// positive a query: 4 bytes of scores, an exponential and a logarithm a score for the sums, 4 + w bytes and
// an exponential for the gradient. A hinge is bound by the scores' 4 bytes.
#include "cuda/score_pairwise.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/pair_math.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;

unsigned thread_blocks(std::int64_t n) {
  return static_cast<unsigned>((n + kThreads - 1) / kThreads);
}

/// A block has a positive.
template <class Cost>
__global__ void __launch_bounds__(kThreads)
    add_positive_sums_kernel(ScoreTile tile, const float* scores, const double* inverse_temperature,
                             Cost cost, PositiveSums<float> sums) {
  const std::int64_t p = blockIdx.x;
  const auto inverse = static_cast<float>(*inverse_temperature);
  const float positive = sums.score[p];
  const std::int64_t first = sums.pair != nullptr ? sums.pair[p].row - tile.row : 0;
  const std::int64_t last = sums.pair != nullptr ? first + 1 : tile.rows;
  double value = 0, slope = 0, moment = 0;
  for (std::int64_t at = first * tile.columns + threadIdx.x; at < last * tile.columns; at += kThreads) {
    const float z = (scores[at] - positive) * inverse;
    const CostAndSlope<float> pair = cost(z);
    value += static_cast<double>(pair.value);
    slope += static_cast<double>(pair.slope);
    if (z != -INFINITY) moment += static_cast<double>(z * pair.slope);
  }
  value = block_sum<kThreads>(value);
  slope = block_sum<kThreads>(slope);
  moment = block_sum<kThreads>(moment);
  if (threadIdx.x != 0) return;
  sums.value[p] += value;
  sums.slope[p] += slope;
  sums.moment[p] += moment;
}

template <class Cost>
__global__ void __launch_bounds__(kColumnLanes* kRowLanes)
    add_column_sums_kernel(ScoreTile tile, const float* scores, const double* inverse_temperature, Cost cost,
                           ColumnPositives<float> positives, double* value, double* slope) {
  __shared__ double values[kRowLanes][kColumnLanes], slopes[kRowLanes][kColumnLanes];
  const std::int64_t at = std::int64_t{blockIdx.x} * kColumnLanes + threadIdx.x;
  const std::int64_t column = tile.column + at;
  const bool counts = at < tile.columns && positives.weight[column] != 0;
  const auto inverse = static_cast<float>(*inverse_temperature);
  double value_sum = 0, slope_sum = 0;
  if (counts) {
    const float positive = positives.score[column];
    for (std::int64_t row = threadIdx.y; row < tile.rows; row += kRowLanes) {
      const CostAndSlope<float> pair = cost((scores[row * tile.columns + at] - positive) * inverse);
      value_sum += static_cast<double>(pair.value);
      slope_sum += static_cast<double>(pair.slope);
    }
  }
  values[threadIdx.y][threadIdx.x] = value_sum;
  slopes[threadIdx.y][threadIdx.x] = slope_sum;
  __syncthreads();
  if (threadIdx.y != 0 || !counts) return;
  for (int lane = 1; lane < kRowLanes; ++lane) {
    value_sum += values[lane][threadIdx.x];
    slope_sum += slopes[lane][threadIdx.x];
  }
  value[column] += value_sum;
  slope[column] += slope_sum;
}

template <class T, class Cost>
__global__ void __launch_bounds__(kThreads)
    pairwise_gradient_kernel(ScoreTile tile, const float* scores, const double* inverse_temperature,
                             Cost cost, RowPositives<float> rows, ColumnPositives<float> columns,
                             T* gradient) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= tile.rows * tile.columns) return;
  const std::int64_t row = tile.row + i / tile.columns, column = tile.column + i % tile.columns;
  const std::int64_t first = rows.begin != nullptr ? rows.begin[row] : 0;
  const std::int64_t last = rows.begin != nullptr ? rows.begin[row + 1] : rows.positives;
  const auto inverse = static_cast<float>(*inverse_temperature);
  const float score = scores[i];
  double sum = 0;
  for (std::int64_t p = first; p < last; ++p) {
    if (rows.chosen != nullptr && rows.chosen[p] != static_cast<double>(column)) continue;
    sum += static_cast<double>(cost((score - rows.score[p]) * inverse).slope);
  }
  sum *= rows.weight[row];
  if (columns.score != nullptr && columns.weight[column] != 0 &&
      (columns.chosen == nullptr ||
       columns.chosen[column] == static_cast<double>(columns.first_query + row))) {
    const float slope = cost((score - columns.score[column]) * inverse).slope;
    sum += columns.weight[column] * static_cast<double>(slope);
  }
  gradient[i] = from_float<T>(static_cast<float>(*inverse_temperature * sum));
}

__global__ void __launch_bounds__(kThreads)
    pairwise_terms_kernel(std::int64_t n, const double* weight, PositiveSums<float> sums, double* gradient,
                          double* value, double* log_temperature) {
  double total = 0, moment = 0;
  for (std::int64_t p = threadIdx.x; p < n; p += kThreads) {
    gradient[p] = -weight[p] * sums.slope[p];
    total += weight[p] * sums.value[p];
    moment += weight[p] * sums.moment[p];
  }
  total = block_sum<kThreads>(total);
  moment = block_sum<kThreads>(moment);
  if (threadIdx.x != 0) return;
  *value = total;
  *log_temperature = -moment;
}

__global__ void __launch_bounds__(kThreads)
    spread_pairs_kernel(std::int64_t pairs, const ScorePair* pair, const float* score, const double* weight,
                        float* column_score, double* column_weight, double* count) {
  const std::int64_t p = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (p >= pairs) return;
  column_score[pair[p].column] = score[p];
  column_weight[pair[p].column] = weight[p];
  count[pair[p].column] = 1;
}

__global__ void __launch_bounds__(kThreads)
    column_terms_kernel(std::int64_t pairs, const ScorePair* pair, const double* weight, const double* count,
                        const double* column_value, const double* column_slope, double* gradient,
                        double* value) {
  double total = 0;
  for (std::int64_t p = threadIdx.x; p < pairs; p += kThreads) {
    const std::int64_t column = pair[p].column;
    const double share = count[column] == 1 ? weight[p] : static_cast<double>(NAN);
    gradient[p] -= share * column_slope[column];
    total += share * column_value[column];
  }
  total = block_sum<kThreads>(total);
  if (threadIdx.x == 0) *value += total;
}

}  // namespace

void add_positive_sums(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                       const PairCost& cost, const PositiveSums<float>& sums, cudaStream_t stream) {
  if (sums.positives == 0) return;
  with_pair_cost<DevicePairMath>(cost, [&]<class Cost>(const Cost& function) {
    launch<add_positive_sums_kernel<Cost>>(static_cast<unsigned>(sums.positives), kThreads, 0, stream, tile,
                                           scores, inverse_temperature, function, sums);
  });
}

void add_column_sums(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                     const PairCost& cost, const ColumnPositives<float>& positives, double* value,
                     double* slope, cudaStream_t stream) {
  const auto blocks = static_cast<unsigned>((tile.columns + kColumnLanes - 1) / kColumnLanes);
  with_pair_cost<DevicePairMath>(cost, [&]<class Cost>(const Cost& function) {
    launch<add_column_sums_kernel<Cost>>(blocks, dim3(kColumnLanes, kRowLanes), 0, stream, tile, scores,
                                         inverse_temperature, function, positives, value, slope);
  });
}

template <class T>
void pairwise_gradient(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                       const PairCost& cost, const RowPositives<float>& rows,
                       const ColumnPositives<float>& columns, T* gradient, cudaStream_t stream) {
  const std::int64_t n = tile.rows * tile.columns;
  if (n == 0) return;
  with_pair_cost<DevicePairMath>(cost, [&]<class Cost>(const Cost& function) {
    launch<pairwise_gradient_kernel<T, Cost>>(thread_blocks(n), kThreads, 0, stream, tile, scores,
                                              inverse_temperature, function, rows, columns, gradient);
  });
}

void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<float>& sums, double* gradient,
                    double* value, double* log_temperature, cudaStream_t stream) {
  launch<pairwise_terms_kernel>(1, kThreads, 0, stream, n, weight, sums, gradient, value, log_temperature);
}

void spread_pairs(std::int64_t pairs, const ScorePair* pair, const float* score, const double* weight,
                  float* column_score, double* column_weight, double* count, cudaStream_t stream) {
  if (pairs == 0) return;
  launch<spread_pairs_kernel>(thread_blocks(pairs), kThreads, 0, stream, pairs, pair, score, weight,
                              column_score, column_weight, count);
}

void column_terms(std::int64_t pairs, const ScorePair* pair, const double* weight, const double* count,
                  const double* column_value, const double* column_slope, double* gradient, double* value,
                  cudaStream_t stream) {
  launch<column_terms_kernel>(1, kThreads, 0, stream, pairs, pair, weight, count, column_value, column_slope,
                              gradient, value);
}

#define TOLLER_INSTANTIATE(T)                                                                        \
  template void pairwise_gradient<T>(const ScoreTile&, const float*, const double*, const PairCost&, \
                                     const RowPositives<float>&, const ColumnPositives<float>&, T*,  \
                                     cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
