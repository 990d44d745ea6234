// Lines of scores (rows or columns, some 10⁵ at most) and positive pairs, in double: little work, next to
// that on tiles. InfoNCE's terms, with k = inverse_temperature and x_p = (max − s_p) k + log sum:
//   value += Σ_p w_p log(1 + e^{x_p}),  line_weight = Σ_p w_p σ_p,  gradient_p −= w_p σ_p,
//   σ_p = 1 / (1 + e^{−x_p}).
// A thread goes through the pairs of a line in order. The threads' values are added up in blocks, the blocks'
// sums by one block.
// dot: sizeof(T) + 4 bytes and a multiplication and an addition in double an element.
#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "cuda/score_tiles.cuh"

namespace toller {
namespace {

constexpr int kThreads = 256;

/// Lines of a block of contrastive_terms: small, since a line is long work and there may be few.
constexpr int kTermThreads = 64;

/// Blocks of a dot product at most; the number does not depend on the device, so that neither do the bits.
constexpr std::int64_t kDotBlocks = 1056;
constexpr std::int64_t kDotBlockElements = 8192;

std::int64_t dot_blocks(std::int64_t n) {
  const std::int64_t blocks = (n + kDotBlockElements - 1) / kDotBlockElements;
  return blocks < kDotBlocks ? blocks : kDotBlocks;
}

unsigned blocks_for(std::int64_t n, std::int64_t threads) {
  return static_cast<unsigned>((n + threads - 1) / threads);
}

/// The thread's number in the grid.
__device__ __forceinline__ std::int64_t thread_number() {
  return std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}

__global__ void invert_temperature_kernel(const float* log_temperature, double* result) {
  *result = exp(-static_cast<double>(*log_temperature));
}

__global__ void __launch_bounds__(kThreads) reset_lines_kernel(std::int64_t n, float* max, double* sum) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  max[i] = -INFINITY;
  sum[i] = 0;
}

__global__ void __launch_bounds__(kThreads)
    rescale_sums_kernel(std::int64_t n, const double* inverse_temperature, const float* max,
                        const float* new_max, double* sum) {
  const std::int64_t i = thread_number();
  if (i >= n || max[i] == new_max[i]) return;  // so also where both are −∞
  const double difference = static_cast<double>(max[i]) - static_cast<double>(new_max[i]);
  sum[i] *= exp(difference * *inverse_temperature);
}

__device__ __forceinline__ double softplus(double x) {
  return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

__device__ __forceinline__ double sigmoid(double x) {
  return 1 / (1 + exp(-x));
}

__global__ void __launch_bounds__(kTermThreads)
    contrastive_terms_kernel(ContrastiveTerms<float> terms, const double* inverse_temperature,
                             double* partial) {
  const std::int64_t line = thread_number();
  double value = 0;
  if (line < terms.lines.lines) {
    const double log_sum = log(terms.sum[line]), max = static_cast<double>(terms.max[line]);
    double line_weight = 0;
    for (std::int64_t at = terms.lines.begin[line]; at < terms.lines.begin[line + 1]; ++at) {
      const std::int64_t pair = terms.lines.order != nullptr ? terms.lines.order[at] : at;
      const double x = (max - static_cast<double>(terms.score[pair])) * *inverse_temperature + log_sum;
      const double slope = terms.weight[pair] * sigmoid(x);
      value += terms.weight[pair] * softplus(x);
      line_weight += slope;
      terms.gradient[pair] -= slope;
    }
    terms.line_weight[line] = line_weight;
  }
  value = block_sum<kTermThreads>(value);
  if (threadIdx.x == 0) partial[blockIdx.x] = value;
}

__global__ void __launch_bounds__(kThreads)
    softmax_lines_kernel(std::int64_t n, const double* inverse_temperature, const float* max,
                         const double* sum, const double* weight, float* shift, float* offset) {
  const std::int64_t i = thread_number();
  if (i >= n) return;
  offset[i] =
      sum[i] == 0 ? -INFINITY : static_cast<float>(log(*inverse_temperature * weight[i]) - log(sum[i]));
  shift[i] = max[i] == -INFINITY ? 0.0f : max[i];
}

template <class T, int V>
__global__ void __launch_bounds__(kThreads)
    dot_kernel(std::int64_t n, const T* a, const float* b, double* partial) {
  double sum = 0;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads * V;
#pragma unroll 4
  for (std::int64_t at = thread_number() * V; at < n; at += stride) {
    float x[V], y[V];
    load(a + at, x);
    load(b + at, y);
#pragma unroll
    for (int i = 0; i < V; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// result [1] = kept · result + factor · Σ partial; what is not kept is not read.
__global__ void __launch_bounds__(kThreads)
    add_blocks_kernel(int blocks, const double* partial, double factor, bool keep, double* result) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < blocks; i += kThreads) sum += partial[i];
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) *result = (keep ? *result : 0.0) + factor * sum;
}

void add_blocks(unsigned blocks, const double* partial, double factor, bool keep, double* result,
                cudaStream_t stream) {
  launch<add_blocks_kernel>(1, kThreads, 0, stream, static_cast<int>(blocks), partial, factor, keep, result);
}

}  // namespace

void invert_temperature(const float* log_temperature, double* result, cudaStream_t stream) {
  launch<invert_temperature_kernel>(1, 1, 0, stream, log_temperature, result);
}

void reset_lines(std::int64_t n, float* max, double* sum, cudaStream_t stream) {
  if (n == 0) return;
  launch<reset_lines_kernel>(blocks_for(n, kThreads), kThreads, 0, stream, n, max, sum);
}

void rescale_sums(std::int64_t n, const double* inverse_temperature, const float* max, const float* new_max,
                  double* sum, cudaStream_t stream) {
  if (n == 0) return;
  launch<rescale_sums_kernel>(blocks_for(n, kThreads), kThreads, 0, stream, n, inverse_temperature, max,
                              new_max, sum);
}

std::int64_t contrastive_terms_workspace(std::int64_t lines) {
  return (lines + kTermThreads - 1) / kTermThreads;
}

void contrastive_terms(const ContrastiveTerms<float>& terms, const double* inverse_temperature,
                       double* workspace, cudaStream_t stream) {
  if (terms.lines.lines == 0) return;
  const unsigned blocks = blocks_for(terms.lines.lines, kTermThreads);
  launch<contrastive_terms_kernel>(blocks, kTermThreads, 0, stream, terms, inverse_temperature, workspace);
  add_blocks(blocks, workspace, 1, true, terms.value, stream);
}

void softmax_lines(std::int64_t n, const double* inverse_temperature, const float* max, const double* sum,
                   const double* weight, float* shift, float* offset, cudaStream_t stream) {
  if (n == 0) return;
  launch<softmax_lines_kernel>(blocks_for(n, kThreads), kThreads, 0, stream, n, inverse_temperature, max, sum,
                               weight, shift, offset);
}

std::int64_t dot_workspace(std::int64_t n) {
  return dot_blocks(n);
}

template <class T>
void dot(std::int64_t n, const T* a, const float* b, double factor, double* result, double* workspace,
         cudaStream_t stream) {
  constexpr int V = 4;
  const auto blocks = static_cast<unsigned>(dot_blocks(n));
  if (blocks > 0) {
    if (n % V == 0 && reinterpret_cast<std::uintptr_t>(a) % (V * sizeof(T)) == 0 &&
        reinterpret_cast<std::uintptr_t>(b) % 16 == 0) {
      launch<dot_kernel<T, V>>(blocks, kThreads, 0, stream, n, a, b, workspace);
    } else {
      launch<dot_kernel<T, 1>>(blocks, kThreads, 0, stream, n, a, b, workspace);
    }
  }
  add_blocks(blocks, workspace, factor, false, result, stream);
}

#define TOLLER_INSTANTIATE(T) \
  template void dot<T>(std::int64_t, const T*, const float*, double, double*, double*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
