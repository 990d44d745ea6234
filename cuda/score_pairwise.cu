// Positives a against negatives b pair by pair: z = (b − a) k, with k = inverse_temperature.
//   sums of a positive:  value += Σ_b softplus(z), slope += Σ_b σ(z), moment += Σ_b z σ(z)
//   gradient of a score: weight k Σ_a σ(z)
// An exponential a pair, and a logarithm for the sums: arithmetic is the limit. One positive a query: 4 bytes
// of scores, an exponential and a logarithm a score for the sums, 4 + w bytes and an exponential for the
// gradient.
#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/mann_whitney.cuh"
#include "cuda/reduce.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;

/// e = e^{−|z|}.
__device__ __forceinline__ float sigmoid_from(float z, float e) {
  return (z > 0 ? 1.0f : e) / (1.0f + e);
}

/// A block has a positive.
__global__ void __launch_bounds__(kThreads)
    add_positive_sums_kernel(ScoreTile tile, const float* scores, const double* inverse_temperature,
                             PositiveSums<float> sums) {
  const std::int64_t p = blockIdx.x;
  const auto inverse = static_cast<float>(*inverse_temperature);
  const float positive = sums.score[p];
  const std::int64_t first = sums.pair != nullptr ? sums.pair[p].row - tile.row : 0;
  const std::int64_t last = sums.pair != nullptr ? first + 1 : tile.rows;
  double value = 0, slope = 0, moment = 0;
  for (std::int64_t at = first * tile.columns + threadIdx.x; at < last * tile.columns; at += kThreads) {
    const float z = (scores[at] - positive) * inverse;
    const float e = expf(-fabsf(z)), sigmoid = sigmoid_from(z, e);
    value += static_cast<double>((z > 0 ? z : 0.0f) + log1pf(e));
    slope += static_cast<double>(sigmoid);
    if (z != -INFINITY) moment += static_cast<double>(z * sigmoid);
  }
  value = block_sum<kThreads>(value);
  slope = block_sum<kThreads>(slope);
  moment = block_sum<kThreads>(moment);
  if (threadIdx.x != 0) return;
  sums.value[p] += value;
  sums.slope[p] += slope;
  sums.moment[p] += moment;
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    pairwise_gradient_kernel(std::int64_t n, std::int64_t columns, const float* scores,
                             const double* inverse_temperature, std::int64_t positives,
                             const std::int64_t* begin, const float* positive_score, const double* weight,
                             T* gradient) {
  const std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const std::int64_t row = i / columns;
  const std::int64_t first = begin != nullptr ? begin[row] : 0;
  const std::int64_t last = begin != nullptr ? begin[row + 1] : positives;
  const auto inverse = static_cast<float>(*inverse_temperature);
  const float score = scores[i];
  double sum = 0;
  for (std::int64_t p = first; p < last; ++p) {
    const float z = (score - positive_score[p]) * inverse;
    sum += static_cast<double>(sigmoid_from(z, expf(-fabsf(z))));
  }
  gradient[i] = from_float<T>(static_cast<float>(weight[row] * *inverse_temperature * sum));
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

}  // namespace

void add_positive_sums(const ScoreTile& tile, const float* scores, const double* inverse_temperature,
                       const PositiveSums<float>& sums, cudaStream_t stream) {
  if (sums.positives == 0) return;
  launch<add_positive_sums_kernel>(static_cast<unsigned>(sums.positives), kThreads, 0, stream, tile, scores,
                                   inverse_temperature, sums);
}

template <class T>
void pairwise_gradient(std::int64_t rows, std::int64_t columns, const float* scores,
                       const double* inverse_temperature, std::int64_t positives, const std::int64_t* begin,
                       const float* positive_score, const double* weight, T* gradient, cudaStream_t stream) {
  const std::int64_t n = rows * columns;
  if (n == 0) return;
  launch<pairwise_gradient_kernel<T>>(static_cast<unsigned>((n + kThreads - 1) / kThreads), kThreads, 0,
                                      stream, n, columns, scores, inverse_temperature, positives, begin,
                                      positive_score, weight, gradient);
}

void pairwise_terms(std::int64_t n, const double* weight, const PositiveSums<float>& sums, double* gradient,
                    double* value, double* log_temperature, cudaStream_t stream) {
  launch<pairwise_terms_kernel>(1, kThreads, 0, stream, n, weight, sums, gradient, value, log_temperature);
}

#define TOLLER_INSTANTIATE(T)                                                                               \
  template void pairwise_gradient<T>(std::int64_t, std::int64_t, const float*, const double*, std::int64_t, \
                                     const std::int64_t*, const float*, const double*, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
