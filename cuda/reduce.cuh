// Sums and maxima over the lanes of a warp, a part of it, or a block. Every lane gets the result; the order
// of the additions is fixed.
#pragma once

#include <cuda_runtime.h>

namespace toller {

/// Over groups of `Width` neighbouring lanes (a power of two). All 32 lanes of the warp call it.
template <int Width = 32, class T>
__device__ __forceinline__ T warp_sum(T x) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) {
    x += __shfl_xor_sync(0xFFFFFFFFu, x, distance);
  }
  return x;
}

/// The larger of two numbers; of a number and a NaN, the number.
__device__ __forceinline__ float larger(float a, float b) {
  return fmaxf(a, b);
}
__device__ __forceinline__ double larger(double a, double b) {
  return fmax(a, b);
}

template <int Width = 32, class T>
__device__ __forceinline__ T warp_max(T x) {
#pragma unroll
  for (int distance = Width / 2; distance > 0; distance /= 2) {
    x = larger(x, __shfl_xor_sync(0xFFFFFFFFu, x, distance));
  }
  return x;
}

/// Over a one-dimensional block of `Threads` threads (a multiple of 32). All threads of the block call it.
template <int Threads, class T>
__device__ __forceinline__ T block_sum(T x) {
  __shared__ T parts[Threads / 32];
  x = warp_sum(x);
  __syncthreads();  // the sum before this one has been read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  T total = parts[0];
#pragma unroll
  for (int i = 1; i < Threads / 32; ++i) total += parts[i];
  return total;
}

/// Over a one-dimensional block of `Threads` threads (a multiple of 32). All threads of the block call it.
template <int Threads, class T>
__device__ __forceinline__ T block_max(T x) {
  __shared__ T parts[Threads / 32];
  x = warp_max(x);
  __syncthreads();  // the maximum before this one has been read
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
  __syncthreads();
  T highest = parts[0];
#pragma unroll
  for (int i = 1; i < Threads / 32; ++i) highest = larger(highest, parts[i]);
  return highest;
}

/// Over groups of `Threads` neighbouring threads: 16, 32, or a whole block.
template <int Threads>
__device__ __forceinline__ float group_sum(float x) {
  if constexpr (Threads <= 32) {
    return warp_sum<Threads>(x);
  } else {
    return block_sum<Threads>(x);
  }
}

}  // namespace toller
