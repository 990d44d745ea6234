// Column sums in two passes without atomics: row chunks to partial sums, partial sums to the total.
//   bytes: sizeof(T) an element, once; the second pass reads 4 · chunks · columns bytes. Operations: one
//   addition an element.
// Blocks add up rows as row_sums.cuh says.
#include "cuda/column_sums.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/row_sums.cuh"

namespace toller {
namespace {

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

template <class T, int V>
__global__ void __launch_bounds__(kSumThreads)
    column_sums_kernel(std::int64_t rows, std::int64_t columns, std::int64_t rows_a_chunk, const T* x,
                       float* partial) {
  const std::int64_t begin = blockIdx.y * rows_a_chunk;
  const std::int64_t end = begin + rows_a_chunk < rows ? begin + rows_a_chunk : rows;
  add_up_rows<V>(
      begin, end, columns, blockIdx.x, [&](std::int64_t row) { return x + row * columns; },
      [&](std::int64_t column, float sum) { partial[blockIdx.y * columns + column] = sum; });
}

__global__ void __launch_bounds__(kSumThreads)
    add_partials_kernel(std::int64_t parts, std::int64_t columns, std::int64_t stride, const float* partial,
                        float* total) {
  add_up_rows<1>(
      0, parts, columns, blockIdx.x, [&](std::int64_t part) { return partial + part * stride; },
      [&](std::int64_t column, float sum) { total[column] += sum; });
}

template <class T, int V>
void launch_column_sums(std::int64_t rows, std::int64_t columns, const T* x, float* partial,
                        cudaStream_t stream) {
  const dim3 grid(row_sums_blocks<V>(columns), static_cast<unsigned>(chunks(rows)));
  launch<column_sums_kernel<T, V>>(grid, row_sums_block(), 0, stream, rows, columns, chunk_rows(rows), x,
                                   partial);
}

}  // namespace

std::int64_t column_sums_workspace(std::int64_t rows, std::int64_t columns) {
  return chunks(rows) * columns;
}

void add_partials(std::int64_t parts, std::int64_t columns, std::int64_t stride, const float* partial,
                  float* total, cudaStream_t stream) {
  if (parts == 0 || columns == 0) return;
  const auto blocks = row_sums_blocks<1>(columns);
  launch<add_partials_kernel>(blocks, row_sums_block(), 0, stream, parts, columns, stride, partial, total);
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
