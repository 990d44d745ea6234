// From token states to one embedding a sequence, and to unit length (Ops::pool_*, Ops::normalize_rows). T is
// the storage type of the states; embeddings and their gradients are float, as the loss is. offsets [count +
// 1] and all other pointers are device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace toller {

enum class PooledTokens { kMean, kFirst, kLast };

/// y [count, hidden]: mean over a sequence, its first or its last token.
template <class T>
void pool(std::int64_t count, const std::int32_t* offsets, std::int64_t hidden, PooledTokens which,
          const T* x, float* y, cudaStream_t stream);

/// dx [tokens, hidden] is overwritten, with zeros where a token does not count.
template <class T>
void pool_backward(std::int64_t count, const std::int32_t* offsets, std::int64_t hidden, PooledTokens which,
                   const float* dy, T* dx, cudaStream_t stream);

/// y = x / ‖x‖ by rows; norm [rows] is kept. A zero row gives zero and zero gradient. y may be x.
void normalize_rows(std::int64_t rows, std::int64_t hidden, const float* x, float* norm, float* y,
                    cudaStream_t stream);

/// dx = (dy − y ⟨y, dy⟩) / norm; dx may be dy.
void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const float* dy, const float* y,
                             const float* norm, float* dx, cudaStream_t stream);

}  // namespace toller
