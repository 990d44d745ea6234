// The end of a post-norm sublayer: bias, dropout, residual and layer norm in one pass (Ops::residual_norm).
// T is the storage type, float or bfloat16; statistics and gradients of parameters are float. All pointers
// are device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "device/ops.h"

namespace toller {

/// x [rows, hidden] ← residual + dropout(x + x_bias), y = norm(x). global_row [rows] may be null where
/// nothing is dropped. mean and rstd [rows] are kept for the backward pass.
template <class T>
void residual_norm(std::int64_t rows, std::int64_t hidden, const std::int64_t* global_row, T* x,
                   const T* x_bias, const T* residual, const T* gain, const T* bias, float epsilon,
                   const Dropout& dropout, float* mean, float* rstd, T* y, cudaStream_t stream);

/// Floats of workspace that a backward pass over a norm needs.
std::int64_t norm_backward_workspace(std::int64_t rows, std::int64_t hidden);

/// dsum: gradient of the sum; dx: of x + x_bias (dsum through the dropout). dx and dsum may be the same
/// memory when nothing is dropped; dsum and dy may be. dgain and dbias [hidden] are added to.
template <class T>
void residual_norm_backward(std::int64_t rows, std::int64_t hidden, const std::int64_t* global_row,
                            const T* dy, const T* sum, const float* mean, const float* rstd, const T* gain,
                            const Dropout& dropout, T* dsum, T* dx, float* dgain, float* dbias,
                            float* workspace, cudaStream_t stream);

}  // namespace toller
