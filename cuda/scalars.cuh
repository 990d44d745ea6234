// Single numbers that stay on the device. All pointers are device memory.
#pragma once

#include <cuda_runtime.h>

namespace toller {

/// y [1] += factor · x [0].
void add_scalar(const double* x, double factor, float* y, cudaStream_t stream);

/// x [1] = min(max(x, low), high).
void clamp_scalar(float low, float high, float* x, cudaStream_t stream);

/// result [1] = total [0] / count [0], or 0 where the count is 0.
void divide(const double* total, const double* count, double* result, cudaStream_t stream);

/// y [1] += factor · x [0].
void add_scaled_number(double factor, const double* x, double* y, cudaStream_t stream);

/// y [1] += factor · log x [0].
void add_log(double factor, const double* x, double* y, cudaStream_t stream);

}  // namespace toller
