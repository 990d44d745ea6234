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
  __device__ __forceinline__ double max(double x) const { return block_max<Threads>(x); }
};

}  // namespace toller
