// The kernels of ScoreOps for embeddings cut to their first numbers (device/score_ops.h says what each
// computes) on device memory. Every function only puts kernels on the stream; the same input gives the same
// bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

template <class T>
void cut_rows(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x, float* norm, T* cut,
              cudaStream_t stream);

template <class T>
void add_cut_gradient(std::int64_t rows, std::int64_t dimension, std::int64_t kept, const T* x,
                      const float* norm, const float* d_cut, float* dx, cudaStream_t stream);

}  // namespace toller
