// Pooling and normalisation.
//   pool: reads w = sizeof(T) bytes an element of the states that count, one addition each; writes 4 bytes an
//   element of the embeddings. Backward: writes w bytes an element of the states.
//   normalize: reads and writes 4 bytes an element, a row in registers between; backward reads 8 and
//   writes 4.
// Pooling gives a sequence and 32 · V columns to a block, as row_sums.cuh says. Normalisation lays rows out
// as row.cuh.
#include "cuda/pooling.cuh"

#include "cuda/bfloat16.cuh"
#include "cuda/launch.cuh"
#include "cuda/row.cuh"
#include "cuda/row_sums.cuh"

namespace toller {
namespace {

/// The tokens of a sequence that count, and the share of each.
struct Counted {
  int begin, end;
  float share;
};

__device__ __forceinline__ Counted counted_tokens(const std::int32_t* offsets, std::int64_t sequence,
                                                  PooledTokens which) {
  const int begin = offsets[sequence], end = offsets[sequence + 1];
  if (which == PooledTokens::kFirst) return {begin, begin + 1, 1.0f};
  if (which == PooledTokens::kLast) return {end - 1, end, 1.0f};
  return {begin, end, 1.0f / static_cast<float>(end - begin)};
}

template <class T, int V>
__global__ void __launch_bounds__(kSumThreads)
    pool_kernel(const std::int32_t* offsets, int hidden, PooledTokens which, const T* x, float* y) {
  const Counted tokens = counted_tokens(offsets, blockIdx.x, which);
  float* pooled = y + std::int64_t{blockIdx.x} * hidden;
  add_up_rows<V>(
      tokens.begin, tokens.end, hidden, blockIdx.y, [&](std::int64_t token) { return x + token * hidden; },
      [&](std::int64_t column, float sum) { pooled[column] = sum * tokens.share; });
}

template <class T, int V>
__global__ void __launch_bounds__(kSumThreads)
    pool_backward_kernel(const std::int32_t* offsets, int hidden, PooledTokens which, const float* dy,
                         T* dx) {
  const Counted tokens = counted_tokens(offsets, blockIdx.x, which);
  const int column = (static_cast<int>(blockIdx.y) * kSumLanes + static_cast<int>(threadIdx.x)) * V;
  if (column >= hidden) return;
  float gradient[V], nothing[V] = {};
#pragma unroll
  for (int i = 0; i < V; ++i) {
    gradient[i] = tokens.share * dy[std::int64_t{blockIdx.x} * hidden + column + i];
  }
  for (int token = offsets[blockIdx.x] + static_cast<int>(threadIdx.y); token < offsets[blockIdx.x + 1];
       token += kSumRowLanes) {
    T* to = dx + std::int64_t{token} * hidden + column;
    if (token >= tokens.begin && token < tokens.end) {
      store(to, gradient);
    } else {
      store(to, nothing);
    }
  }
}

template <int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads)
    normalize_kernel(std::int64_t rows, int hidden, const float* x, float* norm, float* y) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  const std::int64_t row = std::int64_t{blockIdx.x} * Part::kRows + part.row();
  float values[kThreadColumns] = {};
  if (row < rows) {
    part.for_vectors([&](int index, int column) { load_at<V>(x + row * hidden + column, index, values); });
  }
  float squares = 0;
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) squares += values[i] * values[i];
  const float length = sqrtf(group_sum<Threads>(squares)), scale = inverse_norm(length);
  if (row >= rows) return;
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) values[i] *= scale;
  part.for_vectors([&](int index, int column) { store_at<V>(y + row * hidden + column, index, values); });
  if (part.lane() == 0) norm[row] = length;
}

template <int V, int Threads>
__global__ void __launch_bounds__(kRowBlockThreads)
    normalize_backward_kernel(std::int64_t rows, int hidden, const float* dy, const float* y,
                              const float* norm, float* dx) {
  using Part = RowPart<V, Threads>;
  const Part part(hidden);
  const std::int64_t row = std::int64_t{blockIdx.x} * Part::kRows + part.row();
  float d[kThreadColumns] = {}, unit[kThreadColumns] = {};
  if (row < rows) {
    part.for_vectors([&](int index, int column) {
      load_at<V>(dy + row * hidden + column, index, d);
      load_at<V>(y + row * hidden + column, index, unit);
    });
  }
  float along = 0;
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) along += d[i] * unit[i];
  along = group_sum<Threads>(along);
  if (row >= rows) return;
  const float scale = inverse_norm(norm[row]);
