// Column sums in two passes without atomics: row chunks to partial sums, partial sums to the total.
//   bytes: sizeof(T) an element, once; the second pass reads 4 · chunks · columns bytes. Operations: one
//   addition an element.
// A block has 32 × 8 threads: 32 threads side by side take 32 · V columns, eight rows of them take every
// eighth row of the chunk. Rows are added in a fixed order.
#include "cuda/column_sums.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"

namespace toller {
namespace {

constexpr int kLanes = 32, kRowLanes = 8;
/// Chunks at most: enough blocks for any device, few enough that the second pass is short.
constexpr std::int64_t kMaxChunks = 128;
constexpr std::int64_t kMinChunkRows = 64;

std::int64_t chunk_rows(std::int64_t rows) {
  const std::int64_t even = (rows + kMaxChunks - 1) / kMaxChunks;
  return even > kMinChunkRows ? even : kMinChunkRows;
}

std::int64_t chunks(std::int64_t rows) {
  return (rows + chunk_rows(rows) - 1) / chunk_rows(rows);
}

/// sums [V] of the thread's columns over rows [begin, end) → one value a column for the block, given to
/// write(column, sum).
template <int V, class T, class Write>
__device__ __forceinline__ void add_up_rows(std::int64_t begin, std::int64_t end, std::int64_t columns,
                                            std::int64_t stride, const T* x, Write write) {
  __shared__ float parts[kRowLanes][kLanes * V];
  const std::int64_t first = (std::int64_t{blockIdx.x} * kLanes + threadIdx.x) * V;
  float sum[V] = {};
  if (first < columns) {
#pragma unroll 4
    for (std::int64_t row = begin + threadIdx.y; row < end; row += kRowLanes) {
      float values[V];
      load(x + row * stride + first, values);
#pragma unroll
      for (int i = 0; i < V; ++i) sum[i] += values[i];
    }
  }
#pragma unroll
  for (int i = 0; i < V; ++i) parts[threadIdx.y][threadIdx.x * V + i] = sum[i];
  __syncthreads();
  for (int i = static_cast<int>(threadIdx.y) * kLanes + static_cast<int>(threadIdx.x); i < kLanes * V;
       i += kLanes * kRowLanes) {
    const std::int64_t column = std::int64_t{blockIdx.x} * kLanes * V + i;
    float total = 0;
#pragma unroll
    for (int part = 0; part < kRowLanes; ++part) total += parts[part][i];
    if (column < columns) write(column, total);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kLanes* kRowLanes)
    column_sums_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_a_chunk, const T* x,
                       float* partial) {
  const std::int64_t begin = blockIdx.y * rows_a_chunk;
  const std::int64_t end = begin + rows_a_chunk < rows ? begin + rows_a_chunk : rows;
  add_up_rows<V>(begin, end, columns, columns, x,
                 [&](std::int64_t column, float sum) { partial[blockIdx.y * columns + column] = sum; });
}

__global__ void __launch_bounds__(kLanes* kRowLanes)
    add_partials_kernel(std::int64_t parts, std::int64_t columns, std::int64_t stride, const float* partial,
                        float* total) {
  add_up_rows<1>(0, parts, columns, stride, partial,
                 [&](std::int64_t column, float sum) { total[column] += sum; });
}

template <class T, int V>
void launch_column_sums(std::int64_t rows, std::int64_t columns, const T* x, float* partial,
                        cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>((columns + kLanes * V - 1) / (kLanes * V)),
                  static_cast<unsigned>(chunks(rows)));
  launch<column_sums_kernel<T, V>>(grid, dim3(kLanes, kRowLanes), 0, stream, rows, columns, chunk_rows(rows),
                                   x, partial);
}

}  // namespace

std::int64_t column_sums_workspace(std::int64_t rows, std::int64_t columns) {
  return chunks(rows) * columns;
}

void add_partials(std::int64_t parts, std::int64_t columns, std::int64_t stride, const float* partial,
                  float* total, cudaStream_t stream) {
  if (parts == 0 || columns == 0) return;
  const auto blocks = static_cast<unsigned>((columns + kLanes - 1) / kLanes);
  launch<add_partials_kernel>(blocks, dim3(kLanes, kRowLanes), 0, stream, parts, columns, stride, partial,
                              total);
}

template <class T>
void column_sums(std::int64_t rows, std::int64_t columns, const T* x, float* sums, float* workspace,
                 cudaStream_t stream) {
  if (rows == 0 || columns == 0) return;
  if (columns % kVector<T> == 0 && reinterpret_cast<std::uintptr_t>(x) % 16 == 0) {
    launch_column_sums<T, kVector<T>>(rows, columns, x, workspace, stream);
  } else {
    launch_column_sums<T, 1>(rows, columns, x, workspace, stream);
  }
  add_partials(chunks(rows), columns, columns, workspace, sums, stream);
}

template void column_sums<float>(std::int64_t, std::int64_t, const float*, float*, float*, cudaStream_t);
template void column_sums<bfloat16>(std::int64_t, std::int64_t, const bfloat16*, float*, float*,
                                    cudaStream_t);

}  // namespace toller
