// The count reads the gradient only after a step that failed; else a block reads one number and ends.
// The hash: 4 bytes and four multiplications of 64 bits an element.
#include "cuda/checks.cuh"

#include "cuda/launch.cuh"
#include "cuda/reduce.cuh"
#include "device/content_hash.h"

namespace toller {
namespace {

constexpr int kThreads = 256;
constexpr std::int64_t kMostBlocks = 1056;
constexpr std::int64_t kBlockElements = 8192;

/// A block a part.
__global__ void __launch_bounds__(kThreads)
    count_not_finite_kernel(const double* total, const float* x, const std::int64_t* bounds,
                            std::int64_t* count) {
  if (fabs(*total) < INFINITY) return;
  const std::int64_t begin = bounds[blockIdx.x], end = bounds[blockIdx.x + 1];
  int found = 0;
  for (std::int64_t i = begin + threadIdx.x; i < end; i += kThreads) found += fabsf(x[i]) < INFINITY ? 0 : 1;
  found = block_sum<kThreads>(found);
  if (threadIdx.x == 0) count[blockIdx.x] = found;
}

__global__ void __launch_bounds__(kThreads)
    content_hash_kernel(std::int64_t n, const float* x, unsigned long long* result) {
  unsigned long long sum = 0;
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
#pragma unroll 4
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; i < n; i += stride) {
    sum += element_hash(static_cast<std::uint64_t>(i), __float_as_uint(x[i]));
  }
  sum = block_sum<kThreads>(sum);
  if (threadIdx.x == 0) atomicAdd(result, sum);
}

}  // namespace

void count_not_finite(const double* total, const float* x, const std::int64_t* bounds, std::int64_t parts,
                      std::int64_t* count, cudaStream_t stream) {
  if (parts == 0) return;
  launch<count_not_finite_kernel>(static_cast<unsigned>(parts), kThreads, 0, stream, total, x, bounds, count);
}

void add_content_hash(std::int64_t n, const float* x, std::uint64_t* result, cudaStream_t stream) {
  if (n == 0) return;
  const std::int64_t wanted = (n + kBlockElements - 1) / kBlockElements;
  const auto blocks = static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks);
  launch<content_hash_kernel>(blocks, kThreads, 0, stream, n, x,
                              reinterpret_cast<unsigned long long*>(result));
}

}  // namespace toller