#pragma unroll
  for (int i = 0; i < kThreadColumns; ++i) d[i] = (d[i] - unit[i] * along) * scale;
  part.for_vectors([&](int index, int column) { store_at<V>(dx + row * hidden + column, index, d); });
}

/// One block a sequence and 32 · V columns.
template <int V>
dim3 pool_grid(std::int64_t count, std::int64_t hidden) {
  return dim3(static_cast<unsigned>(count), row_sums_blocks<V>(hidden));
}

template <int V, int Threads>
unsigned row_blocks(std::int64_t rows) {
  constexpr int kAtATime = RowPart<V, Threads>::kRows;
  return static_cast<unsigned>((rows + kAtATime - 1) / kAtATime);
}

}  // namespace

template <class T>
void pool(std::int64_t count, const std::int32_t* offsets, std::int64_t hidden, PooledTokens which,
          const T* x, float* y, cudaStream_t stream) {
  if (count == 0) return;
  constexpr int V = kVector<T>;
  const dim3 block = row_sums_block();
  const int columns = static_cast<int>(hidden);
  if (vector_rows<T>(hidden, x)) {
    launch<pool_kernel<T, V>>(pool_grid<V>(count, hidden), block, 0, stream, offsets, columns, which, x, y);
  } else {
    launch<pool_kernel<T, 1>>(pool_grid<1>(count, hidden), block, 0, stream, offsets, columns, which, x, y);
  }
}

template <class T>
void pool_backward(std::int64_t count, const std::int32_t* offsets, std::int64_t hidden, PooledTokens which,
                   const float* dy, T* dx, cudaStream_t stream) {
  if (count == 0) return;
  constexpr int V = kVector<T>;
  const dim3 block = row_sums_block();
  const int columns = static_cast<int>(hidden);
  if (vector_rows<T>(hidden, dx)) {
    launch<pool_backward_kernel<T, V>>(pool_grid<V>(count, hidden), block, 0, stream, offsets, columns, which,
                                       dy, dx);
  } else {
    launch<pool_backward_kernel<T, 1>>(pool_grid<1>(count, hidden), block, 0, stream, offsets, columns, which,
                                       dy, dx);
  }
}

void normalize_rows(std::int64_t rows, std::int64_t hidden, const float* x, float* norm, float* y,
                    cudaStream_t stream) {
  if (rows == 0) return;
  choose_row_part<float>(hidden, vector_rows<float>(hidden, x, y), [&]<int V, int Threads>() {
    launch<normalize_kernel<V, Threads>>(row_blocks<V, Threads>(rows), kRowBlockThreads, 0, stream, rows,
                                         static_cast<int>(hidden), x, norm, y);
  });
}

void normalize_rows_backward(std::int64_t rows, std::int64_t hidden, const float* dy, const float* y,
                             const float* norm, float* dx, cudaStream_t stream) {
  if (rows == 0) return;
  choose_row_part<float>(hidden, vector_rows<float>(hidden, dy, y, dx), [&]<int V, int Threads>() {
    launch<normalize_backward_kernel<V, Threads>>(row_blocks<V, Threads>(rows), kRowBlockThreads, 0, stream,
                                                  rows, static_cast<int>(hidden), dy, y, norm, dx);
  });
}

#define TOLLER_INSTANTIATE(T)                                                                            \
  template void pool<T>(std::int64_t, const std::int32_t*, std::int64_t, PooledTokens, const T*, float*, \
                        cudaStream_t);                                                                   \
  template void pool_backward<T>(std::int64_t, const std::int32_t*, std::int64_t, PooledTokens,          \
                                 const float*, T*, cudaStream_t);
TOLLER_INSTANTIATE(float)
TOLLER_INSTANTIATE(bfloat16)
#undef TOLLER_INSTANTIATE

}  // namespace toller
