// Sums over rows inside a block, for column sums, pooling and the gradients of tables.
//
// A block has 32 × 8 threads: 32 threads side by side take 32 · V columns, eight rows of them take every
// eighth row. What they found is added up in shared memory, in a fixed order: the same input gives the same
// bits.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "cuda/bfloat16.cuh"

namespace toller {

inline constexpr int kSumLanes = 32, kSumRowLanes = 8;
inline constexpr int kSumThreads = kSumLanes * kSumRowLanes;

inline dim3 row_sums_block() {
  return dim3(kSumLanes, kSumRowLanes);
}

/// Blocks beside each other that `columns` take.
template <int V>
unsigned row_sums_blocks(std::int64_t columns) {
  return static_cast<unsigned>((columns + kSumLanes * V - 1) / (kSumLanes * V));
}

/// Adds up rows begin, begin + 1, … end − 1, row i at row_at(i), in the columns of column block `block`;
/// calls write(column, sum) once a column. All threads of the block take part.
template <int V, class RowAt, class Write>
__device__ __forceinline__ void add_up_rows(std::int64_t begin, std::int64_t end, std::int64_t columns,
                                            unsigned block, RowAt row_at, Write write) {
  __shared__ float parts[kSumRowLanes][kSumLanes * V];
  const std::int64_t first = (std::int64_t{block} * kSumLanes + threadIdx.x) * V;
  float sum[V] = {};
  if (first < columns) {
#pragma unroll 4
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kSumRowLanes) {
      float values[V];
      load(row_at(row) + first, values);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += values[i];
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) parts[threadIdx.y][threadIdx.x * V + i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y) * kSumLanes + static_cast<int>(threadIdx.x); i < kSumLanes * V;
       i += kSumThreads) {
    const std::int64_t column = std::int64_t{block} * kSumLanes * V + i;
    float total = 0;
#pragma unroll
    for (int part = 0; part < kSumRowLanes; ++part) total += parts[part][i];
    if (column < columns) write(column, total);
  }
}

}  // namespace toller
