// Arrays element by element, where no other kernel passes over them anyway. All pointers are device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/bfloat16.cuh"

namespace toller {

/// to [n] = from, rounded to nearest even.
void convert(std::int64_t n, const float* from, bfloat16* to, cudaStream_t stream);

/// x [n] *= factor (Ops::scale).
void scale(std::int64_t n, float factor, float* x, cudaStream_t stream);

/// y [n] += factor · x. x and y do not overlap.
void add_scaled(std::int64_t n, float factor, const float* x, float* y, cudaStream_t stream);

}  // namespace toller
