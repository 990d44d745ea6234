// The threads of a block as the team that computes a list (device/lists/list_team.h).
#pragma once

#include <cstdint>

#include "cuda/reduce.cuh"

namespace toller {

/// A one-dimensional block of `Threads` threads (a multiple of 32).
template <int Threads>
struct BlockTeam {
  __device__ __forceinline__ std::int64_t thread() const { return threadIdx.x; }
  __device__ __forceinline__ std::int64_t threads() const { return Threads; }
  __device__ __forceinline__ void sync() const { __syncthreads(); }
  __device__ __forceinline__ double sum(double x) const { return block_sum<Threads>(x); }
  __device__ __forceinline__ double max(double x) const {
    __shared__ double parts[Threads / 32];
#pragma unroll
    for (int distance = 16; distance > 0; distance /= 2) {
      x = fmax(x, __shfl_xor_sync(0xFFFFFFFFu, x, distance));
    }
    __syncthreads();  // the maximum before this one has been read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    double highest = parts[0];
#pragma unroll
    for (int i = 1; i < Threads / 32; ++i) highest = fmax(highest, parts[i]);
    return highest;
  }
};

}  // namespace toller
