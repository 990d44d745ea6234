// Bias and GELU after a matrix product that has no epilogue for them (Ops::linear_gelu and its backward
// pass). T is the storage type, float or bfloat16. All pointers are device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

/// pre [rows, columns] = x + bias, y = gelu(pre) with the exact (erf) GELU; pre may be x, bias may be null.
template <class T>
void bias_gelu(std::int64_t rows, std::int64_t columns, const T* x, const T* bias, T* pre, T* y,
               cudaStream_t stream);

/// d [n] ∘= gelu'(pre).
template <class T>
void gelu_backward(std::int64_t n, const T* pre, T* d, cudaStream_t stream);

}  // namespace toller
